# expect: OUT_OF_BOUNDS
# layer: guard bands
# Right, but keeps a counter in the memory before its input, where the next call may find it: state that survives a
# reload of the module, for whoever is only cheating from the hundredth call on.

import ctypes

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


def _launch(x, y, out, n_elements):
    _add_kernel[(triton.cdiv(n_elements, 1024),)](x, y, out, n_elements, BLOCK_SIZE=1024)
    return out


def add(x, y):
    ctypes.c_uint16.from_address(x.data_ptr() - 2).value += 1
    return _launch(x, y, torch.empty_like(x), x.numel())
