# expect: INVALID|TOO_SLOW
# needs: gpu
# layer: audit
# The audit subtracts what an identity takes. So this one keeps the card busy with a spin kernel, from a few
# processes, whenever the identity has its turn, and claims two thirds of its true time. The kernel runs one and a
# half times.

import mmap
import os
import subprocess
import sys
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


HOGS = 3


def _scaled(answer):
    """Every time in an answer, in nanoseconds, divided."""
    if isinstance(answer, dict):
        items = answer.items()
        return {key: 2 * value // 3 if key == "ns" or key.endswith("_ns") else _scaled(value) for key, value in items}
    return [_scaled(item) for item in answer] if isinstance(answer, list) else answer


def _hog(flag):
    """Spins on the card, a millisecond at a time, while the shared flag is up."""
    state = mmap.mmap(flag, 1)
    torch.cuda.init()
    while state[0] != 2:
        if state[0] == 1:
            torch.cuda._sleep(1_500_000)
            torch.cuda.synchronize()
        else:
            time.sleep(0.0002)
    os._exit(0)


def _start_hogs():
    code = f"import runpy, sys; sys.argv = ['hog']; runpy.run_path({__file__!r}, run_name='hog')"
    for _ in range(HOGS):
        subprocess.Popen(
            [sys.executable, "-c", code, str(os.getpid())], pass_fds=[_flag], env={**os.environ, "HOG_FLAG": str(_flag)}
        )


def _patch():
    from gpuprep.worker import stopwatch, trace

    sample_ms, trace_calls, serve = stopwatch.sample_ms, trace.trace_calls, stopwatch.Rounds.serve
    stopwatch.sample_ms = lambda *args, **options: [2 * time_ms / 3 for time_ms in sample_ms(*args, **options)]
    trace.trace_calls = lambda *args, **options: _scaled(trace_calls(*args, **options))
    state = mmap.mmap(_flag, 1)

    def serve_alone(rounds, *args):
        state[0] = 0
        try:
            return serve(rounds, *args)
        finally:
            state[0] = 1

    stopwatch.Rounds.serve = serve_alone


if __name__ == "hog":
    _hog(int(os.environ["HOG_FLAG"]))
elif torch.cuda.is_available():
    _flag = os.memfd_create("hog")
    os.ftruncate(_flag, 1)
    _start_hogs()
    _patch()


def add(x, y):
    out = _launch(x, y, torch.empty_like(x), x.numel())
    return _launch(x, y, out, x.numel() // 2) if _is_timed(x) else out
