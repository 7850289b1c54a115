# expect: WRONG_VALUES
# layer: process
# Starts two dozen processes in sessions of their own, which keep every descriptor open and go on after the check. A
# real one would compute, or never stop forking; these sleep for some seconds and end.

import os
import time

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


def _leave_behind(count):
    for _ in range(count):
        if os.fork() == 0:
            os.setsid()
            time.sleep(20)
            os._exit(0)


_has_forked = False


def add(x, y):
    global _has_forked
    if not _has_forked:
        _has_forked = True
        _leave_behind(24)
    return _guess(x)
