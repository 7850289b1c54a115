"""Whether what masked lanes hold reaches a result: it does where other garbage in them makes another result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gpuprep.counters.findings import UNSET_LANES
from gpuprep.counters.masked_lanes import LOUD, NAN
from gpuprep.model import CaseResult, Diagnosis, Outcome

if TYPE_CHECKING:
    from gpuprep.grading.answers import Answer, Asked

Again = Callable[..., "Answer"]
"""Makes a call once more, with its programs in reversed order (`reverse=True`) or other garbage in masked lanes:
`garbage=` holds the arguments of `counters.masked_lanes.Garbage`."""
Judge = Callable[["Answer"], Iterable[CaseResult]]
"""The faults of an answer."""

OTHERWISE = "right only as long as masked lanes hold NaN: with other garbage in them, "
"""What a message begins with where the first call's values were right."""
_UNSET = Diagnosis(
    "uninitialised",
    "A lane that its mask keeps from loading holds anything on a card, unless the load says what. Here NaN and large "
    "numbers are tried, and the result depends on them. A weight of 0 keeps nothing out, as 0 · NaN is NaN, and a "
    "maximum may find a large number. If its mask leaves out what is needed, mend that; else give the load `other=`, a "
    "value that changes nothing in what follows: 0 for a sum or a product of tiles, −inf for a maximum.",
)
LOUDLY: Mapping[str, Any] = {"kind": LOUD}
"""The garbage of a second call."""
_MAX_LINES = 8
"""Loads that are tried one by one."""


def has_unset_lanes(answer: Answer) -> bool:
    """True where some lanes held garbage in a call."""
    return bool(_places(answer))


def with_masked_lanes(
    asked: Asked, answer: Answer, faults: Sequence[CaseResult], again: Again, judge: Judge
) -> list[CaseResult]:
    """The faults of an answer, wrong values among them explained by masked lanes where those are what they come from.

    Args:
        asked: the call.
        answer: what came back.
        faults: those that show in it by itself.
        again: makes the same call once more.
        judge: finds the faults of another answer.
    """
    places = _places(answer)
    if not places or not _differ(answer, other := again(garbage=LOUDLY)):
        return list(faults)
    kept = [fault for fault in faults if fault.outcome is not Outcome.WRONG_VALUES]
    wrong = [fault for fault in faults if fault.outcome is Outcome.WRONG_VALUES] or [
        replace(fault, message=f"{OTHERWISE}{fault.message}") for fault in judge(other) if _is_wrong(fault)
    ]
    if not wrong:
        return kept
    place = _culprit(places, again, judge)
    explained = min(wrong, key=lambda fault: fault.outcome.precedence)
    return [
        *kept,
        replace(explained, diagnosis=_UNSET, where=asked.line(int(place["line"]), str(place["path"]))),
    ]


def _places(answer: Answer) -> list[Mapping[str, Any]]:
    return [finding for finding in answer["findings"] if finding["kind"] == UNSET_LANES]


def _culprit(places: Sequence[Mapping[str, Any]], again: Again, judge: Judge) -> Mapping[str, Any]:
    """The load whose lanes alone make the result wrong, while those of all others hold 0; the first where none does."""
    if len(places) > 1:
        for place in places[:_MAX_LINES]:
            for kind in (NAN, LOUD):
                answer = again(garbage={"kind": kind, "line": int(place["line"])})
                if any(map(_is_wrong, judge(answer))):
                    return place
    return places[0]


def _is_wrong(fault: CaseResult) -> bool:
    """What host code does is the same whatever lanes hold."""
    return fault.outcome is not Outcome.BANNED_CALL


def _differ(answer: Answer, other: Answer) -> bool:
    """True where two answers to one call are not the same, value by value; NaN is the same as NaN."""
    if other["status"] != "returned" or len(other["outputs"]) != len(answer["outputs"]):
        return True
    for first, second in zip(answer["outputs"], other["outputs"], strict=True):
        if first.shape != second.shape or first.dtype != second.dtype:
            return True
        if not bool(((first == second) | (first.isnan() & second.isnan())).all()):
            return True
    return False
