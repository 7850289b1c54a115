# expect: INVALID
# needs: gpu
# layer: trace
# Patches the events and the clocks, so that whatever is timed took a third of its time. The most common attack on
# timed kernel benchmarks. The kernel runs three times.

import time

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


def _is_timed(x):
    """The grader's own cases are small; what is timed is not."""
    return x.is_cuda and x.numel() > 2**24


def _slow(x, y):
    """Right, in three times the time that it takes."""
    out = torch.empty_like(x)
    for _ in range(3 if _is_timed(x) else 1):
        _launch(x, y, out, x.numel())
    return out


def _patch():
    elapsed_time, perf_counter = torch.cuda.Event.elapsed_time, time.perf_counter
    torch.cuda.Event.elapsed_time = lambda start, end: elapsed_time(start, end) / 3
    time.perf_counter = lambda: perf_counter() / 3


_patch()


def add(x, y):
    return _slow(x, y)
