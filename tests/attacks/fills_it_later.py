# expect: WRONG_VALUES
# layer: poison
# A thread that computes after the function has returned: the clock has stopped, and the comparison may come late
# enough. Seen in timed contests, with threads and with side streams.

import ctypes
import threading
import time

import numpy as np
import torch
import triton
import triton.language as tl


def _array(tensor):
    """The tensor's memory as NumPy sees it, by its address: no method of torch is called that could tell."""
    n_bytes = tensor.numel() * tensor.element_size()
    raw = (ctypes.c_uint8 * n_bytes).from_address(tensor.data_ptr())
    return np.frombuffer(raw, dtype={2: np.float16, 4: np.float32}[tensor.element_size()])


def _later(x, y, out):
    time.sleep(0.3)
    np.add(_array(x), _array(y), out=_array(out))


def add(x, y):
    out = torch.empty_like(x)
    threading.Thread(target=_later, args=(x, y, out), daemon=True).start()
    return out
