"""How full an SM gets: held against NVIDIA's own calculator by way of ex_19's golden table."""

from __future__ import annotations

import importlib.util
from dataclasses import asdict
from types import ModuleType

import pytest

from gpuprep.curriculum import Curriculum
from gpuprep.occupancy import CARDS, LIMITERS, LIMITS, occupancy, warps_of


@pytest.fixture(scope="module")
def grader(curriculum: Curriculum) -> ModuleType:
    """ex_19's grader, whose table another test makes anew from `cuda_occupancy.h`."""
    path = curriculum.grader_path(curriculum.exercise("ex_19"))
    spec = importlib.util.spec_from_file_location("ex_19_table", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_cell_of_the_golden_table(grader: ModuleType) -> None:
    """Active blocks and all that limits them are what NVIDIA's header says, on each kind of SM."""
    letters = dict(zip(LIMITERS, grader.LETTERS, strict=True))
    for launch, cells in grader.golden_rows().items():
        found = {name: occupancy(*launch, LIMITS[name]) for name in cells}
        told = {
            name: (each.active_blocks, "".join(letters[limit] for limit in each.limited_by))
            for name, each in found.items()
        }
        assert told == cells
        shares = {name: blocks * warps_of(launch[2]) / LIMITS[name].max_warps for name, (blocks, _) in cells.items()}
        assert {name: each.share for name, each in found.items()} == shares


def test_limits_are_those_that_ex_19_hands_out(grader: ModuleType) -> None:
    """The facts of an SM stand in two places, and are the same."""
    assert {name: asdict(limits) for name, limits in LIMITS.items()} == {
        name: grader.sm_limits(name) for name in grader.SHARED_KIB
    }
    assert CARDS.keys() == LIMITS.keys()
