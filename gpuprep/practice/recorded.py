"""What a recorded check measured: its times and counted work, read key by key, whichever gpuprep wrote it.

What a record lacks, or says in words that this version doesn't know, is left out; nothing takes its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from gpuprep.exercise import Target
from gpuprep.model import Budget, CardState, Case, Measurement, Outcome, Roof, Tier, Timing, Work
from gpuprep.portfolio import Counted, Measured
from gpuprep.progress import Attempt

Made = TypeVar("Made")

UNREADABLE = (KeyError, TypeError, ValueError, AttributeError)
"""What reading a record of another version may come to."""


def timings(number: int, attempt: Attempt) -> tuple[Measured, ...]:
    """The times of an attempt, one for each operation; none where it was not timed.

    Args:
        number: the attempt's place among those at its exercise, from 1.
        attempt: as the record has it.
    """
    report = attempt.report
    # Before version 2 there was at most one.
    found = report.get("timings") if "timings" in report else [report.get("timing")]
    return tuple(Measured(number, timing) for timing in _each(_timing, found))


def counted(number: int, attempt: Attempt) -> tuple[Counted, ...]:
    """The work cases of an attempt with right results, where the work came from the learner's own code."""
    if not any(_is_correct(tier) for tier in attempt.report.get("tiers") or ()):
        return ()
    return tuple(_each(lambda content: _counted(number, content), attempt.report.get("cases")))


def versions(attempt: Attempt) -> Mapping[str, str]:
    """What the attempt ran with, by name."""
    found = attempt.report.get("versions")
    return {str(name): str(version) for name, version in found.items()} if isinstance(found, dict) else {}


def cause(attempt: Attempt) -> str:
    """The id of what the deciding case was diagnosed with; empty where there is none."""
    try:
        place = attempt.report.get("first_failure")
        diagnosis = attempt.report["cases"][place]["diagnosis"] if place is not None else None
        return str(diagnosis["id"]) if diagnosis else ""
    except (*UNREADABLE, IndexError):
        return ""


def _is_correct(tier: Mapping[str, Any]) -> bool:
    return tier.get("tier") == Tier.CORRECT and tier.get("outcome") == Outcome.PASSED


def _each(read: Callable[[Any], Made | None], found: Any) -> Iterator[Made]:
    for content in found if isinstance(found, list) else ():
        try:
            made = read(content)
        except UNREADABLE:
            continue
        if made is not None:
            yield made


def _timing(content: dict[str, Any] | None) -> Timing | None:
    if content is None:
        return None
    card, roof = content.get("card"), content.get("roof")
    return Timing(
        _case(content["case"]),
        str(content["device"]),
        float(content["median_ms"]),
        float(content["low_ms"]),
        float(content["high_ms"]),
        int(content["n_samples"]),
        tuple(_each(_figure, content.get("figures"))),
        claimed_ms=content.get("claimed_ms"),
        net_ms=content.get("net_ms"),
        card=_made(CardState, card, tuples=("throttling", "strangers")) if card else None,
        notes=tuple(map(str, content.get("notes") or ())),
        roof=_made(Roof, roof) if roof else None,
        replayed_ms=content.get("replayed_ms"),
    )


def _counted(number: int, content: dict[str, Any]) -> Counted | None:
    case = _case(content["case"])
    # Where a library did the work, the figures say nothing about what the learner wrote.
    if case.tier is not Tier.WORK or not content.get("work") or content["outcome"] == "BANNED_CALL":
        return None
    work = _made(Work, content["work"], tuples=("bytes_loaded_of",))
    budgets = tuple(_each(lambda budget: _made(Budget, budget), content.get("budgets")))
    return Counted(number, case, work, budgets, tuple(_each(_figure, content.get("figures"))))


def _case(content: dict[str, Any]) -> Case:
    return Case(dict(content["params"]), Tier(content["tier"]), tuple(content["devices"]))


def _figure(content: dict[str, Any]) -> Measurement:
    target = _made(Target, content["target"])
    value, low, high = (float(content[key]) for key in ("value", "low", "high"))
    return Measurement(target, value, low, high, str(content.get("detail") or ""))


def _made(kind: type[Made], content: Mapping[str, Any], *, tuples: Iterable[str] = ()) -> Made:
    """One of `kind`, of those keys that it knows: a newer record may have more."""
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    values = {name: value for name, value in content.items() if name in names}
    return kind(**{name: tuple(value) if name in tuples and value else value for name, value in values.items()})
