"""Tolerances: honest results pass in any order, cheats fail; and a grader for which that isn't so is found out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from gpuprep import curriculum as curricula
from gpuprep.authoring.sharpness import LOWER_MANTISSA_BITS, SEEDS, Sharpness, lower, sharpness
from gpuprep.exercise import Exercise
from gpuprep.grader import Case, Draw, ErrorModel, Expected, Grader
from gpuprep.grading.loading import load_grader

CURRICULUM = curricula.load(Path(__file__).resolve().parent.parent)
ONE_SEED = (5,)


class Sum(Grader):
    """The sum of a vector, judged with so many roundings."""

    function = "total"
    parameters = ("x",)

    def __init__(self, roundings: float, *, has_scale: bool = True, dtypes: Sequence[str] = ("float32",)) -> None:
        self.roundings = roundings
        self.has_scale = has_scale
        self.dtypes = dtypes

    def cases(self, rng: object) -> Sequence[Case]:
        on_card = Case({"n": 33, "dtype": "bfloat16"}, devices=("cuda",))
        return [*(Case({"n": n, "dtype": dtype}) for dtype in self.dtypes for n in (1, 33, 4097)), on_card]

    def inputs(self, case: Case, draw: Draw) -> tuple[Any, ...]:
        return (draw.like(case, case["n"]),)

    def oracle(self, case: Case, *args: Any) -> tuple[Expected, ...]:
        exact = args[0].double()
        return (Expected(exact.sum(), case["dtype"], scale=exact.abs().sum() if self.has_scale else None),)

    def honest(self, case: Case, *args: Any, order: torch.Tensor | None = None) -> tuple[torch.Tensor, ...]:
        return ((args[0] if order is None else args[0][order]).sum(),)

    def error_model(self, case: Case) -> ErrorModel:
        return ErrorModel(self.roundings)

    def reduction_size(self, case: Case) -> int:
        return int(case["n"])


class Copy(Sum):
    """out = x, which nobody can tell from returning x itself."""

    def oracle(self, case: Case, *args: Any) -> tuple[Expected, ...]:
        return (Expected(args[0].double(), case["dtype"]),)

    def honest(self, case: Case, *args: Any, order: torch.Tensor | None = None) -> tuple[torch.Tensor, ...]:
        return (args[0].clone(),)

    def reduction_size(self, case: Case) -> int:
        return 0


@pytest.mark.parametrize("seeds", [ONE_SEED, pytest.param(SEEDS, marks=pytest.mark.soak)], ids=["", "several seeds"])
@pytest.mark.parametrize("exercise", CURRICULUM.exercises, ids=lambda exercise: exercise.id)
def test_every_grader_is_sharp(exercise: Exercise, seeds: Sequence[int]) -> None:
    """The curriculum's own tolerances let honest results through, and nothing else."""
    found = sharpness(load_grader(CURRICULUM, exercise), seeds=seeds)
    assert found
    for one in found:
        assert one.is_sharp, one


def test_fitting_tolerance() -> None:
    """A tolerance between honest sums and lower precision is sharp, for each dtype of the cases that a CPU runs."""
    found = sharpness(Sum(8, dtypes=("float32", "float16")), seeds=ONE_SEED)
    assert [one.dtype for one in found] == ["float16", "float32"]
    assert all(one.is_sharp for one in found)
    assert all(one.identity is None for one in found)


def test_loose_tolerance() -> None:
    """Where lower precision gets through, the tolerance is not sharp."""
    (found,) = sharpness(Sum(1e5), seeds=ONE_SEED)
    assert not found.is_sharp
    assert found.lower_precision <= 1
    assert found.honest <= 1


def test_tolerance_that_takes_zeros() -> None:
    """Where zeros get through, neither."""
    (found,) = sharpness(Sum(1e9), seeds=ONE_SEED)
    assert not found.is_sharp
    assert found.zeros <= 1


def test_tight_tolerance() -> None:
    """Where a sum in another order is refused, the tolerance is not sharp."""
    (found,) = sharpness(Sum(0, has_scale=False), seeds=ONE_SEED)
    assert not found.is_sharp
    assert found.honest > 1


def test_task_that_the_input_solves() -> None:
    """A result that can't be told from an input is no task."""
    (found,) = sharpness(Copy(1), seeds=ONE_SEED)
    assert not found.is_sharp
    assert found.identity == 0


@pytest.mark.parametrize("honest", [0.5, 1.0])
def test_limits(honest: float) -> None:
    """Honest results may reach the limit; cheats must pass it."""
    assert Sharpness("float32", honest, 1.1, 1.1, None).is_sharp
    assert Sharpness("float32", honest, 1.1, 1.1, 1.1).is_sharp
    for cheats in ((1.0, 2.0, None), (2.0, 1.0, None), (2.0, 2.0, 1.0)):
        assert not Sharpness("float32", honest, *cheats).is_sharp
    assert not Sharpness("float32", 1.01, 2.0, 2.0, None).is_sharp


@pytest.mark.parametrize(("dtype", "bits"), LOWER_MANTISSA_BITS.items())
def test_rounded_to_the_lower_precision(dtype: str, bits: int) -> None:
    """A value keeps its exponent and so many bits of its mantissa, rounded to nearest."""
    # A third, since draws have float32's digits and no more.
    values = (Draw(1).tensor(1000, dtype=dtype, distribution="wide").double() / 3).to(getattr(torch, dtype))
    lowered = lower(values)
    assert lowered.dtype == values.dtype
    relative = ((lowered.double() - values.double()) / values.double()).abs()
    assert 0 < float(relative.max()) <= 2.0 ** -(bits + 1)
    assert torch.equal(lower(lowered), lowered)


def test_lowered_like_bfloat16() -> None:
    """float16 loses what bfloat16's mantissa lacks."""
    values = Draw(1).tensor(1000, dtype="float16")
    assert torch.equal(lower(values), values.bfloat16().half())


def test_integers_have_no_lower_precision() -> None:
    """Indices and the like stay as they are."""
    values = torch.arange(5)
    assert lower(values) is values
