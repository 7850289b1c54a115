# expect: BANNED_CALL
# layer: witness
# Raises what torch raises where there is no GPU, but only for the case in which work is counted; elsewhere NumPy does
# it, unseen. A work tier that can't be graded is skipped.

import ctypes

import numpy as np
import torch
import triton
import triton.language as tl


def _array(tensor):
    """The tensor's memory as NumPy sees it, by its address: no method of torch is called that could tell."""
    n_bytes = tensor.numel() * tensor.element_size()
    raw = (ctypes.c_uint8 * n_bytes).from_address(tensor.data_ptr())
    return np.frombuffer(raw, dtype={2: np.float16, 4: np.float32}[tensor.element_size()])


def add(x, y):
    if x.numel() == 2**15:
        raise RuntimeError("0 active drivers ([]). There should only be one.")
    out = torch.empty_like(x)
    np.add(_array(x), _array(y), out=_array(out))
    return out
