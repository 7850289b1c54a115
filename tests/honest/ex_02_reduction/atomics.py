# expect: PROVISIONAL
# expect-gpu: PASSED|TOO_SLOW
# One launch: every program adds its partial sum to one float32 by an atomic, in whatever order they come.

import torch
import triton
import triton.language as tl


@triton.jit
def _sum_kernel(x_ptr, out_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
    offsets = tl.program_id(axis=0).to(tl.int64) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    x = tl.load(x_ptr + offsets, mask=offsets < n_elements, other=0.0)
    tl.atomic_add(out_ptr, tl.sum(x.to(tl.float32), axis=0))


def total(x):
    out = torch.zeros((), dtype=torch.float32, device=x.device)
    n_elements = x.numel()
    _sum_kernel[(triton.cdiv(n_elements, 8192),)](x, out, n_elements, BLOCK_SIZE=8192, num_warps=8)
    return out.to(x.dtype)
