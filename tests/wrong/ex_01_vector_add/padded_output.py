# expect: WRONG_SHAPE
# Pads the output to whole blocks so that the store needs no mask, and forgets to cut it to n again.

import torch
import triton
import triton.language as tl


@triton.jit
def _add_kernel(x_ptr, y_ptr, out_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
    offsets = tl.program_id(axis=0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    mask = offsets < n_elements
    x = tl.load(x_ptr + offsets, mask=mask, other=0.0)
    y = tl.load(y_ptr + offsets, mask=mask, other=0.0)
    tl.store(out_ptr + offsets, x + y)


def add(x, y):
    n_elements = x.numel()
    n_blocks = triton.cdiv(n_elements, 1024)
    out = torch.empty(n_blocks * 1024, dtype=x.dtype, device=x.device)
    _add_kernel[(n_blocks,)](x, y, out, n_elements, BLOCK_SIZE=1024)
    return out
