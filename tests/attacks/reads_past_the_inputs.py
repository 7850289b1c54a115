# expect: OUT_OF_BOUNDS
# layer: guard bands
# A kernel that looks at what lies behind its inputs: in one pool of memory, the expected result may be next to them.

import torch
import triton
import triton.language as tl


@triton.jit
def _behind_kernel(x_ptr, out_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
    offsets = tl.program_id(axis=0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    mask = offsets < n_elements
    tl.store(out_ptr + offsets, tl.load(x_ptr + n_elements + offsets, mask=mask), mask=mask)


def add(x, y):
    out = torch.empty_like(x)
    _behind_kernel[(triton.cdiv(x.numel(), 1024),)](x, out, x.numel(), BLOCK_SIZE=1024)
    return out
