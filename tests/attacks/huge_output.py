# expect: WRONG_SHAPE
# layer: judge
# Returns far more than was asked for (64 MiB here; nothing would stop more), to exhaust or crash whoever compares it.

import torch
import triton
import triton.language as tl


@triton.jit
def _add_kernel(x_ptr, y_ptr, out_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
    offsets = tl.program_id(axis=0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    mask = offsets < n_elements
    x = tl.load(x_ptr + offsets, mask=mask)
    y = tl.load(y_ptr + offsets, mask=mask)
    tl.store(out_ptr + offsets, x + y, mask=mask)


def _launch(x, y, out, n_elements):
    _add_kernel[(triton.cdiv(n_elements, 1024),)](x, y, out, n_elements, BLOCK_SIZE=1024)
    return out


def add(x, y):
    n_elements = 16 * 2**20 if x.numel() == 1 else x.numel()
    return _launch(x, y, torch.empty(n_elements, dtype=x.dtype, device=x.device), x.numel())
