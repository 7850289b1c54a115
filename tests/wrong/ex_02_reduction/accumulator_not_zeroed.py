# expect: WRONG_VALUES
# Atomics into torch.empty: the sum starts from whatever was there, which is often zero, so it often works.

import torch
import triton
import triton.language as tl


@triton.jit
def _total_kernel(x_ptr, out_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
    offsets = tl.program_id(axis=0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    x = tl.load(x_ptr + offsets, mask=offsets < n_elements, other=0.0).to(tl.float32)
    tl.atomic_add(out_ptr, tl.sum(x, axis=0))


def total(x):
    out = torch.empty((), dtype=torch.float32, device=x.device)
    n_elements = x.numel()
    _total_kernel[(triton.cdiv(n_elements, 4096),)](x, out, n_elements, BLOCK_SIZE=4096)
    return out.to(x.dtype)
