"""An exercise that is more than one call has a driver, which runs in the worker and calls what the learner wrote."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gpuprep import curriculum as curricula
from gpuprep.curriculum import Curriculum
from gpuprep.grading.session import check
from gpuprep.model import Outcome

DRIVER = '''"""Calls the learner's add twice: the second call must not see anything of the first."""


def drive(module, x, y):
    module.add(y, y)
    return module.add(x, y)
'''


@pytest.fixture
def driven(curriculum: Curriculum, tmp_path: Path) -> Curriculum:
    """This curriculum with a driver for ex_01."""
    for tree in ("exercises", "reference", "graders"):
        shutil.copytree(curriculum.root / tree, tmp_path / tree)
    shutil.copy(curriculum.root / "curriculum.yaml", tmp_path)
    (tmp_path / "graders/00_foundations/ex_01_vector_add_driver.py").write_text(DRIVER)
    return curricula.load(tmp_path)


def test_driver_makes_the_calls(driven: Curriculum) -> None:
    """The reference passes through the driver, whose calls are all counted."""
    exercise = driven.exercise("ex_01")
    report = check(exercise, driven, driven.reference_path(exercise), device="cpu")
    counted = [result.work.launches for result in report.cases if result.work]
    assert report.outcome is Outcome.TOO_MUCH_WORK
    assert counted == [2, 2]


def test_state_between_calls_is_seen(driven: Curriculum, tmp_path: Path) -> None:
    """A solution that hands out what it computed first is found out by the driver's second call."""
    exercise = driven.exercise("ex_01")
    path = tmp_path / "stale.py"
    source = driven.reference_path(exercise).read_text()
    caching = "    if add.out is not None:\n        return add.out\n"
    allocation = "    out = torch.empty_like(x)\n"
    stale = source.replace(allocation, f"{caching}{allocation}    add.out = out\n")
    path.write_text(f"{stale}\n\nadd.out = None\n")
    report = check(exercise, driven, path, device="cpu")
    assert report.outcome in (Outcome.WRONG_SHAPE, Outcome.WRONG_VALUES)
