"""Times calls on a card: distinct arguments, a cold L2, an event pair a call.

What it says in the learner's worker is a claim, like everything that leaves there; `grading.audit` holds it against a
clock of its own. The trusted side times libraries and ceilings with the same function.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

MIN_SAMPLES = 20
MAX_SAMPLES = 400
WARM_UP_S = 0.1
SPIN_CYCLES = 400_000
"""About 0.2 ms on the device: long enough for the host to queue the call behind it, so launch latency hides."""
STEADY = 0.005
"""Sampling stops when the interval of the median is narrower than this share of it."""


def sample_ms(
    function: Callable[..., Any],
    sets: Sequence[Sequence[Any]],
    *,
    cap_s: float,
    warm_up_s: float = WARM_UP_S,
    space_s: float = 0.0,
) -> list[float]:
    """Milliseconds a call, sampled until the median is steady or the cap is reached.

    Args:
        function: what is timed; its result is dropped.
        sets: sets of arguments; the first is for warming up, the others are timed in turn.
        cap_s: stop sampling after this many seconds, once there are MIN_SAMPLES.
        warm_up_s: how long to call before the first sample: compiling, autotuning and clocks settle.
        space_s: rest between samples.
    """
    warm_until = time.monotonic() + warm_up_s
    while True:
        function(*sets[0])
        torch.cuda.synchronize()
        if time.monotonic() > warm_until:
            break
    cache_bytes = torch.cuda.get_device_properties(0).L2_cache_size
    # Read, never written: dirty lines would be written back during the timed call.
    clean = torch.zeros(2 * cache_bytes // 4, dtype=torch.int32, device="cuda")
    stop_at = time.monotonic() + cap_s
    samples: list[float] = []
    while len(samples) < MAX_SAMPLES and (len(samples) < MIN_SAMPLES or time.monotonic() < stop_at):
        samples.append(_one_ms(function, sets[1 + len(samples) % (len(sets) - 1)], clean))
        time.sleep(space_s)
        if len(samples) >= MIN_SAMPLES and len(samples) % 10 == 0 and is_steady(samples):
            break
    return samples


def _one_ms(function: Callable[..., Any], args: Sequence[Any], clean: torch.Tensor) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    clean.sum()
    torch.cuda._sleep(SPIN_CYCLES)  # type: ignore[no-untyped-call]  # noqa: SLF001
    start.record()
    result = function(*args)
    end.record()
    end.synchronize()
    del result
    return float(start.elapsed_time(end))


def is_steady(samples: Sequence[float]) -> bool:
    """True when the 95 % interval of the median is narrow enough."""
    low, median, high = median_interval(samples)
    return (high - low) < STEADY * median


def median_interval(samples: Sequence[float]) -> tuple[float, float, float]:
    """(low, median, high): the median with its distribution-free 95 % interval, from order statistics."""
    ordered = sorted(samples)
    n = len(ordered)
    reach = int(0.98 * n**0.5) + 1
    low, high = max(0, n // 2 - reach), min(n - 1, n // 2 + reach)
    return ordered[low], ordered[n // 2], ordered[high]
