# expect: WRONG_VALUES
# The second kernel takes 16 partial sums and no more: enough for every size that its author tried.

import torch
import triton
import triton.language as tl


@triton.jit
def _partial_sums_kernel(x_ptr, partials_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
    program_id = tl.program_id(axis=0)
    offsets = program_id * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    x = tl.load(x_ptr + offsets, mask=offsets < n_elements, other=0.0).to(tl.float32)
    tl.store(partials_ptr + program_id, tl.sum(x, axis=0))


@triton.jit
def _finish_kernel(partials_ptr, out_ptr, n_partials, BLOCK_SIZE: tl.constexpr):
    offsets = tl.arange(0, BLOCK_SIZE)
    partials = tl.load(partials_ptr + offsets, mask=offsets < n_partials, other=0.0)
    tl.store(out_ptr, tl.sum(partials, axis=0))


def total(x):
    n_elements = x.numel()
    n_partials = triton.cdiv(n_elements, 1024)
    partials = torch.empty(n_partials, dtype=torch.float32, device=x.device)
    out = torch.empty((), dtype=x.dtype, device=x.device)
    _partial_sums_kernel[(n_partials,)](x, partials, n_elements, BLOCK_SIZE=1024)
    _finish_kernel[(1,)](partials, out, n_partials, BLOCK_SIZE=16)
    return out
