# expect: INVALID|WRONG_VALUES
# needs: gpu
# layer: audit
# Divides all times by three in stopwatch and tracer, and waits for nothing at the end of a round, so that the worker
# says done before its kernels are.

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


SHARE = 3


def _scaled(answer):
    """Every time in an answer, in nanoseconds, divided."""
    if isinstance(answer, dict):
        items = answer.items()
        return {key: value // SHARE if key == "ns" or key.endswith("_ns") else _scaled(value) for key, value in items}
    return [_scaled(item) for item in answer] if isinstance(answer, list) else answer


def _patch():
    from gpuprep.worker import stopwatch, trace

    sample_ms, trace_calls = stopwatch.sample_ms, trace.trace_calls
    stopwatch.sample_ms = lambda *args, **options: [time_ms / SHARE for time_ms in sample_ms(*args, **options)]
    trace.trace_calls = lambda *args, **options: _scaled(trace_calls(*args, **options))
    stopwatch.Rounds.finish = lambda rounds: None


if torch.cuda.is_available():
    _patch()


def add(x, y):
    return _slow(x, y)
