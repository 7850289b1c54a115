"""A study plan against the calendar: what belongs to today, what is still open from before, what comes.

Passes alone decide what is next, and nothing is skipped because its day is over: the calendar only says what is due.
It starts on the day on which the plan was chosen, and anew whenever it is chosen again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpuprep.curriculum import Plan, PlanEntry
    from gpuprep.practice.standing import Standing

DAYS_PER_WEEK = 7

_WHEN = re.compile(r"(day|week)s? +([0-9]{1,3})(?: *[-–] *([0-9]{1,3}))?", re.IGNORECASE)
"""`Day 3`, `Week 2`, `Days 3-4`. Whatever else a plan says has no place in the calendar."""


@dataclass(frozen=True)
class PlanStep:
    """One entry of a plan, and what has become of it."""

    when: str
    note: str
    standings: tuple[Standing, ...]
    """Of its exercises that the curriculum has."""
    coming: tuple[str, ...]
    """Ids of those that it doesn't have yet: they are passed over."""
    first_day: int | None
    """From 1; None where `when` is no day or week."""
    last_day: int | None

    @property
    def n_done(self) -> int:
        """Exercises that were passed, provisionally or not."""
        return sum(standing.is_done for standing in self.standings)

    @property
    def open(self) -> tuple[Standing, ...]:
        """Exercises that are still to be passed."""
        return tuple(standing for standing in self.standings if not standing.is_done)

    @property
    def is_done(self) -> bool:
        """True when it has exercises here, and all of them are passed."""
        return bool(self.standings) and not self.open

    def is_on(self, day: int | None) -> bool:
        """True on its own days."""
        return day is not None and self.first_day is not None and self.first_day <= day <= (self.last_day or 0)


@dataclass(frozen=True)
class Schedule:
    """A plan as a whole."""

    id: str
    title: str
    steps: tuple[PlanStep, ...]
    day: int | None
    """Today's number, from 1; None where the record doesn't say when the plan was begun."""
    n_days: int | None
    """None where no entry has a place in the calendar."""

    @property
    def current(self) -> PlanStep | None:
        """The first step with something to do: where the learner is."""
        return next((step for step in self.steps if step.open), None)

    @property
    def due(self) -> tuple[Standing, ...]:
        """What today's steps and those before them still ask for."""
        return self._open(lambda step, day: step.first_day is not None and step.first_day <= day)

    @property
    def overdue(self) -> tuple[Standing, ...]:
        """That part of it whose days are over."""
        return self._open(lambda step, day: step.last_day is not None and step.last_day < day)

    @property
    def skipped(self) -> tuple[str, ...]:
        """Ids before the current exercise that the curriculum doesn't have yet."""
        current = self.current
        passed_over: list[str] = []
        for step in self.steps:
            passed_over += step.coming
            if step is current:
                break
        return tuple(dict.fromkeys(passed_over))

    @property
    def is_over(self) -> bool:
        """True after its last day."""
        return self.day is not None and self.n_days is not None and self.day > self.n_days

    def _open(self, belongs: Callable[[PlanStep, int], bool]) -> tuple[Standing, ...]:
        if self.day is None:
            return ()
        found = (standing for step in self.steps if belongs(step, self.day) for standing in step.open)
        return tuple({standing.exercise.id: standing for standing in found}.values())


def schedule(plan: Plan, by_id: Mapping[str, Standing], *, started: date | None, today: date) -> Schedule:
    """The plan as it stands today.

    Args:
        plan: of the curriculum.
        by_id: every exercise's standing.
        started: the day on which the plan was chosen.
        today: the current day.
    """
    steps = tuple(_step(entry, by_id) for entry in plan.entries)
    # Clocks that were set back, and travellers: no day comes before the first.
    day = max(1, (today - started).days + 1) if started is not None else None
    return Schedule(plan.id, plan.title, steps, day, max((s.last_day for s in steps if s.last_day), default=None))


def _step(entry: PlanEntry, by_id: Mapping[str, Standing]) -> PlanStep:
    first_day, last_day = _days(entry.when)
    return PlanStep(
        entry.when,
        entry.note,
        tuple(by_id[key] for key in entry.exercises if key in by_id),
        tuple(key for key in entry.exercises if key not in by_id),
        first_day,
        last_day,
    )


def _days(when: str) -> tuple[int, int] | tuple[None, None]:
    """The first and the last day."""
    match = _WHEN.fullmatch(when.strip())
    if match is None:
        return None, None
    first, last = int(match[2]), int(match[3] or match[2])
    if not 1 <= first <= last:
        return None, None
    if match[1].lower() == "day":
        return first, last
    return (first - 1) * DAYS_PER_WEEK + 1, last * DAYS_PER_WEEK
