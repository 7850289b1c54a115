"""The hints of the curriculum and what grading can find: every id that a hint answers is one that grading gives."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpuprep.curriculum import Curriculum
from gpuprep.grading import work
from gpuprep.model import Case, CaseResult, Diagnosis, Outcome, Report
from gpuprep.practice.hints import next_hint
from gpuprep.progress import Progress

GRADING = Path(work.__file__).parent


def _given(path: Path) -> Iterator[str]:
    """The ids that a module makes diagnoses with: each `Diagnosis("id", …)`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Diagnosis":
            first = node.args[0] if node.args else next(word.value for word in node.keywords if word.arg == "id")
            if isinstance(first, ast.Constant):
                yield str(first.value)
            else:
                # The one place that looks its id up: what kind of too much work it was.
                assert path.name == "work.py", f"{path.name}:{node.lineno}"
                yield from work._EXTRA


DIAGNOSES = frozenset(name for path in sorted(GRADING.glob("*.py")) for name in _given(path))


def test_grading_gives_the_ids_that_this_test_reads() -> None:
    """Reading the modules finds the well-known ones, from each of the places where diagnoses are made."""
    assert {"tail", "scaled", "race", "uncoalesced", "never_written", "banned", "wrong_values"} <= DIAGNOSES


def test_every_id_that_a_hint_answers_exists(curriculum: Curriculum) -> None:
    """An id with a slip in it would never be matched, and nobody would notice."""
    unknown = {
        f"{exercise.id} hint {place}: {name}"
        for exercise in curriculum.exercises
        for place, hint in enumerate(exercise.hints, start=1)
        for name in hint.diagnoses
        if name not in DIAGNOSES
    }
    assert unknown == set()


def test_no_outline_answers_a_diagnosis(curriculum: Curriculum) -> None:
    """A failed check must not jump to the hint that gives everything away."""
    told = [exercise.id for exercise in curriculum.exercises if exercise.hints[-1].diagnoses]
    assert told == []


def _answers(curriculum: Curriculum) -> list[tuple[str, str]]:
    found = [(e.id, name) for e in curriculum.exercises for hint in e.hints for name in hint.diagnoses]
    return list(dict.fromkeys(found))


def test_each_diagnosis_picks_a_hint_that_answers_it(curriculum: Curriculum, tmp_path: Path) -> None:
    """For every exercise and every id that its hints answer: the failed check brings that hint, and it says so."""
    pairs = _answers(curriculum)
    assert len(pairs) > 100
    with Progress(tmp_path / "progress.db") as progress:
        for exercise_id, name in pairs:
            exercise = curriculum.exercise(exercise_id)
            case = CaseResult(
                Case({"n": 1}), "cpu", Outcome.WRONG_VALUES, "wrong", Diagnosis(name, "so"), n_wrong=1, n_total=1
            )
            progress.record(Report(exercise_id, Outcome.WRONG_VALUES, cases=(case,)))
            shown = next_hint(exercise, progress, diagnosis_id=name)
            assert shown.chosen_for == name, exercise_id
            assert name in exercise.hints[shown.index].diagnoses


@pytest.mark.parametrize("exercise_id", ["ex_01", "ex_16"])
def test_exercises_that_have_none_would_be_noticed(curriculum: Curriculum, exercise_id: str) -> None:
    """The pairs above hold the exercises one would look for."""
    assert exercise_id in {key for key, _ in _answers(curriculum)}
