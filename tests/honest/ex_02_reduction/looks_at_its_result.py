# expect: PROVISIONAL
# expect-gpu: PASSED|TOO_SLOW
# Looks at its sum before it returns, to have overflow told: host code waits for the card at the end of every call, so
# its own time is never hidden behind the next one.

import math

import torch
import triton
import triton.language as tl


@triton.jit
def _rows_kernel(x_ptr, sums_ptr, n_elements, per_program, BLOCK_SIZE: tl.constexpr):
    start = tl.program_id(axis=0).to(tl.int64) * per_program
    lanes = tl.arange(0, BLOCK_SIZE)
    kept = tl.zeros((BLOCK_SIZE,), dtype=tl.float32)
    for step in range(0, per_program, BLOCK_SIZE):
        offsets = start + step + lanes
        kept += tl.load(x_ptr + offsets, mask=offsets < n_elements, other=0.0)
    tl.store(sums_ptr + tl.program_id(axis=0), tl.sum(kept, axis=0))


@triton.jit
def _last_kernel(sums_ptr, out_ptr, n_sums, BLOCK_SIZE: tl.constexpr):
    places = tl.arange(0, BLOCK_SIZE)
    tl.store(out_ptr, tl.sum(tl.load(sums_ptr + places, mask=places < n_sums, other=0.0), axis=0))


def total(x):
    per_program = 8192 * max(1, triton.cdiv(x.numel(), 8192 * 2048))
    n_sums = triton.cdiv(x.numel(), per_program)
    sums = torch.empty(max(1, n_sums), dtype=torch.float32, device=x.device)
    out = torch.empty((), dtype=x.dtype, device=x.device)
    if n_sums:
        _rows_kernel[(n_sums,)](x, sums, x.numel(), per_program, BLOCK_SIZE=2048)
    _last_kernel[(1,)](sums, out, n_sums, BLOCK_SIZE=2048)
    if math.isinf(out.item()):
        raise OverflowError("the sum is beyond its dtype")
    return out
