"""On a card: what the references reach. `make gpu` prints the figures that docs/measurements.md quotes."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from gpuprep import curriculum as curricula
from gpuprep.curriculum import Curriculum
from gpuprep.exercise import Exercise
from gpuprep.grading.session import check
from gpuprep.model import Outcome, Report, Timing

CURRICULUM = curricula.load(Path(__file__).resolve().parent.parent)
FLOORS = {
    ("ex_01", "", "share_of_copy"): 0.95,
    ("ex_02", "", "share_of_copy"): 0.92,
    ("ex_03", "", "share_of_matmul"): 0.88,
    ("ex_04", "", "share_of_copy"): 0.88,
    ("ex_04", "", "times_eager"): 2.0,
}
"""What a reference has to reach on an H200, by exercise, operation and figure; the targets in curriculum.yaml are what
a learner has to reach anywhere."""

pytestmark = pytest.mark.gpu


def row(report: Report, timing: Timing) -> str:
    """One line of the table in docs/measurements.md."""
    figures = "; ".join(
        f"{figure.target.figure} {figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}] ({figure.detail})"
        for figure in timing.figures
    )
    versions = f"torch {report.versions['torch']}, Triton {report.versions['triton']}"
    today = dt.datetime.now(dt.UTC).date()
    cells = (report.exercise_id, timing.case.name, f"{timing.median_ms:.4f}", figures, report.device, versions, today)
    return f"| {' | '.join(map(str, cells))} |"


@pytest.mark.parametrize("exercise", CURRICULUM.exercises, ids=lambda exercise: exercise.id)
def test_reference_reaches_gold_on_this_card(
    curriculum: Curriculum, exercise: Exercise, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every reference passes all tiers and is gold."""
    report = check(exercise, curriculum, curriculum.reference_path(exercise), device="cuda")
    assert report.outcome is Outcome.PASSED, report.message or report.first_failure
    with capsys.disabled():
        print(*("\n" + row(report, timing) for timing in report.timings))  # noqa: T201  what `make gpu` is run for
    assert {timing.case.op for timing in report.timings} == {target.of for target in exercise.targets}
    assert report.is_gold


@pytest.mark.parametrize(("exercise_id", "op", "figure"), FLOORS, ids=["-".join(filter(None, key)) for key in FLOORS])
def test_reference_keeps_its_floor(curriculum: Curriculum, exercise_id: str, op: str, figure: str) -> None:
    """The figures that the references were accepted with."""
    exercise = curriculum.exercise(exercise_id)
    report = check(exercise, curriculum, curriculum.reference_path(exercise), device="cuda")
    measured = [measured for timing in report.timings for measured in timing.figures]
    found = next(one for one in measured if (one.target.of, one.target.figure) == (op, figure))
    assert found.low >= FLOORS[exercise_id, op, figure]


def test_a_card_check_leaves_no_device_memory_behind(curriculum: Curriculum) -> None:
    """What was shared with the worker is given back when the check ends."""
    import torch

    exercise = curriculum.exercise("ex_01")
    for _ in range(2):
        check(exercise, curriculum, curriculum.reference_path(exercise), device="cuda")
    torch.cuda.ipc_collect()
    torch.cuda.empty_cache()
    assert torch.cuda.memory_allocated() < 64 * 2**20
