"""The ladder of hints."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gpuprep.errors import CurriculumError
from gpuprep.exercise import Exercise, Hint
from gpuprep.model import Outcome, Report
from gpuprep.practice.hints import HintShown, next_hint
from gpuprep.progress import Progress


@pytest.fixture
def progress(tmp_path: Path) -> Iterator[Progress]:
    with Progress(tmp_path / "progress.db") as opened:
        yield opened


def _exercise(*hints: Hint) -> Exercise:
    return Exercise("ex_01", "thing", "Thing", "00_first", "triton", "", 10, hints)


def test_one_more_each_time_and_the_last_stays(progress: Progress) -> None:
    """From the nudge to the outline, then the outline again."""
    exercise = _exercise(Hint("nudge"), Hint("idea"), Hint("outline"))

    shown = [next_hint(exercise, progress) for _ in range(4)]

    assert [(hint.index, hint.total, hint.text) for hint in shown] == [
        (0, 3, "nudge"),
        (1, 3, "idea"),
        (2, 3, "outline"),
        (2, 3, "outline"),
    ]
    assert [hint.is_last for hint in shown] == [False, False, True, True]


LADDER = (
    Hint("nudge"),
    Hint("use a mask", ("tail", "out_of_bounds")),
    Hint("mind the stride", ("stride", "tail")),
    Hint("outline"),
)


def _fail(progress: Progress) -> None:
    progress.record(Report("ex_01", Outcome.RAISED, message="no"))


def test_the_hint_that_answers_the_last_diagnosis_comes_first(progress: Progress) -> None:
    """It is picked out of turn and says so; after it the ladder goes on from its first step, without a repetition."""
    _fail(progress)

    shown = [next_hint(_exercise(*LADDER), progress, diagnosis_id="stride") for _ in range(5)]

    assert [(hint.index, hint.chosen_for) for hint in shown] == [
        (2, "stride"),
        (0, None),
        (1, None),
        (3, None),
        (3, None),
    ]


def test_several_hints_that_answer_come_one_after_the_other(progress: Progress) -> None:
    """Where more than one answers what was found, each is shown before the ladder goes on."""
    _fail(progress)
    shown = [next_hint(_exercise(*LADDER), progress, diagnosis_id="tail") for _ in range(3)]
    assert [(hint.index, hint.chosen_for) for hint in shown] == [(1, "tail"), (2, "tail"), (0, None)]


def test_a_new_failure_brings_its_hint_back(progress: Progress) -> None:
    """A hint that was shown before comes again where a later check finds what it answers; then the ladder goes on."""
    exercise = _exercise(*LADDER)
    _fail(progress)
    first = [next_hint(exercise, progress, diagnosis_id="out_of_bounds").index for _ in range(2)]
    _fail(progress)
    second = [next_hint(exercise, progress, diagnosis_id="out_of_bounds") for _ in range(2)]

    assert first == [1, 0]
    assert [(hint.index, hint.chosen_for) for hint in second] == [(1, "out_of_bounds"), (2, None)]


def test_a_diagnosis_that_no_hint_answers_leaves_the_ladder_alone(progress: Progress) -> None:
    """Nothing is claimed to be chosen that was not."""
    _fail(progress)
    shown = [next_hint(_exercise(*LADDER), progress, diagnosis_id="race") for _ in range(2)]
    assert [(hint.index, hint.chosen_for) for hint in shown] == [(0, None), (1, None)]


def test_without_a_diagnosis_nothing_is_marked(progress: Progress) -> None:
    """A hint made for a diagnosis is a plain step where there is none."""
    assert next_hint(_exercise(Hint("use a mask", ("tail",))), progress).chosen_for is None


def test_an_exercise_without_hints_says_so(progress: Progress) -> None:
    """No hint is an error with a next step, and nothing is recorded."""
    with pytest.raises(CurriculumError, match="ex_01") as caught:
        next_hint(_exercise(), progress)
    assert caught.value.next_step
    assert progress.hints_shown("ex_01") == 0


def test_a_hint_beyond_the_last_cannot_be_built() -> None:
    """An index is one of the ladder's steps."""
    with pytest.raises(ValueError, match="hint 3 of 3"):
        HintShown(_exercise(Hint("nudge")), 3, 3, "text")
