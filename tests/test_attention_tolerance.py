"""Attention whose weights are rounded to float16 is right, also where they round to subnormal numbers."""

import math

import pytest
import torch

from gpuprep.curriculum import Curriculum
from gpuprep.grader import Case
from gpuprep.grading.judge import judge
from gpuprep.grading.loading import load_grader

SUBNORMAL = 2.0**-24
D, LOUD = 64, 100.0
"""The value of the key whose weight is small; that of the other is 0."""


def _ex_23(weight):
    keys = _keys(weight)[None, None]
    case = Case({"op": "full", "B": 1, "Hq": 1, "Hkv": 1, "N": 2, "D": D, "dtype": "float16"})
    query = torch.zeros(1, 1, 2, D, dtype=torch.float16)
    query[..., 0] = 1
    return case, (query, keys, _values()[None, None], False)


def _ex_24(weight):
    case = Case({"B": 1, "Hq": 1, "Hkv": 1, "D": D, "block_size": 2, "longest": 2, "dtype": "float16"})
    query = torch.zeros(1, 1, D, dtype=torch.float16)
    query[..., 0] = 1
    pools = (pool[None, :, None] for pool in (_keys(weight), _values()))
    return case, (query, *pools, torch.zeros(1, 1, dtype=torch.int32), torch.tensor([2], dtype=torch.int32))


def _keys(weight):
    keys = torch.zeros(2, D, dtype=torch.float16)
    keys[1, 0] = math.log(weight) * math.sqrt(D)
    return keys


def _values():
    values = torch.zeros(2, D, dtype=torch.float16)
    values[1] = LOUD
    return values


@pytest.mark.parametrize(("id_", "made"), [("ex_23", _ex_23), ("ex_24", _ex_24)])
@pytest.mark.parametrize(("weight", "became", "is_right"), [(0.75, 1, True), (0.4, 0, True), (0.75, 0, False)])
def test_a_weight_may_become_the_nearest_subnormal_number(
    curriculum: Curriculum, id_, made, weight, became, is_right
) -> None:
    """In steps between subnormal numbers: rounding is an error of half a step at most, and a lost weight is none."""
    grader = load_grader(curriculum, next(exercise for exercise in curriculum.exercises if exercise.id == id_))
    case, args = made(weight * SUBNORMAL)
    want = grader.oracle(case, *args)[0]
    got = torch.full(want.value.shape, became * SUBNORMAL * LOUD, dtype=torch.float16)
    assert judge(want, got, grader.error_model(case)).is_right is is_right
