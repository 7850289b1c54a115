"""Attempts looked back on: series, the personal best, the attempt that got better, two side by side."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sample_reports as samples

from gpuprep.attempts import RIGHT, WORK, Gain, Series, Step, Tried
from gpuprep.errors import UsageError
from gpuprep.exercise import Exercise
from gpuprep.model import CardState, Outcome, Report, Work
from gpuprep.practice.history import NOT_KEPT_YET, compare, history
from gpuprep.progress import Progress

EXERCISE = samples.EXERCISE
NAME = "ex_01_vector_add.py"


@pytest.fixture
def progress(tmp_path: Path) -> Iterator[Progress]:
    with Progress(tmp_path / "progress.db") as opened:
        yield opened


def record(progress: Progress, report: Report, source: str) -> None:
    """An attempt whose file holds the source."""
    content = source.encode()
    named = replace(report, file_hash=hashlib.sha256(content).hexdigest(), exercise_hash=report.exercise_hash or "e")
    progress.record(named, {NAME: content})


def with_work(n_times: float) -> Report:
    """Provisional, with so many times the least bytes loaded."""
    work = Work(int(n_times * 2 * samples.N_BYTES), samples.N_BYTES, launches=1)
    cases = (*samples.CORRECT, replace(samples.WORKED, work=work))
    return replace(samples.provisional(), cases=cases)


def test_an_exercise_that_was_never_checked_has_no_history(progress: Progress) -> None:
    """Nothing is there, and nothing is made up."""
    found = history(EXERCISE, progress)
    assert (found.attempts, found.series, found.steps, found.told, found.counts) == ((), (), (), None, None)


def test_series_have_a_value_for_each_attempt_that_measured_it(progress: Progress) -> None:
    """The share of right cases, the share of the least work and the card's figure, with gaps where there is none."""
    for number, report in enumerate(
        (samples.without_cases(Outcome.NOT_STARTED), samples.wrong_values(), samples.provisional(), samples.timed(0.9))
    ):
        record(progress, report, f"version {number}")

    found = {(series.figure, series.device): series for series in history(EXERCISE, progress).series}

    assert found[RIGHT, ""].values == (None, 3 / 5, 1.0, 1.0)
    assert found[WORK, ""].values == (None, None, 1.0, 1.0)
    assert found["share_of_copy", "NVIDIA H200"].values == (None, None, None, 0.9)
    assert found["share_of_copy", "NVIDIA H200"].pass_at == 0.8


def test_the_work_of_a_wrong_result_says_nothing(progress: Progress) -> None:
    """A kernel that leaves half out does little work; it doesn't become the best."""
    wrong = replace(samples.wrong_values(), cases=(*samples.wrong_values().cases, samples.WORKED))
    record(progress, wrong, "half")
    record(progress, with_work(2.0), "whole")

    series = {each.figure: each for each in history(EXERCISE, progress).series}

    assert series[WORK].values == (None, 0.5)


def test_the_step_told_is_the_largest_gain_in_speed(progress: Progress) -> None:
    """Each attempt that beats the best before it is a step; the largest is told, with its diff."""
    for share, source in ((0.30, "a\nslow\n"), (0.60, "a\nfast\n"), (0.50, "a\nworse\n"), (0.66, "a\nfaster\n")):
        record(progress, samples.timed(share), source)

    found = history(EXERCISE, progress)

    speeds = [step for step in found.steps if step.gain is Gain.FASTER]
    assert [(step.before, step.after) for step in speeds] == [(1, 2), (2, 4)]
    assert found.told == speeds[0]
    assert found.told.factor == pytest.approx(2.0)
    [diff] = found.diffs
    assert diff.name == NAME
    assert [line for line in diff.lines if line[:1] in "+-"][2:] == ["-slow", "+fast"]


def test_a_gain_within_the_spread_is_no_step(progress: Progress) -> None:
    """Where the intervals meet, nothing got faster."""
    record(progress, samples.timed(0.900), "a")
    record(progress, samples.timed(0.905), "b")
    assert history(EXERCISE, progress).told is None


def test_the_same_source_on_a_better_day_is_no_step(progress: Progress) -> None:
    """A figure that rises without a change of the source is not the learner's doing."""
    record(progress, samples.timed(0.5), "a")
    record(progress, samples.timed(0.9), "a")
    assert [step for step in history(EXERCISE, progress).steps if step.gain is Gain.FASTER] == []


def test_speeds_on_two_cards_are_two_series(progress: Progress) -> None:
    """A card is compared with itself alone."""
    record(progress, samples.timed(0.5), "a")
    other = samples.timed(0.9)
    record(progress, replace(other, timings=tuple(replace(t, device="Tiny GPU") for t in other.timings)), "b")

    found = history(EXERCISE, progress)

    assert {series.device for series in found.series if series.device} == {"NVIDIA H200", "Tiny GPU"}
    assert [step for step in found.steps if step.gain is Gain.FASTER] == []


def test_operations_are_told_apart(progress: Progress) -> None:
    """Where an exercise has several operations, each has its series and its steps."""
    record(progress, samples.timed_apart(add=0.9, total=0.3), "a")
    record(progress, samples.timed_apart(add=0.9, total=0.6), "b")

    found = history(EXERCISE, progress)

    assert {series.op for series in found.series} == {"", "add", "total"}
    assert found.told is not None
    assert (found.told.op, found.told.factor) == ("total", pytest.approx(2.0))


def test_a_spoiled_time_is_left_out(progress: Progress) -> None:
    """What was measured while the card protected itself holds for nothing."""
    report = samples.timed(0.9)
    spoiled = tuple(replace(timing, card=CardState(is_spoiled=True)) for timing in report.timings)
    record(progress, replace(report, outcome=Outcome.INCONCLUSIVE, message="hot", timings=spoiled), "a")
    assert history(EXERCISE, progress).attempts[0].timings == ()


def test_without_a_card_less_work_is_told(progress: Progress) -> None:
    """Counted work needs no card: the attempt that came nearest to the least is the step."""
    for n_times, source in ((3.0, "a"), (2.0, "b"), (1.0, "c")):
        record(progress, with_work(n_times), source)

    found = history(EXERCISE, progress)

    assert found.told == Step(Gain.LESS_WORK, 2, 3, 2.0)


def test_without_figures_the_first_pass_is_told(progress: Progress) -> None:
    """From the last failure to the first pass."""
    record(progress, samples.without_cases(Outcome.COMPILE_FAILED), "a(")
    record(progress, samples.wrong_values(), "a")
    record(progress, replace(samples.provisional(), cases=samples.CORRECT), "b")
    found = history(EXERCISE, progress)
    assert found.told == Step(Gain.RIGHT, 2, 3)
    assert found.attempts[1].cause == "tail"


def test_a_change_of_the_exercise_is_said_and_nothing_is_compared_across_it(progress: Progress) -> None:
    """Figures of another version of the exercise don't make a step."""
    record(progress, replace(samples.timed(0.5), exercise_hash="old"), "a")
    record(progress, Report("ex_01", Outcome.GRADER_FAULT, message="broken", exercise_hash=""), "a")
    record(progress, replace(samples.timed(0.9), exercise_hash="new"), "b")

    found = history(EXERCISE, progress)

    assert [step for step in found.steps if step.gain is Gain.FASTER] == []
    assert found.changed_at[-1] == 3


def test_an_attempt_without_a_source_says_why(progress: Progress) -> None:
    """One from before sources were kept, and one that was refused, are told with the reason and without a diff."""
    progress.record(replace(samples.wrong_values(), file_hash="1"))
    progress.record(replace(samples.provisional(), file_hash="2"), unkept="too large")

    found = history(EXERCISE, progress)

    assert [attempt.unkept for attempt in found.attempts] == [NOT_KEPT_YET, "too large"]
    assert found.diffs == ()


@pytest.mark.parametrize(
    ("before", "after", "numbers"),
    [("1", "3", (1, 3)), ("first", "last", (1, 3)), ("best", "#1", (2, 1)), ("2", "2", (2, 2))],
)
def test_attempts_are_named_by_number_or_by_word(
    progress: Progress, before: str, after: str, numbers: tuple[int, int]
) -> None:
    """Numbers count from 1; `best` is the attempt that counts."""
    for report, source in ((samples.wrong_values(), "a"), (samples.timed(0.97), "b"), (samples.wrong_values(), "c")):
        record(progress, report, source)
    pair = compare(EXERCISE, progress, before, after)
    assert (pair.before.number, pair.after.number) == numbers
    assert bool(pair.diffs) == (numbers[0] != numbers[1])


@pytest.mark.parametrize("wanted", ["0", "2", "-1", "x", "", "²", "1.0"])
def test_an_attempt_that_is_not_there_is_a_usage_error(progress: Progress, wanted: str) -> None:
    """The error says which there are, and where they are listed."""
    record(progress, samples.wrong_values(), "a")
    with pytest.raises(UsageError, match="ex_01") as caught:
        compare(EXERCISE, progress, wanted, "last")
    assert caught.value.next_step == "gpuprep history ex_01"


def test_comparing_before_the_first_check_says_so(progress: Progress) -> None:
    """With no attempt there is nothing to name."""
    with pytest.raises(UsageError, match="not checked yet"):
        compare(EXERCISE, progress, "first", "last")


def test_two_files_have_a_diff_each(progress: Progress) -> None:
    """A kernel's `.cu` is compared beside its `.py`; a file that did not change is left out, one that is new is not."""
    report = replace(samples.provisional(), file_hash="1")
    progress.record(report, {"a.py": b"same\n"})
    progress.record(replace(report, file_hash="2"), {"a.py": b"same\n", "a.cu": b"kernel\n"})
    pair = compare(EXERCISE, progress, "1", "2")
    assert [diff.name for diff in pair.diffs] == ["a.cu"]
    assert pair.diffs[0].lines[-1] == "+kernel"


def test_an_impossible_attempt_series_or_step_cannot_be_built() -> None:
    """Not more right than graded, no sources with a reason for none, no series without a value, no step back."""
    exercise: Exercise = EXERCISE
    common = {"at": "2026-01-02T03:04:05+00:00", "outcome": Outcome.RAISED, "is_gold": False, "device": "cpu"}
    hashes = {"file_hash": "f", "exercise_hash": exercise.id}
    with pytest.raises(ValueError, match="2 of 1"):
        Tried(1, **common, n_right=2, n_graded=1, **hashes, unkept="x")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="sources"):
        Tried(1, **common, n_right=0, n_graded=0, **hashes)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="without a value"):
        Series(RIGHT, (None, None))
    with pytest.raises(ValueError, match="no step"):
        Step(Gain.FASTER, 2, 2)
