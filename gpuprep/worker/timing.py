"""Times the learner's function on a card. What it returns is a claim, like everything that leaves the worker."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuprep.worker.running import Runner

MIN_SAMPLES = 20
MAX_SAMPLES = 400
WARM_UP_S = 0.3
SPIN_CYCLES = 400_000
"""About 0.2 ms on the device: long enough for the host to queue the call behind it, so launch latency hides."""


def time_calls(runner: Runner, rounds: Sequence[Sequence[Any]], *, cap_s: float) -> dict[str, Any]:
    """Time calls over several distinct sets of arguments in turn.

    Args:
        runner: has the learner's file loaded.
        rounds: sets of arguments; the first is for warming up, the others are timed in turn.
        cap_s: stop sampling after this many seconds.

    Returns:
        `samples_ms`, and what `Runner.call` says of one more call on the last set, less the arguments.
    """
    from gpuprep.worker.running import move

    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    sets = [move(args, runner.device) for args in rounds]
    try:
        samples = sample_ms(runner.run, sets, cap_s=cap_s)
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = True  # type: ignore[attr-defined]
        answer = runner.call(sets[-1])
    except BaseException as error:  # noqa: BLE001  an answer, as in Runner.call
        return runner._raised(error, "timing")  # noqa: SLF001
    # The arguments are the trusted side's own memory: it looks there by itself.
    answer.pop("args", None)
    return {**answer, "samples_ms": samples}


def sample_ms(function: Callable[..., Any], sets: Sequence[Sequence[Any]], *, cap_s: float) -> list[float]:
    """Milliseconds a call, cold L2, one event pair a call, sampled until the median is steady or the cap is reached."""
    warm_until = time.monotonic() + WARM_UP_S
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
        args = sets[1 + len(samples) % (len(sets) - 1)]
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        clean.sum()
        torch.cuda._sleep(SPIN_CYCLES)  # type: ignore[no-untyped-call]  # noqa: SLF001
        start.record()
        result = function(*args)
        end.record()
        end.synchronize()
        samples.append(start.elapsed_time(end))
        del result
        if len(samples) >= MIN_SAMPLES and len(samples) % 10 == 0 and is_steady(samples):
            break
    return samples


def is_steady(samples: Sequence[float]) -> bool:
    """True when the 95 % interval of the median is narrower than half a per cent of it."""
    low, median, high = median_interval(samples)
    return (high - low) < 0.005 * median


def median_interval(samples: Sequence[float]) -> tuple[float, float, float]:
    """(low, median, high): the median with its distribution-free 95 % interval, from order statistics."""
    ordered = sorted(samples)
    n = len(ordered)
    reach = int(0.98 * n**0.5) + 1
    low, high = max(0, n // 2 - reach), min(n - 1, n // 2 + reach)
    return ordered[low], ordered[n // 2], ordered[high]
