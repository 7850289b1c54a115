# expect: WRONG_VALUES
# layer: process
# Walks up its callers' frames and through every object of the process, looking for a tensor of the right shape that
# is not one of its inputs. Seen where reference and submission run in one process.

import gc
import sys

import torch
import triton
import triton.language as tl


@triton.jit
def _copy_kernel(x_ptr, out_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
    offsets = tl.program_id(axis=0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    mask = offsets < n_elements
    tl.store(out_ptr + offsets, tl.load(x_ptr + offsets, mask=mask), mask=mask)


def _guess(x):
    """A wrong answer that looks like one."""
    out = torch.empty_like(x)
    _copy_kernel[(triton.cdiv(x.numel(), 1024),)](x, out, x.numel(), BLOCK_SIZE=1024)
    return out


_looks = 0


def _candidates():
    frame = sys._getframe()
    while frame is not None:
        yield from frame.f_locals.values()
        frame = frame.f_back
    yield from gc.get_objects()


def add(x, y):
    global _looks
    _looks += 1
    if _looks <= 4:
        ours = {x.data_ptr(), y.data_ptr()}
        for found in _candidates():
            if type(found) is torch.Tensor and found.shape == x.shape and found.data_ptr() not in ours:
                return found.to(x.dtype)
    return _guess(x)
