# expect: INVALID|TOO_SLOW|INCONCLUSIVE
# needs: gpu
# layer: audit
# Keeps the card busy from a few processes of its own whenever the identity has its turn, whose time the audit
# subtracts; and claims two thirds of its true time. Where the driver tells whose processes keep the card busy, these
# are strangers.

import mmap
import subprocess
import sys
import tempfile
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


HOGS = 4
_HOG = """
import mmap, sys, time
import torch

flags, place = mmap.mmap(int(sys.argv[1]), 4096), int(sys.argv[2])
torch.cuda._sleep(1)
torch.cuda.synchronize()
flags[place] = 1
while True:
    if flags[0]:
        torch.cuda._sleep(1_500_000)
        torch.cuda.synchronize()
    else:
        time.sleep(0.0002)
"""


def _scaled(answer):
    """Every time in an answer, in nanoseconds, divided."""
    if isinstance(answer, dict):
        items = answer.items()
        return {key: 2 * value // 3 if key == "ns" or key.endswith("_ns") else _scaled(value) for key, value in items}
    return [_scaled(item) for item in answer] if isinstance(answer, list) else answer


def _start_hogs(descriptor, flags):
    """Each spins on the card, a millisecond at a time, while the first flag is up. The worker ends them, or its end does."""
    for place in range(1, HOGS + 1):
        subprocess.Popen([sys.executable, "-c", _HOG, str(descriptor), str(place)], pass_fds=[descriptor])
    deadline = time.monotonic() + 30
    while not all(flags[1 : HOGS + 1]) and time.monotonic() < deadline:
        time.sleep(0.05)


def _patch(flags):
    from gpuprep.worker import stopwatch, trace

    sample_ms, trace_calls = stopwatch.sample_ms, trace.trace_calls
    queue, finish = stopwatch.Rounds.queue, stopwatch.Rounds.finish
    stopwatch.sample_ms = lambda *args, **options: [2 * time_ms / 3 for time_ms in sample_ms(*args, **options)]
    trace.trace_calls = lambda *args, **options: _scaled(trace_calls(*args, **options))

    def queue_alone(rounds, *args):
        flags[0] = 0
        queue(rounds, *args)

    def finish_and_hog(rounds):
        finish(rounds)
        flags[0] = 1

    stopwatch.Rounds.queue, stopwatch.Rounds.finish = queue_alone, finish_and_hog


if torch.cuda.is_available():
    # A file and not shared memory: a sandbox has no memory that programs can be started from.
    _file = tempfile.TemporaryFile()
    _file.truncate(4096)
    _flags = mmap.mmap(_file.fileno(), 4096)
    _start_hogs(_file.fileno(), _flags)
    _patch(_flags)


def add(x, y):
    out = _launch(x, y, torch.empty_like(x), x.numel())
    return _launch(x, y, out, x.numel() // 2) if _is_timed(x) else out
