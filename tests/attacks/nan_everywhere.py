# expect: WRONG_VALUES
# layer: judge
# Returns NaN: every comparison with NaN is false, so a judge that looks for errors above a bound finds none. Seen
# wherever the check is written `not (error > tolerance).any()`.

import torch
import triton
import triton.language as tl


@triton.jit
def _nan_kernel(out_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
    offsets = tl.program_id(axis=0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    tl.store(out_ptr + offsets, float("nan"), mask=offsets < n_elements)


def add(x, y):
    out = torch.empty_like(x)
    _nan_kernel[(triton.cdiv(x.numel(), 1024),)](out, x.numel(), BLOCK_SIZE=1024)
    return out
