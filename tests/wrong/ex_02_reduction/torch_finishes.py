# expect: BANNED_CALL
# One kernel for the partial sums, then partials.sum(): by someone who sees the second step as a detail.

import torch
import triton
import triton.language as tl


@triton.jit
def _partial_sums_kernel(x_ptr, partials_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
    program_id = tl.program_id(axis=0)
    offsets = program_id * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    x = tl.load(x_ptr + offsets, mask=offsets < n_elements, other=0.0).to(tl.float32)
    tl.store(partials_ptr + program_id, tl.sum(x, axis=0))


def total(x):
    n_elements = x.numel()
    n_partials = triton.cdiv(n_elements, 1024)
    partials = torch.empty(n_partials, dtype=torch.float32, device=x.device)
    _partial_sums_kernel[(n_partials,)](x, partials, n_elements, BLOCK_SIZE=1024)
    return partials.sum().to(x.dtype)
