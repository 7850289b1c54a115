# expect: BANNED_CALL
# stack().sum() instead of +, beside a launch on one element: by someone who looks for what a search for "+" misses.

import torch
import triton
import triton.language as tl


@triton.jit
def _add_kernel(x_ptr, y_ptr, out_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
    offsets = tl.program_id(axis=0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    mask = offsets < n_elements
    x = tl.load(x_ptr + offsets, mask=mask)
    y = tl.load(y_ptr + offsets, mask=mask)
    tl.store(out_ptr + offsets, x + y, mask=mask)


def add(x, y):
    out = torch.stack((x, y)).sum(0)
    _add_kernel[(1,)](x, y, out, 1, BLOCK_SIZE=16)
    return out
