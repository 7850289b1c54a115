"""`history` and `compare` as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from gpuprep.attempts import FileDiff, History, SideBySide, Tried
from gpuprep.render.machine import Document, document


def history_document(found: History) -> Document:
    """Every attempt, every series, and each attempt that got better."""
    series = [
        {**asdict(each), "values": list(each.values), "best": each.best[0], "last": each.last[0]}
        for each in found.series
    ]
    return document(
        "history",
        exercise_id=found.exercise.id,
        attempts=[_attempt(attempt) for attempt in found.attempts],
        counts=found.counts,
        series=series,
        steps=[asdict(step) for step in found.steps],
        step=asdict(found.told) if found.told else None,
        diff=_diff(found.diffs),
        changed_at=list(found.changed_at),
    )


def compare_document(pair: SideBySide) -> Document:
    """Both attempts, and the diff between them."""
    attempts = {"before": _attempt(pair.before), "after": _attempt(pair.after)}
    return document("compare", exercise_id=pair.exercise.id, **attempts, diff=_diff(pair.diffs))


def _attempt(attempt: Tried) -> dict[str, Any]:
    figures = [
        {
            "figure": figure.target.figure,
            "of": figure.target.of,
            "device": device,
            "value": figure.value,
            "low": figure.low,
            "high": figure.high,
        }
        for figure, device in attempt.figures
    ]
    timings = [
        {
            "case": timing.case.name,
            "op": timing.case.op,
            "device": timing.device,
            "median_ms": timing.median_ms,
            "low_ms": timing.low_ms,
            "high_ms": timing.high_ms,
        }
        for timing in attempt.timings
    ]
    counted = [
        {
            "case": each.case.name,
            "figure": budget.name,
            "used": budget.used(each.work),
            "least": budget.least,
            "most": budget.most,
        }
        for each in attempt.counted
        for budget in each.budgets
    ]
    return {
        "number": attempt.number,
        "at": attempt.at,
        "outcome": attempt.outcome,
        "is_gold": attempt.is_gold,
        "device": attempt.device,
        "right": attempt.n_right,
        "graded": attempt.n_graded,
        "cause": attempt.cause or None,
        "evidence": attempt.evidence or None,
        "share_of_work": attempt.share_of_work,
        "figures": figures,
        "timings": timings,
        "counted": counted,
        "files": list(attempt.files),
        "unkept": attempt.unkept or None,
    }


def _diff(diffs: Sequence[FileDiff]) -> list[dict[str, Any]]:
    return [{"name": diff.name, "lines": list(diff.lines)} for diff in diffs]
