"""The ladder of hints."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gpuprep.errors import CurriculumError
from gpuprep.exercise import Exercise, Hint
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


def test_a_hint_that_answers_the_last_diagnosis_says_so(progress: Progress) -> None:
    """The order stays the ladder's; a hint made for what the last check found is marked."""
    exercise = _exercise(Hint("nudge"), Hint("use a mask", ("tail",)))

    shown = [next_hint(exercise, progress, diagnosis_id="tail") for _ in range(2)]

    assert [hint.chosen_for for hint in shown] == [None, "tail"]


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
