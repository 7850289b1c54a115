"""Where a learner stands: the state of each exercise, the current one, the counts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gpuprep.curriculum import Curriculum, Module, Plan, PlanEntry
from gpuprep.exercise import Exercise, Hint, Target
from gpuprep.model import Case, CaseResult, Measurement, Outcome, Report, Tier, TierResult, Timing
from gpuprep.practice.standing import Standing, Tally, current, overview, standings
from gpuprep.progress import Progress


def _exercise(number: int, module: str, *topics: str) -> Exercise:
    name = f"thing_{number}"
    return Exercise(
        f"ex_{number:02}", name, f"Thing {number}", module, "triton", "", 10, (Hint("think"),), topics=topics
    )


@pytest.fixture
def curriculum(tmp_path: Path) -> Curriculum:
    """Three exercises in two modules, and a plan that starts from the last and names two that don't exist yet."""
    exercises = (
        _exercise(1, "00_first", "triton", "memory"),
        _exercise(2, "00_first", "triton"),
        _exercise(3, "01_second"),
    )
    modules = (Module("00_first", "First", ("ex_01", "ex_02")), Module("01_second", "Second", ("ex_03",)))
    plan = Plan(
        "short", "Short", (PlanEntry("Day 1", ("ex_09", "ex_03")), PlanEntry("Day 2", ("ex_01", "ex_08", "ex_09")))
    )
    found = Curriculum(tmp_path / "content", "All of it", modules, exercises, (plan,))
    for exercise in exercises:
        path = found.grader_path(exercise)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("GRADER = 1\n")
    return found


@pytest.fixture
def progress(tmp_path: Path) -> Iterator[Progress]:
    with Progress(tmp_path / "progress.db") as opened:
        yield opened


def _pass(curriculum: Curriculum, exercise_id: str, *, share: float | None = None) -> Report:
    """PROVISIONAL without a share of the card's copy rate; gold from 0.95 up."""
    exercise_hash = curriculum.exercise_hash(curriculum.exercise(exercise_id))
    case = Case({"n": 33, "dtype": "float32"})
    results = (CaseResult(case, "cpu", Outcome.PASSED),)
    if share is None:
        tiers = (TierResult(Tier.SPEED, Outcome.SKIPPED, "no GPU"),)
        return Report(exercise_id, Outcome.PROVISIONAL, tiers, results, exercise_hash=exercise_hash)
    measured = Measurement(Target("share_of_copy", 0.80, 0.95), share, share, share)
    timing = Timing(case, "cuda", 1.0, 1.0, 1.0, 9, (measured,))
    tiers = (TierResult(Tier.SPEED, Outcome.PASSED),)
    return Report(exercise_id, Outcome.PASSED, tiers, results, (timing,), exercise_hash=exercise_hash)


def _failure(exercise_id: str, outcome: Outcome = Outcome.RAISED) -> Report:
    return Report(exercise_id, outcome, message="no")


def test_before_the_first_attempt_nothing_is_known(curriculum: Curriculum, progress: Progress) -> None:
    """A fresh record gives every exercise in curriculum order, untried."""
    found = standings(curriculum, progress)

    assert [standing.exercise.id for standing in found] == ["ex_01", "ex_02", "ex_03"]
    assert {(s.outcome, s.attempts, s.is_gold, s.is_stale, s.at) for s in found} == {(None, 0, False, False, None)}
    assert not progress.path.exists()


def test_the_best_attempt_counts_and_all_are_counted(curriculum: Curriculum, progress: Progress) -> None:
    """A failure after gold changes the count of attempts, not the standing."""
    progress.record(_pass(curriculum, "ex_01", share=0.97))
    progress.record(_failure("ex_01"))
    progress.record(_failure("ex_02"))

    first, second, third = standings(curriculum, progress)

    assert (first.outcome, first.attempts, first.is_gold) == (Outcome.PASSED, 2, True)
    assert first.at == progress.attempts("ex_01")[0].at
    assert (second.outcome, second.attempts, second.is_gold) == (Outcome.RAISED, 1, False)
    assert third.outcome is None


def test_a_pass_of_a_changed_exercise_is_stale(curriculum: Curriculum, progress: Progress) -> None:
    """When the grader changes after a pass, the pass is stale until the exercise is passed again."""
    progress.record(_pass(curriculum, "ex_01"))
    assert not standings(curriculum, progress)[0].is_stale

    curriculum.grader_path(curriculum.exercise("ex_01")).write_text("GRADER = 2\n")
    assert standings(curriculum, progress)[0].is_stale

    progress.record(_pass(curriculum, "ex_01"))
    assert not standings(curriculum, progress)[0].is_stale


def test_a_failure_is_never_stale(curriculum: Curriculum, progress: Progress) -> None:
    """Only a pass can lose its worth when the exercise changes."""
    progress.record(_failure("ex_01"))
    assert not standings(curriculum, progress)[0].is_stale


def test_a_seen_solution_shows(curriculum: Curriculum, progress: Progress) -> None:
    """An exercise whose solution was forced says so, tried or not, and after a pass too."""
    progress.mark_solution_seen("ex_01")
    progress.mark_solution_seen("ex_02")
    progress.record(_pass(curriculum, "ex_02"))

    assert [standing.solution_seen for standing in standings(curriculum, progress)] == [True, True, False]


@pytest.mark.parametrize(
    ("done", "plan", "expected"),
    [
        ((), None, "ex_01"),
        (("ex_01",), None, "ex_02"),
        (("ex_02",), None, "ex_01"),
        (("ex_01", "ex_02", "ex_03"), None, None),
        ((), "short", "ex_03"),
        (("ex_03",), "short", "ex_01"),
        (("ex_03", "ex_01"), "short", None),
    ],
)
def test_current_is_the_first_that_is_not_done(
    curriculum: Curriculum, progress: Progress, done: tuple[str, ...], plan: str | None, expected: str | None
) -> None:
    """In plan order, else in curriculum order; ids that are still to come are passed over."""
    for exercise_id in done:
        progress.record(_pass(curriculum, exercise_id))

    found = current(standings(curriculum, progress), curriculum, plan)

    assert (found.exercise.id if found else None) == expected


@pytest.mark.parametrize("outcome", [Outcome.TOO_SLOW, Outcome.SKIPPED, Outcome.INCONCLUSIVE, Outcome.NOT_STARTED])
def test_what_is_not_a_pass_stays_current(curriculum: Curriculum, progress: Progress, outcome: Outcome) -> None:
    """Neither a near miss nor a skip lets the learner go on."""
    progress.record(_failure("ex_01", outcome))
    found = current(standings(curriculum, progress), curriculum, None)
    assert found is not None
    assert found.exercise.id == "ex_01"


def test_the_overview_counts_by_module_and_topic(curriculum: Curriculum, progress: Progress) -> None:
    """Passed, provisional and gold are counted for all, for each module and for each topic."""
    progress.record(_pass(curriculum, "ex_01", share=0.97))
    progress.record(_pass(curriculum, "ex_02"))

    found = overview(curriculum, progress, "short")

    assert found.overall == Tally("all", "All of it", passed=1, provisional=1, gold=1, total=3)
    assert found.modules == (
        Tally("00_first", "First", passed=1, provisional=1, gold=1, total=2),
        Tally("01_second", "Second", passed=0, provisional=0, gold=0, total=1),
    )
    assert found.topics == (
        Tally("triton", "triton", passed=1, provisional=1, gold=1, total=2),
        Tally("memory", "memory", passed=1, provisional=0, gold=1, total=1),
    )
    assert found.current is not None
    assert found.current.exercise.id == "ex_03"
    assert (found.plan, found.coming) == ("short", ("ex_09", "ex_08"))


def test_without_a_plan_nothing_is_coming(curriculum: Curriculum, progress: Progress) -> None:
    """Ids to come are the plan's; without one there are none."""
    assert overview(curriculum, progress, None).coming == ()


@pytest.mark.parametrize(
    "fields",
    [
        (None, 1, False, False, "2025-01-01"),
        (Outcome.RAISED, 0, False, False, None),
        (Outcome.RAISED, 1, False, False, None),
        (Outcome.PROVISIONAL, 1, True, False, "2025-01-01"),
        (Outcome.RAISED, 1, False, True, "2025-01-01"),
    ],
)
def test_an_impossible_standing_cannot_be_built(fields: tuple) -> None:
    """No attempts with an outcome, no gold or stale pass without a pass."""
    with pytest.raises(ValueError, match="ex_01"):
        Standing(_exercise(1, "m"), *fields)


@pytest.mark.parametrize("counts", [(1, 0, 2, 3), (2, 2, 0, 3), (-1, 0, 0, 3)])
def test_an_impossible_tally_cannot_be_built(counts: tuple[int, int, int, int]) -> None:
    """Not more gold than passes, not more done than there are."""
    with pytest.raises(ValueError, match="impossible"):
        Tally("m", "M", *counts)
