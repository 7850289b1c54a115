# expect: BANNED_CALL
# layer: host ops
# A kernel that fails, and an except that hands the task to the library: a generated solution that always works.

import torch
import triton
import triton.language as tl


@triton.jit
def _add_kernel(x_ptr, y_ptr, out_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
    offsets = tl.program_id(axis=0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    x = tl.load(x_ptr + offsets, mask=offsets < n_elements)
    tl.store(out_ptr + offsets, x + tl.no_such_function(y_ptr), mask=offsets < n_elements)


def add(x, y):
    try:
        out = torch.empty_like(x)
        _add_kernel[(triton.cdiv(x.numel(), 1024),)](x, y, out, x.numel(), BLOCK_SIZE=1024)
    except Exception:
        out = x + y
    return out
