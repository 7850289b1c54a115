# expect: INVALID|TOO_SLOW|INCONCLUSIVE
# needs: gpu
# layer: audit
# The audit subtracts what an identity takes. So this one has a thread that keeps the card busy with a spin kernel
# whenever the identity has its turn, and claims two thirds of its true time. The kernel runs one and a half times.

import threading

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


def _scaled(answer):
    """Every time in an answer, in nanoseconds, divided."""
    if isinstance(answer, dict):
        items = answer.items()
        return {key: 2 * value // 3 if key == "ns" or key.endswith("_ns") else _scaled(value) for key, value in items}
    return [_scaled(item) for item in answer] if isinstance(answer, list) else answer


_is_idle = threading.Event()


def _hog():
    """Spins on the card, less than a millisecond at a time, while there is nothing else to do."""
    stream = torch.cuda.Stream()
    while True:
        _is_idle.wait()
        with torch.cuda.stream(stream):
            torch.cuda._sleep(500_000)
            torch.cuda._sleep(500_000)
        stream.synchronize()


def _patch():
    from gpuprep.worker import stopwatch, trace

    sample_ms, trace_calls = stopwatch.sample_ms, trace.trace_calls
    queue, finish = stopwatch.Rounds.queue, stopwatch.Rounds.finish
    stopwatch.sample_ms = lambda *args, **options: [2 * time_ms / 3 for time_ms in sample_ms(*args, **options)]
    trace.trace_calls = lambda *args, **options: _scaled(trace_calls(*args, **options))

    def queue_alone(rounds, *args):
        _is_idle.clear()
        queue(rounds, *args)

    def finish_and_hog(rounds):
        finish(rounds)
        # Not before the grader has its copy of the outputs: that belongs to this round.
        threading.Timer(0.004, _is_idle.set).start()

    stopwatch.Rounds.queue, stopwatch.Rounds.finish = queue_alone, finish_and_hog


if torch.cuda.is_available():
    threading.Thread(target=_hog, daemon=True).start()
    _patch()


def add(x, y):
    out = _launch(x, y, torch.empty_like(x), x.numel())
    return _launch(x, y, out, x.numel() // 2) if _is_timed(x) else out
