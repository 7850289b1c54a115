"""Honest solutions other than the references are accepted, whatever way they go."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from gpuprep import curriculum as curricula
from gpuprep.authoring.honest import Honest, honest_files, judge_honest
from gpuprep.curriculum import Curriculum
from gpuprep.exercise import Exercise
from gpuprep.grading.pool import WarmPool
from gpuprep.model import Outcome

CURRICULUM = curricula.load(Path(__file__).resolve().parent.parent)
FILES = honest_files(CURRICULUM)


@pytest.fixture(scope="module")
def pool() -> Iterator[WarmPool]:
    """Workers are forked: the verdict is the same, and comes sooner."""
    with WarmPool() as pool:
        yield pool


def _ways() -> list[ParameterSet]:
    """Every file as a learner checks it. As a class is graded, in every run only one of each exercise."""
    ways, seen = [], set()
    for honest in FILES:
        ways.append(pytest.param(honest, False, id=honest.name))
        marks = [pytest.mark.soak] if honest.exercise.id in seen else []
        ways.append(pytest.param(honest, True, id=f"{honest.name}-witnessed", marks=marks))
        seen.add(honest.exercise.id)
    return ways


@pytest.mark.parametrize(("honest", "witnessed"), _ways())
def test_honest_solution_is_accepted(curriculum: Curriculum, pool: WarmPool, honest: Honest, witnessed: bool) -> None:
    """What is right passes; what the interpreter can't follow is skipped, with the reason."""
    judged = judge_honest(honest, curriculum, device="cpu", witnessed=witnessed, pool=pool)
    assert judged.is_accepted, f"{judged.outcome}: {judged.message}"
    assert judged.outcome is not Outcome.SKIPPED or judged.skipped
    assert judged.outcome is not Outcome.PROVISIONAL or not judged.skipped, judged.skipped


UNREPLAYED = {
    "ex_01_vector_add/cupy_raw_kernel": "no launch of its kernels was seen",
    "ex_02_reduction/cuda_graph": "a CUDA graph is replayed",
}
"""What a class's machine can't launch again: it says so, and a person has to look."""


@pytest.mark.gpu
@pytest.mark.parametrize("witnessed", [False, True], ids=["checked", "witnessed"])
@pytest.mark.parametrize("honest", FILES, ids=lambda honest: honest.name)
def test_honest_solution_is_accepted_on_a_card(
    curriculum: Curriculum, pool: WarmPool, honest: Honest, witnessed: bool
) -> None:
    """A card accepts them all; how fast they are is another question."""
    judged = judge_honest(honest, curriculum, device="cuda", witnessed=witnessed, pool=pool)
    assert judged.is_accepted, f"{judged.outcome}: {judged.message}"
    if judged.outcome is Outcome.PROVISIONAL:
        assert witnessed
        assert UNREPLAYED[honest.name] in judged.skipped


@pytest.mark.parametrize("exercise", CURRICULUM.exercises, ids=lambda exercise: exercise.id)
def test_there_are_enough_of_them(exercise: Exercise) -> None:
    """Three other ways to solve each exercise."""
    assert sum(honest.exercise is exercise for honest in FILES) >= 3
