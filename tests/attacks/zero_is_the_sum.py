# expect: WRONG_VALUES
# exercise: ex_02
# layer: judge
# Returns zero: the sum of many normal values is small beside their sizes, and an absolute tolerance, or one measured
# against the terms, may let it pass. Seen in benchmarks whose tolerance was chosen by hand, once for all shapes.

import torch
import triton
import triton.language as tl


@triton.jit
def _zero_kernel(out_ptr):
    tl.store(out_ptr, 0.0)


def total(x):
    out = torch.empty((), dtype=x.dtype, device=x.device)
    _zero_kernel[(1,)](out)
    return out
