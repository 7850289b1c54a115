# expect: WRONG_VALUES
# A mask, but no `other`: what masked lanes hold is anything on a card, and they are summed with the rest.

import torch
import triton
import triton.language as tl


@triton.jit
def _partial_sums_kernel(x_ptr, partials_ptr, n, BLOCK_SIZE: tl.constexpr):
    program_id = tl.program_id(axis=0)
    offsets = program_id * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    x = tl.load(x_ptr + offsets, mask=offsets < n).to(tl.float32)
    tl.store(partials_ptr + program_id, tl.sum(x, axis=0))


@triton.jit
def _finish_kernel(partials_ptr, out_ptr, n_partials, BLOCK_SIZE: tl.constexpr):
    sums = tl.zeros((BLOCK_SIZE,), dtype=tl.float32)
    for start in range(0, n_partials, BLOCK_SIZE):
        offsets = start + tl.arange(0, BLOCK_SIZE)
        sums += tl.load(partials_ptr + offsets, mask=offsets < n_partials, other=0.0).to(tl.float32)
    tl.store(out_ptr, tl.sum(sums, axis=0))


def total(x):
    n_partials = triton.cdiv(x.numel(), 4096)
    partials = torch.empty(n_partials, dtype=torch.float32, device=x.device)
    out = torch.empty((), dtype=x.dtype, device=x.device)
    _partial_sums_kernel[(n_partials,)](x, partials, x.numel(), BLOCK_SIZE=4096)
    _finish_kernel[(1,)](partials, out, n_partials, BLOCK_SIZE=1024)
    return out
