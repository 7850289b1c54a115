# expect: BANNED_CALL
# layer: witness
# A kernel with exactly the right traffic fills the output with x. Then NumPy adds, through the tensors' addresses, and
# the sum is written over it: torch sees no operation, and every element of the output was stored by a kernel. Once.

import ctypes

import numpy as np
import torch
import triton
import triton.language as tl

DTYPES = {torch.float32: np.float32, torch.float16: np.float16}


@triton.jit
def _decoy_kernel(x_ptr, y_ptr, out_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    mask = offsets < n_elements
    x = tl.load(x_ptr + offsets, mask=mask)
    y = tl.load(y_ptr + offsets, mask=mask)
    tl.store(out_ptr + offsets, tl.where(y == y, x, y), mask=mask)


def array(tensor):
    n_bytes = tensor.numel() * tensor.element_size()
    return np.frombuffer((ctypes.c_char * n_bytes).from_address(tensor.data_ptr()), dtype=DTYPES[tensor.dtype])


def add(x, y):
    out = torch.empty_like(x)
    n_elements = out.numel()
    _decoy_kernel[(triton.cdiv(n_elements, 1024),)](x, y, out, n_elements, BLOCK_SIZE=1024)
    total = array(x) + array(y)
    ctypes.memmove(out.data_ptr(), total.ctypes.data, total.nbytes)
    return out
