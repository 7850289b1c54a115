"""ex_20's oracle is written out from formulas: torch's own norms and its autograd say whether they are right."""

import pytest
import torch

from gpuprep.curriculum import Curriculum
from gpuprep.grader import Case, Draw, Grader
from gpuprep.grading.loading import load_grader

NORMS = ("rms_norm", "layer_norm")
OPERATIONS = (*NORMS, "rms_norm_backward", "layer_norm_backward")
SHAPE = {"M": 7, "N": 45, "dtype": "float64", "eps": 1e-3}


@pytest.fixture(scope="module")
def grader(curriculum: Curriculum) -> Grader:
    """Of ex_20."""
    return load_grader(curriculum, next(exercise for exercise in curriculum.exercises if exercise.id == "ex_20"))


def _norm(op, summed, weight, bias, eps):
    if op.startswith("rms"):
        return torch.nn.functional.rms_norm(summed, weight.shape, weight, eps)
    return torch.nn.functional.layer_norm(summed, weight.shape, weight, bias, eps)


@pytest.mark.parametrize("op", NORMS)
def test_forward_is_what_torch_computes(grader, op):
    """Output and sum equal those of an add and torch's norm."""
    case = Case({"op": op, **SHAPE})
    args = grader.inputs(case, Draw(1))
    x, residual, weight, *bias = args[:-2]
    wanted = _norm(op, x + residual, weight, *(bias or [None]), SHAPE["eps"]), x + residual
    for expected, want in zip(grader.oracle(case, *args), wanted, strict=True):
        torch.testing.assert_close(expected.value, want)


@pytest.mark.parametrize("op", NORMS)
def test_backward_is_what_autograd_computes(grader, op):
    """The gradients equal autograd's, of a loss that depends on the norm and on the residual stream."""
    case = Case({"op": f"{op}_backward", **SHAPE})
    args = grader.inputs(case, Draw(2))
    dout, dsummed, summed, weight = args[:-2]
    leaves = [tensor.clone().requires_grad_() for tensor in (summed, weight, torch.zeros_like(weight))]
    loss = (_norm(op, *leaves, SHAPE["eps"]) * dout).sum() + (leaves[0] * dsummed).sum()
    wanted = torch.autograd.grad(loss, leaves if op == "layer_norm" else leaves[:2])
    for expected, want in zip(grader.oracle(case, *args), wanted, strict=True):
        torch.testing.assert_close(expected.value, want)


@pytest.mark.parametrize("op", OPERATIONS)
def test_the_oracle_is_the_same_in_one_piece_and_in_several(grader, op, monkeypatch):
    """Taking a few rows at a time changes nothing."""
    case = Case({"op": op, **SHAPE})
    args = grader.inputs(case, Draw(3))
    whole = grader.oracle(case, *args)
    monkeypatch.setitem(type(grader).oracle.__globals__, "CHUNK", 3)
    for pieces, at_once in zip(grader.oracle(case, *args), whole, strict=True):
        torch.testing.assert_close(pieces.value, at_once.value)
        torch.testing.assert_close(pieces.scale, at_once.scale)


@pytest.mark.parametrize("op", OPERATIONS)
def test_the_library_that_is_timed_computes_the_same(grader, op):
    """The eager baseline is the task: a faster one that does less would set the wrong target."""
    case = Case({"op": op, **SHAPE})
    args = grader.inputs(case, Draw(4))
    eager = next(baseline for baseline in grader.baselines(case) if baseline.key == "eager")
    for expected, got in zip(grader.oracle(case, *args), eager.prepare(*args)(), strict=True):
        torch.testing.assert_close(expected.value, got)
