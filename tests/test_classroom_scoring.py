"""Points: what a tier is worth that passed, failed, was not graded, or was spoilt."""

from __future__ import annotations

import csv
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import sample_reports as samples

from gpuprep.classroom.assignment import Assigned, Assignment, Late
from gpuprep.classroom.journal import Grade, Noted
from gpuprep.classroom.scoring import Fate, Row, fates, points, row, scores_csv
from gpuprep.model import Outcome, Report, Tier, TierResult

ALL = tuple(Tier)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def graded(report: Report | None, *tiers: Tier, fault: str = "") -> Grade:
    """A grade of an exercise with these tiers, or with all."""
    return Grade("ada", "ex_01", tiers or ALL, report, fault)


def fate_of(grade: Grade, *counted: Tier) -> dict[str, str]:
    """What became of each tier that counts."""
    return {
        str(tier): str(fate) for tier, fate in fates(Assigned(samples.EXERCISE, 3.0, counted or ALL), grade).items()
    }


def class_of(*ids: str, weight: float = 3.0, due: datetime | None = None) -> Assignment:
    """An assignment with these exercises."""
    exercises = tuple(Assigned(replace(samples.EXERCISE, id=each), weight) for each in ids)
    return Assignment("A", exercises, due=due, late=Late(0.25) if due else None)


def made_row(assignment: Assignment, *grades: Grade, name: str = "ada", **noted: object) -> Row:
    """Ada's row."""
    fields = {"hash": "", "submitted": NOON, "refused": {}, "notes": (), **noted}
    return row(assignment, Noted(name, **fields), {grade.exercise_id: grade for grade in grades})  # type: ignore[arg-type]


def with_speed(outcome: Outcome) -> Report:
    """A report that is right in all but its speed."""
    tiers = (samples.CORRECT_TIER, samples.WORK_TIER, TierResult(Tier.SPEED, outcome))
    return replace(samples.provisional(), outcome=outcome, tiers=tiers, message="as the card had it")


def test_speed_that_was_not_graded_is_pending() -> None:
    """Neither zero nor full: it counts in neither score nor max_score."""
    assert fate_of(graded(samples.provisional())) == {"correct": "won", "work": "won", "speed": "pending"}
    found = made_row(class_of("ex_01"), graded(samples.provisional()))
    assert (found.score, found.max_score, found.pending_points) == (2.0, 2.0, 1.0)
    assert found.named(Fate.PENDING) == "ex_01 speed"


def test_all_tiers_passed_is_all_points() -> None:
    """On a card."""
    found = made_row(class_of("ex_01"), graded(samples.timed()))
    assert (found.score, found.max_score, found.pending_points) == (3.0, 3.0, 0.0)


def test_wrong_solution_loses_every_tier() -> None:
    """Speed that can't be had any more is not pending: a card would change nothing."""
    assert set(fate_of(graded(samples.wrong_values())).values()) == {"lost"}
    found = made_row(class_of("ex_01"), graded(samples.wrong_values()))
    assert (found.score, found.max_score) == (0.0, 3.0)


def test_too_much_work_keeps_what_is_correct() -> None:
    """And loses work and speed: after a failure nothing is timed, with or without a card."""
    assert fate_of(graded(samples.too_much_work())) == {"correct": "won", "work": "lost", "speed": "lost"}


def test_unstarted_file_is_worth_nothing() -> None:
    """And all of it counts."""
    found = made_row(class_of("ex_01"), graded(samples.without_cases(Outcome.NOT_STARTED)))
    assert (found.score, found.max_score) == (0.0, 3.0)


@pytest.mark.parametrize("outcome", [Outcome.INVALID, Outcome.INCONCLUSIVE])
def test_measurement_that_is_worth_nothing_is_rerun(outcome: Outcome) -> None:
    """Never zero: the rest counts, and the row says what to do again."""
    assert fate_of(graded(with_speed(outcome))) == {"correct": "won", "work": "won", "speed": "rerun"}
    found = made_row(class_of("ex_01"), graded(with_speed(outcome)))
    assert (found.score, found.max_score, found.named(Fate.RERUN)) == (2.0, 2.0, "ex_01 speed")


def test_too_slow_loses_only_speed() -> None:
    """A verdict of the card."""
    assert fate_of(graded(with_speed(Outcome.TOO_SLOW)))["speed"] == "lost"


def test_fault_of_the_grader_costs_nothing() -> None:
    """The whole exercise is rerun."""
    found = made_row(class_of("ex_01"), graded(None, fault="it died"))
    assert found.scores[0].outcome == "GRADER_FAULT"
    assert (found.score, found.max_score, found.pending_points) == (0.0, 0.0, 3.0)


def test_only_chosen_tiers_share_the_weight() -> None:
    """And only those that the exercise has."""
    assert fate_of(graded(samples.provisional()), Tier.CORRECT, Tier.WORK) == {"correct": "won", "work": "won"}
    assert list(fate_of(graded(samples.provisional(), Tier.CORRECT, Tier.WORK))) == ["correct", "work"]


def test_work_that_could_not_be_witnessed_is_pending_and_told() -> None:
    """A claim of the student's own process is no pass."""
    skipped = TierResult(Tier.WORK, Outcome.SKIPPED, "its work can't be witnessed: a CUDA graph")
    report = replace(samples.provisional(), tiers=(samples.CORRECT_TIER, skipped, samples.NO_SPEED))
    found = made_row(class_of("ex_01"), graded(report))
    assert (found.score, found.max_score, found.named(Fate.PENDING)) == (1.0, 1.0, "ex_01 work, ex_01 speed")
    assert "a CUDA graph" in found.scores[0].note


def test_pass_in_all_that_counts_is_no_provisional_one() -> None:
    """A speed that has no points need not be waited for."""
    assignment = Assignment("A", (Assigned(samples.EXERCISE, 3.0, (Tier.CORRECT, Tier.WORK)),))
    (score,) = made_row(assignment, graded(samples.provisional())).scores
    assert (score.outcome, score.pending_points) == (Outcome.PASSED, 0.0)
    (score,) = made_row(class_of("ex_01"), graded(samples.provisional())).scores
    assert score.outcome is Outcome.PROVISIONAL


def test_missing_and_refused_files_cost_their_weight() -> None:
    """They are told apart, and the reason for a refusal is in the row."""
    found = made_row(class_of("ex_01", "ex_02"), refused={"ex_02": "two files"})
    assert [score.outcome for score in found.scores] == ["MISSING", "REFUSED"]
    assert (found.score, found.max_score) == (0.0, 6.0)
    assert found.scores[1].note == "two files"


def test_late_submission_keeps_a_share() -> None:
    """Of its score; what could be had stays the same."""
    due = datetime(2026, 2, 28, 12, tzinfo=UTC)
    found = made_row(class_of("ex_01", due=due), graded(samples.provisional()))
    assert (found.n_days_late, found.score, found.max_score) == (1, 1.5, 2.0)
    assert made_row(class_of("ex_01", due=due)).n_days_late == 0, "nothing was handed in"


def test_scores_file_has_a_row_a_submission() -> None:
    """Its columns begin with submission, score and max_score; then an outcome an exercise."""
    assignment = class_of("ex_01", "ex_02", weight=1.0)
    rows = [made_row(assignment, graded(samples.provisional()), name="Müller, Jörg"), made_row(assignment, name="bob")]
    first, second = csv.DictReader(scores_csv(assignment, rows).splitlines())
    assert list(first)[:5] == ["submission", "score", "max_score", "ex_01", "ex_02"]
    assert first == {
        "submission": "Müller, Jörg",
        "score": "0.6667",
        "max_score": "1.6667",
        "ex_01": "PROVISIONAL",
        "ex_02": "MISSING",
        "pending_points": "0.3333",
        "pending": "ex_01 speed",
        "rerun": "",
        "days_late": "",
        "note": "",
    }
    assert (second["submission"], second["score"], second["max_score"]) == ("bob", "0", "2")


@pytest.mark.parametrize("name", ["=1+1", "@SUM(A1)", "+1", "-1"])
def test_name_is_no_formula(name: str) -> None:
    """A spreadsheet would compute what a student called a folder."""
    (found,) = csv.DictReader(scores_csv(class_of("ex_01"), [made_row(class_of("ex_01"), name=name)]).splitlines())
    assert found["submission"] == f"'{name}"


def test_control_characters_stay_out_of_the_scores() -> None:
    """A name may have a newline or an escape sequence in it."""
    text = scores_csv(class_of("ex_01"), [made_row(class_of("ex_01"), name="a\nb\x1b[31m")])
    assert "a?b?[31m" in text


@pytest.mark.parametrize(("value", "shown"), [(2.0, "2"), (2 / 3, "0.6667"), (0.0, "0"), (123.45678, "123.4568")])
def test_points_have_four_decimals_at_most(value: float, shown: str) -> None:
    """And none that are zeros."""
    assert points(value) == shown


def test_thirds_add_up_to_a_whole() -> None:
    """A perfect score equals its maximum exactly."""
    found = made_row(class_of("ex_01", weight=1.0), graded(samples.timed()))
    assert found.score == found.max_score == 1.0
