"""What a learner would use instead, timed with the clock that times the learner's function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gpuprep.errors import GraderFaultError
from gpuprep.exercise import TIMES, Target
from gpuprep.grader import Baseline
from gpuprep.worker.timing import median_interval, sample_ms

Burst = Callable[[], list[float]]
"""Times some calls more: milliseconds each."""

_CANT_RUN = (RuntimeError, NotImplementedError)


@dataclass(frozen=True)
class Ready:
    """A baseline that is compiled, warm and can run here, or the reason why it can't."""

    baseline: Baseline
    burst: Burst | None = None
    why_not: str = ""


def made_ready(baseline: Baseline, sets: Sequence[Sequence[Any]], *, cap_s: float, space_s: float) -> Ready:
    """Prepares one for each set of arguments.

    Args:
        baseline: whose calls are timed.
        sets: arguments; the first for warming up, the others are timed in turn.
        cap_s: how long a burst may take.
        space_s: rest between calls.
    """
    try:
        calls = [(baseline.prepare(*args),) for args in sets]
        calls[0][0]()
    except _CANT_RUN as error:
        return Ready(baseline, why_not=(str(error).strip() or type(error).__name__).splitlines()[0])
    return Ready(baseline, lambda: sample_ms(_called, calls, cap_s=cap_s, space_s=space_s))


def fastest_ms(
    baselines: Sequence[Baseline], target: Target, sets: Sequence[Sequence[Any]], *, cap_s: float, space_s: float
) -> tuple[float, str]:
    """What the fastest baseline takes that a target is about, and which one that is.

    Raises:
        GraderFaultError: there is none that can run on this card.
    """
    found: list[tuple[float, str]] = []
    why_not = "there is none"
    for baseline in baselines:
        if baseline.key != key_of(target):
            continue
        ready = made_ready(baseline, sets, cap_s=cap_s, space_s=space_s)
        why_not = f"{baseline.title}: {ready.why_not}"
        if ready.burst is not None:
            found.append((median_interval(ready.burst())[1], baseline.title))
    if not found:
        raise GraderFaultError(f"no baseline for {target.figure} can run on this card ({why_not})")
    return min(found)


def key_of(target: Target) -> str:
    """The baselines' key that a target compares with; empty where it is about no baseline."""
    return target.figure.removeprefix("times_") if target.figure in TIMES else ""


def _called(call: Callable[[], Any]) -> Any:
    return call()
