# expect: BANNED_CALL
# layer: witness
# The interpreter runs a kernel as Python, so a kernel may import: this one adds with NumPy on the tensors' addresses in
# its first program, and keeps the counters happy in all of them.

import torch
import triton
import triton.language as tl


@triton.jit
def _add_kernel(x_ptr, y_ptr, out_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
    import numpy

    offsets = tl.program_id(0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    mask = offsets < n_elements
    x = tl.load(x_ptr + offsets, mask=mask)
    y = tl.load(y_ptr + offsets, mask=mask)
    x.handle.data = numpy.add(x.handle.data, y.handle.data)
    tl.store(out_ptr + offsets, x, mask=mask)


def add(x, y):
    out = torch.empty_like(x)
    _add_kernel[(triton.cdiv(x.numel(), 1024),)](x, y, out, x.numel(), BLOCK_SIZE=1024)
    return out
