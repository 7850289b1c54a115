# expect: RACE
# exercise: ex_02
# layer: order
# One launch: every program leaves its partial sum, and the last one adds them all up, since the interpreter runs it
# last. Right in the interpreter, and a matter of luck on a card.

import torch
import triton
import triton.language as tl


@triton.jit
def _sum_kernel(x_ptr, partials_ptr, out_ptr, n_elements, BLOCK_SIZE: tl.constexpr, N_MOST: tl.constexpr):
    program_id = tl.program_id(axis=0)
    offsets = program_id * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    x = tl.load(x_ptr + offsets, mask=offsets < n_elements, other=0.0)
    tl.store(partials_ptr + program_id, tl.sum(x.to(tl.float32), axis=0))
    if program_id == tl.num_programs(axis=0) - 1:
        places = tl.arange(0, N_MOST)
        tl.store(out_ptr, tl.sum(tl.load(partials_ptr + places, mask=places <= program_id, other=0.0), axis=0))


def total(x):
    n_programs = max(1, triton.cdiv(x.numel(), 8192))
    partials = torch.empty(n_programs, dtype=torch.float32, device=x.device)
    out = torch.empty((), dtype=x.dtype, device=x.device)
    n_most = triton.next_power_of_2(n_programs)
    _sum_kernel[(n_programs,)](x, partials, out, x.numel(), BLOCK_SIZE=8192, N_MOST=n_most)
    return out
