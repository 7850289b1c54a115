"""Runs `bench` on devices that stand in for a card, or `roofline` on figures of kernels.

A device keeps two clocks, the host's and its own, and its kernels take their time on the second one. All that happens
in it follows from a case's arguments. No object holds the time that is asked for: it is the sum of what the kernels of
a call take, once nothing is in their way.
"""

import math
import random
from types import SimpleNamespace

import torch

MOST_CALLS = 10_000
"""Of the function under test, for one figure."""
N_PLAYED = 4096
"""Calls after which the variations start again."""

HOST_CALL_MS = 0.001
"""What a call that only queues something costs the host."""
SYNCHRONIZE_MS = 0.01
QUEUED_MS = 10.0
"""Work that the queue holds; the host waits when it is full."""
EVENT_TICK_MS = 0.0005
"""CUDA's own event timestamps are about as fine."""
CLOCK_TICK_MS = 0.001
COARSE_TICK_MS = 1000 / 64
"""Of clocks that follow the timer interrupt."""

CALM, ROUGH = 0.01, 0.08
"""How far the time of a call strays to either side."""
OUTLIER_EVERY = 8
GOLDEN, SILVER = (math.sqrt(5) - 1) / 2, math.sqrt(2) - 1
"""Multiples of either, modulo 1, cover the unit interval evenly however few of them are taken, and both its square."""


def drive(module, op, *args):
    """Calls what the learner wrote.

    Args:
        module: the learner's.
        op: `bench` or `roofline`.
        args: of `bench`, the traps that are set, the nanoseconds of each kernel of a call (a row for each device), and
            each device's schedule; of `roofline`, a row of five figures for each kernel.

    Returns:
        Of `bench`, a figure for each device; of `roofline`, the four figures and the bound, each of all kernels.
    """
    if op == "roofline":
        return _rooflines(module, args[0].tolist())
    traps, kernels_ns, schedules = args
    figures = [
        _figure_ms(module, *_device(traps.split("+"), ns, schedule))
        for ns, schedule in zip(kernels_ns.tolist(), schedules.tolist(), strict=True)
    ]
    return torch.tensor(figures, dtype=torch.float64)


def _figure_ms(module, function, device, refuse_if_late):
    figure = module.bench(function, device)
    # Once more, for who caught it the first time.
    refuse_if_late()
    if isinstance(figure, bool) or not isinstance(figure, int | float):
        raise TypeError(f"bench() must return milliseconds as a number, it returned {figure!r}")
    return float(figure)


def _rooflines(module, rows):
    found = [
        module.roofline(flops, n_bytes, ms, module.Ceilings(tflop_per_s, gb_per_s))
        for flops, n_bytes, ms, tflop_per_s, gb_per_s in rows
    ]
    for result in found:
        if not isinstance(result, module.Roofline) or result.bound not in module.BOUNDS:
            raise TypeError(
                f"roofline() must return a Roofline bound by one of {module.BOUNDS}, it returned {result!r}"
            )
    names = ("intensity", "ridge", "attainable_tflop_per_s", "share")
    figures = ([float(getattr(result, name)) for result in found] for name in names)
    bounds = [module.BOUNDS.index(result.bound) for result in found]
    return *(torch.tensor(column, dtype=torch.float64) for column in figures), torch.tensor(bounds)


def _device(traps, kernels_ns, schedule):
    """A function under test, the device that runs it, and a check that it was not called too often."""
    draw = random.Random(schedule)  # noqa: S311  a replay, not a secret
    compile_ms = draw.uniform(200, 400) if "first_call" in traps else 0.0
    clocks_up_ms = draw.uniform(60, 90) if "cold_clocks" in traps else 0.0
    launch_ms = draw.uniform(0.12, 0.28) if "launch_gap" in traps else HOST_CALL_MS
    when_cached = draw.uniform(0.5, 0.7) if "warm_cache" in traps else 1.0
    flush_ms = draw.uniform(0.05, 0.09)
    varied = _variations(draw, has_outliers="outliers" in traps)
    # Both clocks began at some time that nobody knows.
    line = _time_lines(draw.uniform(1e5, 1e6), COARSE_TICK_MS if "coarse_clock" in traps else CLOCK_TICK_MS)
    clocks_up_at_ms = math.inf
    n_calls, is_cached = 0, False

    def refuse_if_late():
        if n_calls > MOST_CALLS:
            raise RuntimeError(f"the function was called more than {MOST_CALLS} times: a benchmark has to end")

    def function():
        nonlocal n_calls, is_cached, clocks_up_at_ms
        n_calls += 1
        refuse_if_late()
        if n_calls == 1:
            clocks_up_at_ms = line.keep_host_busy(compile_ms) + clocks_up_ms
        factor = varied[n_calls % N_PLAYED] * (when_cached if is_cached else 1.0)
        is_cached = True
        for ns in kernels_ns:
            line.keep_host_busy(launch_ms / len(kernels_ns))
            slow_clocks = 1.6 if line.starts_at() < clocks_up_at_ms else 1.0
            line.queue(ns * 1e-6 * factor * slow_clocks)

    def flush_cache():
        nonlocal is_cached
        is_cached = False
        line.keep_host_busy(HOST_CALL_MS)
        line.queue(flush_ms)

    def spin(ms):
        line.keep_host_busy(HOST_CALL_MS)
        line.queue(max(0.0, float(ms)))

    def event(enable_timing=False):
        return _event(line, enable_timing)

    device = SimpleNamespace(
        Event=event, synchronize=line.synchronize, flush_cache=flush_cache, spin=spin, clock=line.clock
    )
    return function, device, refuse_if_late


def _time_lines(began_ms, clock_tick_ms):
    """The host's time and the device's: who is ahead, and who waits for whom."""
    host_ms = device_ms = began_ms

    def keep_host_busy(ms):
        nonlocal host_ms
        host_ms += ms
        return host_ms

    def starts_at():
        return max(host_ms, device_ms)

    def queue(ms):
        nonlocal host_ms, device_ms
        device_ms = starts_at() + ms
        host_ms = max(host_ms, device_ms - QUEUED_MS)

    def wait_until(stamp_ms):
        nonlocal host_ms
        host_ms = max(host_ms, stamp_ms) + SYNCHRONIZE_MS

    def clock():
        keep_host_busy(HOST_CALL_MS / 10)
        return host_ms // clock_tick_ms * clock_tick_ms / 1000

    return SimpleNamespace(
        keep_host_busy=keep_host_busy,
        starts_at=starts_at,
        queue=queue,
        wait_until=wait_until,
        is_past=lambda stamp_ms: stamp_ms <= host_ms,
        synchronize=lambda: wait_until(device_ms),
        clock=clock,
    )


def _variations(draw, has_outliers):
    """What the time of each call is multiplied by: evenly spread around 1, with or without tenfold calls."""
    phase, reach = draw.random(), ROUGH if has_outliers else CALM
    factors = [1 + reach * (2 * ((phase + k * GOLDEN) % 1) - 1) for k in range(N_PLAYED)]
    if not has_outliers:
        return factors
    # At no regular distance, and evenly spread: a loop that times every third call meets as many as any other.
    first = draw.random()
    return [each * (10 if (first + k * SILVER) % 1 < 1 / OUTLIER_EVERY else 1) for k, each in enumerate(factors)]


def _event(line, is_timed):
    stamp_ms = None

    def record():
        nonlocal stamp_ms
        line.keep_host_busy(HOST_CALL_MS)
        stamp_ms = line.starts_at()

    def tick():
        if stamp_ms is None or not is_timed:
            raise RuntimeError("both events must be made with enable_timing=True, and recorded, before elapsed_time")
        if not line.is_past(stamp_ms):
            raise RuntimeError("the device has not come to both events yet: synchronize before elapsed_time")
        return round(stamp_ms / EVENT_TICK_MS)

    def synchronize():
        if stamp_ms is not None:
            line.wait_until(stamp_ms)

    def elapsed_time(end):
        return (end.tick() - tick()) * EVENT_TICK_MS

    return SimpleNamespace(record=record, synchronize=synchronize, elapsed_time=elapsed_time, tick=tick)
