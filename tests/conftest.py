"""Fixtures that several test files share."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpuprep import curriculum as curricula
from gpuprep.curriculum import Curriculum
from gpuprep.grading.pool import WarmPool

CHECKOUT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def curriculum() -> Curriculum:
    """The curriculum of this checkout."""
    return curricula.load(CHECKOUT)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can reach, unlike tmp_path."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def warm_pool() -> Iterator[WarmPool]:
    """Forks workers, for tests that grade many files; whatever a check comes to does not depend on it."""
    with WarmPool() as pool:
        yield pool


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what must be asked for: `-m gpu`, `-m soak`."""
    if config.option.markexpr:
        return
    asked = [item for item in items if not {"gpu", "soak"} & {mark.name for mark in item.iter_markers()}]
    config.hook.pytest_deselected(items=[item for item in items if item not in asked])
    items[:] = asked
