"""On a card: what the references reach. `make gpu` prints the figures that docs/measurements.md quotes."""

from __future__ import annotations

import datetime as dt
import random
from pathlib import Path

import pytest
import torch

from gpuprep import curriculum as curricula
from gpuprep.curriculum import Curriculum
from gpuprep.exercise import QUALITIES, Exercise
from gpuprep.grading.loading import load_grader
from gpuprep.grading.session import check
from gpuprep.model import Outcome, Report, Timing

CURRICULUM = curricula.load(Path(__file__).resolve().parent.parent)
FLOORS = {
    ("ex_01", "", "share_of_copy"): 0.95,
    ("ex_02", "", "share_of_copy"): 0.92,
    ("ex_03", "", "share_of_matmul"): 0.88,
    ("ex_04", "", "share_of_copy"): 0.88,
    ("ex_04", "", "times_eager"): 2.0,
    ("ex_10", "gemv", "times_f16"): 2.5,
    ("ex_15", "add", "share_of_copy"): 0.95,
    ("ex_15", "total", "share_of_copy"): 0.85,
    ("ex_16", "", "share_of_copy"): 0.80,
    ("ex_16", "", "times_eager"): 4.0,
    ("ex_17", "", "share_of_matmul"): 0.60,
    ("ex_18", "", "share_of_matmul"): 0.50,
    ("ex_20", "rms_norm", "share_of_copy"): 0.92,
    ("ex_20", "rms_norm", "times_compiled"): 1.0,
    ("ex_21", "", "share_of_matmul"): 0.88,
    ("ex_21", "", "times_unfused"): 1.0,
    ("ex_23", "full", "times_sdpa"): 0.75,
    ("ex_23", "causal", "times_sdpa"): 0.70,
    ("ex_24", "many", "share_of_copy"): 0.75,
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
    cases = load_grader(CURRICULUM, exercise).cases(random.Random(0))
    n_needed = max((case["world"] for case in cases if "cuda" in case.devices and "world" in case.params), default=1)
    if n_needed > torch.cuda.device_count():
        pytest.skip(f"{exercise.id} wants {n_needed} GPUs")
    report = check(exercise, curriculum, curriculum.reference_path(exercise), device="cuda")
    assert report.outcome is Outcome.PASSED, report.message or report.first_failure
    with capsys.disabled():
        print(*("\n" + row(report, timing) for timing in report.timings))  # noqa: T201  what `make gpu` is run for
    assert {timing.case.op for timing in report.timings} == {
        target.of for target in exercise.targets if target.figure not in QUALITIES
    }
    assert report.is_gold or not exercise.targets
    lows = {
        (exercise.id, one.target.of, one.target.figure): one.low for timing in report.timings for one in timing.figures
    }
    assert all(low >= FLOORS.get(key, 0.0) for key, low in lows.items()), lows


def test_floors_are_of_figures_that_are_measured() -> None:
    """A floor of a figure that no target names would be held against nothing."""
    measured = {
        (exercise.id, target.of, target.figure) for exercise in CURRICULUM.exercises for target in exercise.targets
    }
    assert set(FLOORS) <= measured


def test_a_card_check_leaves_no_device_memory_behind(curriculum: Curriculum) -> None:
    """What was shared with the worker is given back when the check ends."""
    exercise = curriculum.exercise("ex_01")
    for _ in range(2):
        check(exercise, curriculum, curriculum.reference_path(exercise), device="cuda")
    torch.cuda.ipc_collect()
    torch.cuda.empty_cache()
    assert torch.cuda.memory_allocated() < 64 * 2**20
