"""The speed tier: the learner's time against this card's ceilings and the library's time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpuprep.grader import Grader
from gpuprep.grading.answers import Asked
from gpuprep.grading.ceilings import Ceilings, measure
from gpuprep.model import Case, Exercise, Measurement, Target, Timing
from gpuprep.worker.timing import median_interval, sample_ms


def timing_of(
    exercise: Exercise,
    grader: Grader,
    case: Case,
    samples_ms: Sequence[float],
    ceilings: Ceilings,
    eager_ms: float | None,
) -> Timing:
    """The figures that follow from the learner's samples.

    Args:
        exercise: names the targets.
        grader: knows the least traffic.
        case: the timed case.
        samples_ms: one time a call.
        ceilings: of the card that the samples were taken on.
        eager_ms: the library's time for the same call, where a target needs it.
    """
    low_ms, median_ms, high_ms = median_interval(samples_ms)
    traffic = grader.traffic(case)

    def figure(target: Target) -> Measurement:
        best = _ceiling_ms(target, traffic.bytes, traffic.flops, traffic.dtype, ceilings, eager_ms)
        if target.figure == "share_of_copy":
            rate = traffic.bytes / 1e9 / (median_ms / 1e3)
            detail = f"{rate:.0f} of {ceilings.copy_gb_per_s:.0f} GB/s"
        elif target.figure == "share_of_matmul":
            rate = traffic.flops / 1e12 / (median_ms / 1e3)
            detail = f"{rate:.0f} of {ceilings.matmul_tflop_per_s[traffic.dtype]:.0f} TFLOP/s"
        else:
            detail = f"{grader.baseline} takes {best:.3f} ms"
        return Measurement(target, best / median_ms, best / high_ms, best / low_ms, detail)

    figures = tuple(figure(target) for target in exercise.targets)
    return Timing(case, ceilings.card, median_ms, low_ms, high_ms, len(samples_ms), figures)


def _ceiling_ms(
    target: Target, n_bytes: int, flops: int, dtype: str, ceilings: Ceilings, eager_ms: float | None
) -> float:
    if target.figure == "share_of_copy":
        return n_bytes / 1e9 / ceilings.copy_gb_per_s * 1e3
    if target.figure == "share_of_matmul":
        return flops / 1e12 / ceilings.matmul_tflop_per_s[dtype] * 1e3
    assert eager_ms is not None  # noqa: S101  the session times it for every exercise with such a target
    return eager_ms


def baseline_ms(grader: Grader, case: Case, args: Sequence[Any]) -> float:
    """Median time of the library call that a learner would use instead, on this card."""

    def call(*given: Any) -> Any:
        return grader.honest(case, *given)

    return median_interval(sample_ms(call, [args, args], cap_s=1.0))[1]


def time_case(exercise: Exercise, asked: Asked, samples_ms: Sequence[float]) -> Timing:
    """Calibrate this card, time the library where a target asks for it, and set the learner's samples against both."""
    ceilings = measure(asked.grader.traffic(asked.case).dtype)
    needs_eager = any(target.figure == "times_eager" for target in exercise.targets)
    eager_ms = baseline_ms(asked.grader, asked.case, asked.args) if needs_eager else None
    return timing_of(exercise, asked.grader, asked.case, samples_ms, ceilings, eager_ms)
