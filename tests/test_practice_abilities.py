"""The roadmap and the checklist, ticked by passes."""

from __future__ import annotations

import pytest

from gpuprep.curriculum import Ability, Area, Curriculum
from gpuprep.exercise import Exercise, Hint
from gpuprep.model import Outcome
from gpuprep.practice.abilities import abilities, areas
from gpuprep.practice.standing import Standing

AT = "2026-01-02T03:04:05+00:00"


def _standing(number: int, outcome: Outcome | None = Outcome.PASSED, **flags: bool) -> Standing:
    exercise = Exercise(f"ex_{number:02}", "thing", "Thing", "m", "triton", "", 10, (Hint("think"),))
    more = {"is_gold": False, "is_stale": False, **flags}
    return Standing(exercise, outcome, int(outcome is not None), at=AT if outcome else None, **more)


def _ticks(ability: Ability, *standings: Standing) -> tuple[bool, bool]:
    [found] = abilities([ability], {standing.exercise.id: standing for standing in standings})
    return found.is_ticked, found.is_provisional


BOTH = Ability("Do both", ("ex_01", "ex_02"))


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (_standing(2), (True, False)),
        (_standing(2, Outcome.PROVISIONAL), (True, True)),
        (_standing(2, Outcome.TOO_SLOW), (False, False)),
        (_standing(2, None), (False, False)),
        (_standing(2, is_stale=True), (False, False)),
        (_standing(2, solution_seen=True), (False, False)),
    ],
)
def test_a_box_ticks_when_every_exercise_is_passed(second: Standing, expected: tuple[bool, bool]) -> None:
    """Provisional passes tick it provisionally; a stale pass, or one after the solution was seen, does not."""
    assert _ticks(BOTH, _standing(1), second) == expected


def test_an_exercise_that_is_coming_keeps_a_box_open() -> None:
    """What can't be shown yet isn't ticked, however much of the rest is done."""
    [found] = abilities([BOTH], {"ex_01": _standing(1)})
    assert (found.is_ticked, found.n_done, found.total, found.coming) == (False, 1, 2, ("ex_02",))


def test_an_area_counts_each_exercise_once() -> None:
    """An exercise that shows two abilities of an area is one exercise."""
    area = Area("All", (BOTH, Ability("Do one", ("ex_01", "ex_07")), Ability("Later", ("ex_07",))))
    [found] = areas([area], {f"ex_0{number}": _standing(number) for number in (1, 2)})
    assert [standing.exercise.id for standing in found.standings] == ["ex_01", "ex_02"]
    assert found.coming == ("ex_07",)


def test_the_roadmap_covers_every_exercise(curriculum: Curriculum) -> None:
    """No exercise of the curriculum or of its plans is outside the roadmap, and the roadmap names no other."""
    named = {key for area in curriculum.roadmap for ability in area.abilities for key in ability.exercises}
    planned = {key for plan in curriculum.plans for entry in plan.entries for key in entry.exercises}
    assert named == planned | {exercise.id for exercise in curriculum.exercises}


def test_the_checklist_names_exercises_of_the_roadmap(curriculum: Curriculum) -> None:
    """An id with a slip in it would keep its box open for good."""
    named = {key for area in curriculum.roadmap for ability in area.abilities for key in ability.exercises}
    assert len(curriculum.checklist) == 8
    assert {key for ability in curriculum.checklist for key in ability.exercises} <= named
