"""Fixtures that several test files share."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpuprep import curriculum as curricula
from gpuprep.curriculum import Curriculum

CHECKOUT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def curriculum() -> Curriculum:
    """The curriculum of this checkout."""
    return curricula.load(CHECKOUT)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what must be asked for: `-m gpu`, `-m soak`."""
    if config.option.markexpr:
        return
    asked = [item for item in items if not {"gpu", "soak"} & {mark.name for mark in item.iter_markers()}]
    config.hook.pytest_deselected(items=[item for item in items if item not in asked])
    items[:] = asked
