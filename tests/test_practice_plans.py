"""A study plan against the calendar."""

from __future__ import annotations

from datetime import date

import pytest

from gpuprep.curriculum import Curriculum, Plan, PlanEntry
from gpuprep.exercise import Exercise, Hint
from gpuprep.model import Outcome
from gpuprep.practice.plans import Schedule, schedule
from gpuprep.practice.standing import Standing

START = date(2026, 3, 2)
PLAN = Plan(
    "short",
    "Short",
    (
        PlanEntry("Day 1", ("ex_01", "ex_02")),
        PlanEntry("Day 2", ("ex_08", "ex_03")),
        PlanEntry("Day 3", (), "A rest"),
        PlanEntry("Week 2", ("ex_04", "ex_09")),
        PlanEntry("Afterwards", ("ex_05",)),
    ),
)


def _standings(done: tuple[int, ...]) -> dict[str, Standing]:
    found = {}
    for number in range(1, 6):
        key = f"ex_{number:02}"
        exercise = Exercise(key, "thing", "Thing", "m", "triton", "", 10, (Hint("think"),))
        outcome = Outcome.PROVISIONAL if number in done else None
        at = "2026-03-02T00:00:00+00:00" if outcome else None
        found[key] = Standing(exercise, outcome, int(bool(outcome)), is_gold=False, is_stale=False, at=at)
    return found


def _on_day(day: int, *done: int) -> Schedule:
    today = date.fromordinal(START.toordinal() + day - 1)
    return schedule(PLAN, _standings(done), started=START, today=today)


def _ids(standings: tuple[Standing, ...]) -> list[str]:
    return [standing.exercise.id for standing in standings]


@pytest.mark.parametrize(
    ("day", "done", "due", "overdue"),
    [
        (1, (), ["ex_01", "ex_02"], []),
        (2, (), ["ex_01", "ex_02", "ex_03"], ["ex_01", "ex_02"]),
        (2, (1, 2), ["ex_03"], []),
        (2, (1, 2, 3), [], []),
        (8, (1, 2), ["ex_03", "ex_04"], ["ex_03"]),
        (14, (1, 2, 3), ["ex_04"], []),
        (15, (1, 2, 3), ["ex_04"], ["ex_04"]),
    ],
)
def test_what_is_due(day: int, done: tuple[int, ...], due: list[str], overdue: list[str]) -> None:
    """Due is what today and the days before ask for and was not passed; overdue what only the days before ask for."""
    plan = _on_day(day, *done)
    assert (_ids(plan.due), _ids(plan.overdue)) == (due, overdue)


def test_passes_decide_what_is_next() -> None:
    """The calendar skips nothing: the current step is the first with something to do, early or late."""
    assert [plan.current and plan.current.when for plan in (_on_day(9), _on_day(1, 1, 2, 3), _on_day(1, 1))] == [
        "Day 1",
        "Week 2",
        "Day 1",
    ]
    assert _on_day(1, 1, 2, 3, 4, 5).current is None


def test_exercises_that_are_not_here_yet_are_passed_over() -> None:
    """They are never due, don't keep a step open, and are named once the learner is past them."""
    plan = _on_day(2, 1, 2, 3)
    assert plan.steps[1].is_done
    assert plan.steps[1].coming == ("ex_08",)
    assert plan.skipped == ("ex_08", "ex_09")
    assert _on_day(1).skipped == ()


def test_days_and_weeks_have_a_place_in_the_calendar() -> None:
    """Week 2 is days 8 to 14; what is neither has no days and is never due."""
    plan = _on_day(30)
    assert [(step.first_day, step.last_day) for step in plan.steps] == [(1, 1), (2, 2), (3, 3), (8, 14), (None, None)]
    assert (plan.n_days, plan.is_over) == (14, True)
    assert "ex_05" not in _ids(plan.due)
    assert _on_day(9).steps[3].is_on(9)
    assert not _on_day(7).steps[3].is_on(7)


@pytest.mark.parametrize(
    ("when", "days"),
    [("Days 3-4", (3, 4)), ("weeks 1 – 2", (1, 14)), ("Day 0", (None, None)), ("Day 4-3", (None, None))],
)
def test_spans_of_days(when: str, days: tuple[int | None, int | None]) -> None:
    """A span of days or weeks counts from its first to its last; one that makes no sense counts as none."""
    plan = Plan("p", "P", (PlanEntry(when, ("ex_01",)),))
    [step] = schedule(plan, _standings(()), started=START, today=START).steps
    assert (step.first_day, step.last_day) == days


def test_without_a_start_nothing_is_due() -> None:
    """A workspace whose start was not noted has a plan without a calendar."""
    plan = schedule(PLAN, _standings(()), started=None, today=START)
    assert (plan.day, plan.due, plan.is_over) == (None, (), False)
    assert plan.current is plan.steps[0]


def test_a_clock_that_was_set_back_is_the_first_day() -> None:
    """No day comes before the first."""
    assert schedule(PLAN, _standings(()), started=START, today=date(2026, 2, 1)).day == 1


def test_the_curriculums_plans_have_days(curriculum: Curriculum) -> None:
    """Every entry of the four plans is a day or a week, one after the other, and names no exercise twice in a plan."""
    assert [plan.id for plan in curriculum.plans] == ["focused", "intensive", "standard", "extended"]
    for plan in curriculum.plans:
        found = schedule(plan, {}, started=START, today=START)
        days = [(step.first_day or 0, step.last_day or 0) for step in found.steps]
        assert all(first for first, _ in days), plan.id
        assert days == sorted(days), plan.id
        ids = [key for entry in plan.entries for key in entry.exercises]
        assert len(ids) == len(set(ids)), plan.id
