"""Every file under tests/wrong/ gets the outcome that its first line declares."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from gpuprep import curriculum as curricula
from gpuprep.authoring.wrong import expected_outcomes, staged, wrong_files
from gpuprep.curriculum import Curriculum
from gpuprep.grading.pool import WarmPool
from gpuprep.grading.session import check

CURRICULUM = curricula.load(Path(__file__).resolve().parent.parent)
FILES = [(exercise.id, path) for exercise in CURRICULUM.exercises for path in wrong_files(CURRICULUM, exercise)]
ALWAYS = 2
"""Files of an exercise that every run tries, the same ones each time; the others are for `make soak`, and `make check`
tries them all."""


def _tried() -> list[ParameterSet]:
    """All files, those beyond the first few of an exercise marked as soak; in the order of a hash, not of names."""
    params = []
    for exercise in CURRICULUM.exercises:
        files = sorted(wrong_files(CURRICULUM, exercise), key=lambda path: hashlib.sha256(path.stem.encode()).digest())
        for place, path in enumerate(files):
            marks = [pytest.mark.soak] if place >= ALWAYS else []
            params.append(pytest.param(exercise.id, path, id=f"{path.parent.name}/{path.stem}", marks=marks))
    return params


@pytest.mark.parametrize(("exercise_id", "path"), _tried())
def test_wrong_solution_gets_its_outcome(
    curriculum: Curriculum, warm_pool: WarmPool, exercise_id: str, path: Path
) -> None:
    """A known mistake or cheat is rejected, for the reason that its first line gives."""
    exercise = curriculum.exercise(exercise_id)
    with staged(curriculum, exercise, path) as launcher:
        report = check(exercise, curriculum, launcher, device="cpu", pool=warm_pool)
    failure = report.first_failure
    assert report.outcome in expected_outcomes(path), report.message or (failure and failure.message)


@pytest.mark.gpu
@pytest.mark.parametrize(("exercise_id", "path"), FILES, ids=[f"{path.parent.name}/{path.stem}" for _, path in FILES])
def test_wrong_solution_gets_its_outcome_on_a_card(
    curriculum: Curriculum, warm_pool: WarmPool, exercise_id: str, path: Path
) -> None:
    """With a card there, the same files are rejected for the same reasons, or for what only a card sees."""
    exercise = curriculum.exercise(exercise_id)
    with staged(curriculum, exercise, path) as launcher:
        report = check(exercise, curriculum, launcher, device="cuda", pool=warm_pool)
    assert report.outcome in expected_outcomes(path, on_card=True) | expected_outcomes(path)


@pytest.mark.parametrize("exercise", CURRICULUM.exercises, ids=lambda exercise: exercise.id)
def test_reference_passes_without_a_gpu(curriculum: Curriculum, warm_pool: WarmPool, exercise: object) -> None:
    """A reference passes everything that can be graded on a CPU; where speed can't be, the pass is provisional."""
    report = check(exercise, curriculum, curriculum.reference_path(exercise), device="cpu", pool=warm_pool)  # type: ignore[arg-type]
    assert report.outcome.is_pass, report.first_failure or report.message
    assert all(budget.least <= budget.used(result.work) <= budget.most
               for result in report.cases for budget in result.budgets)  # fmt: skip


@pytest.mark.parametrize("exercise", CURRICULUM.exercises, ids=lambda exercise: exercise.id)
def test_stub_is_not_started(curriculum: Curriculum, warm_pool: WarmPool, exercise: object) -> None:
    """An untouched stub is NOT_STARTED, not wrong."""
    report = check(exercise, curriculum, curriculum.stub_path(exercise), device="cpu", pool=warm_pool)  # type: ignore[arg-type]
    assert report.outcome == "NOT_STARTED"
