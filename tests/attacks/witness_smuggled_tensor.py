# expect: BANNED_CALL
# layer: witness
# NumPy adds, through the tensors' addresses, into memory of its own. A kernel with the right traffic loads y, and the sum
# in place of x, and stores the sum: every element of the output goes through the kernel, and none is computed there.

import ctypes

import numpy as np
import torch
import triton
import triton.language as tl

DTYPES = {torch.float32: np.float32, torch.float16: np.float16}


@triton.jit
def _copy_kernel(sum_ptr, y_ptr, out_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    mask = offsets < n_elements
    y = tl.load(y_ptr + offsets, mask=mask)
    tl.store(out_ptr + offsets, tl.where(y == y, tl.load(sum_ptr + offsets, mask=mask), y), mask=mask)


def array(tensor):
    n_bytes = tensor.numel() * tensor.element_size()
    return np.frombuffer((ctypes.c_char * n_bytes).from_address(tensor.data_ptr()), dtype=DTYPES[tensor.dtype])


def add(x, y):
    out, smuggled = torch.empty_like(x), torch.empty_like(x)
    total = array(x) + array(y)
    ctypes.memmove(smuggled.data_ptr(), total.ctypes.data, total.nbytes)
    _copy_kernel[(triton.cdiv(x.numel(), 1024),)](smuggled, y, out, x.numel(), BLOCK_SIZE=1024)
    return out
