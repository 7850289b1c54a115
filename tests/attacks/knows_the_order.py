# expect: RACE
# exercise: ex_02
# layer: order
# One launch whose last program adds up what the others left; and asks the worker's counters which one comes last this
# time.

import torch
import triton
import triton.language as tl


def _is_reversed():
    from triton.runtime import interpreter

    switch = getattr(interpreter._interpreter, "switch", None)
    return bool(switch and switch.is_reversed)


@triton.jit
def _sum_kernel(
    x_ptr, partials_ptr, out_ptr, n_elements, n_programs, last, BLOCK_SIZE: tl.constexpr, N_MOST: tl.constexpr
):
    program_id = tl.program_id(axis=0)
    offsets = program_id * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    x = tl.load(x_ptr + offsets, mask=offsets < n_elements, other=0.0)
    tl.store(partials_ptr + program_id, tl.sum(x.to(tl.float32), axis=0))
    if program_id == last:
        places = tl.arange(0, N_MOST)
        tl.store(out_ptr, tl.sum(tl.load(partials_ptr + places, mask=places < n_programs, other=0.0), axis=0))


def total(x):
    n_programs = max(1, triton.cdiv(x.numel(), 8192))
    partials = torch.empty(n_programs, dtype=torch.float32, device=x.device)
    out = torch.empty((), dtype=x.dtype, device=x.device)
    last = 0 if _is_reversed() else n_programs - 1
    n_most = triton.next_power_of_2(n_programs)
    _sum_kernel[(n_programs,)](x, partials, out, x.numel(), n_programs, last, BLOCK_SIZE=8192, N_MOST=n_most)
    return out
