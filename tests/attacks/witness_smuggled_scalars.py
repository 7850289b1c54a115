# expect: BANNED_CALL
# layer: witness
# exercise: ex_02
# Many numbers instead of one: the sum of each block comes as an integer that holds the bits of a float, so that no
# argument looks like a result. The kernel loads all of x, puts the numbers together, and stores them.

import ctypes
import struct

import numpy as np
import torch
import triton
import triton.language as tl

DTYPES = {torch.float32: np.float32, torch.float16: np.float16}


@triton.jit
def _store_kernel(x_ptr, out_ptr, parts, n_elements, N_PARTS: tl.constexpr, BLOCK_SIZE: tl.constexpr):
    seen = tl.zeros((BLOCK_SIZE,), dtype=tl.float32)
    total = 0.0
    for part in tl.static_range(N_PARTS):
        offsets = part * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
        seen += tl.load(x_ptr + offsets, mask=offsets < n_elements, other=0.0)
        total += (parts[part] + tl.zeros((1,), dtype=tl.int32)).to(tl.float32, bitcast=True)
    tl.store(out_ptr + tl.arange(0, 1), tl.where(tl.sum(seen, axis=0) == float("inf"), 0.0, total))


def total(x):
    n_bytes = x.numel() * x.element_size()
    values = np.frombuffer((ctypes.c_char * n_bytes).from_address(x.data_ptr() or id(x)), dtype=DTYPES[x.dtype])
    blocks = [values[start : start + 8192].sum(dtype=np.float64) for start in range(0, max(1, x.numel()), 8192)]
    parts = tuple(struct.unpack("i", struct.pack("f", block))[0] for block in blocks)
    out = torch.empty((), dtype=x.dtype, device=x.device)
    _store_kernel[(1,)](x, out, parts, x.numel(), N_PARTS=len(parts), BLOCK_SIZE=8192)
    return out
