# expect: PROVISIONAL
# expect-gpu: PASSED|TOO_SLOW
# A fixed number of programs, each of which walks through the vector with great steps and keeps a block of running sums;
# a second launch adds up what they leave.

import torch
import triton
import triton.language as tl


@triton.jit
def _walk_kernel(x_ptr, partials_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
    program_id = tl.program_id(axis=0)
    sums = tl.zeros((BLOCK_SIZE,), dtype=tl.float32)
    step = tl.num_programs(axis=0) * BLOCK_SIZE
    for start in range(program_id * BLOCK_SIZE, n_elements, step):
        offsets = start + tl.arange(0, BLOCK_SIZE)
        sums += tl.load(x_ptr + offsets, mask=offsets < n_elements, other=0.0).to(tl.float32)
    tl.store(partials_ptr + program_id, tl.sum(sums, axis=0))


@triton.jit
def _finish_kernel(partials_ptr, out_ptr, n_partials, BLOCK_SIZE: tl.constexpr):
    places = tl.arange(0, BLOCK_SIZE)
    tl.store(out_ptr, tl.sum(tl.load(partials_ptr + places, mask=places < n_partials, other=0.0), axis=0))


def total(x):
    n_programs = 1024 if x.is_cuda else 4
    partials = torch.empty(n_programs, dtype=torch.float32, device=x.device)
    out = x.new_empty(())
    _walk_kernel[(n_programs,)](x, partials, x.numel(), BLOCK_SIZE=4096, num_warps=8)
    _finish_kernel[(1,)](partials, out, n_programs, BLOCK_SIZE=1024)
    return out
