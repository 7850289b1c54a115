# expect: WRONG_VALUES
# layer: process
# Prints without measure (a gigabyte), to fill a pipe that nobody reads, a disk, or a log that hides the verdict.

import os

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


_has_flooded = False


def add(x, y):
    global _has_flooded
    if not _has_flooded:
        _has_flooded = True
        for _ in range(2**14):
            os.write(1, b"PASSED " * 9362)
    return _guess(x)
