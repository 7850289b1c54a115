"""The quick look at large outputs agrees with the judge, wherever it says that all is right."""

from __future__ import annotations

import math

import pytest
import torch

from gpuprep.grader import UNIT_ROUNDOFF, ErrorModel, Expected
from gpuprep.grading.judge import FLOOR, allowed_error, is_within, judge
from gpuprep.grading.quick_look import is_all_within, source

MODEL = ErrorModel(roundings=4)
DTYPES = ("float64", "float32", "float16", "bfloat16")
DEVICES = ("cpu", pytest.param("cuda", marks=pytest.mark.gpu))
N = 3 * 256 * 7 + 5
"""Whole blocks and the beginning of one."""

pytestmark = [pytest.mark.parametrize("device", DEVICES), pytest.mark.parametrize("dtype", DTYPES)]


def expected(dtype: str, device: str, *, has_scale: bool = False) -> Expected:
    """Values of many magnitudes, and zeros."""
    generator = torch.Generator(device).manual_seed(7)
    value = torch.randn(N, generator=generator, device=device, dtype=torch.float64)
    value[1::2] *= 1e-3
    value[::100] = 0.0
    return Expected(value, dtype, scale=value.abs() + 1 if has_scale else None)


def rounded(want: Expected) -> torch.Tensor:
    """The values as an honest solution returns them."""
    return want.value.to(getattr(torch, want.dtype), copy=True)


@pytest.mark.parametrize("has_scale", [False, True])
def test_honest_output_is_within(device: str, dtype: str, has_scale: bool) -> None:
    """Rounded once, every element is surely right."""
    want = expected(dtype, device, has_scale=has_scale)
    assert is_within(want, rounded(want), MODEL)


@pytest.mark.parametrize("has_scale", [False, True])
@pytest.mark.parametrize("place", [0, 255, 256, 1000, N - 1])
def test_single_wrong_element_is_seen(device: str, dtype: str, has_scale: bool, place: int) -> None:
    """Wherever it is, and however little it is beyond its bound."""
    want = expected(dtype, device, has_scale=has_scale)
    got = rounded(want)
    step = float(allowed_error(want, MODEL)[place]) * 1.01 + UNIT_ROUNDOFF[dtype] * 2 * abs(float(want.value[place]))
    got[place] = float(want.value[place]) + step
    if not judge(want, got, MODEL).is_right:
        assert not is_within(want, got, MODEL)
    got[place] += 1 + abs(float(got[place]))
    assert not judge(want, got, MODEL).is_right
    assert not is_within(want, got, MODEL)


@pytest.mark.parametrize("what", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_left_to_the_judge(device: str, dtype: str, what: float) -> None:
    """In the output, in the oracle, or in both: never surely right."""
    for in_output, in_oracle in ((True, False), (False, True), (True, True)):
        want = expected(dtype, device)
        got = rounded(want)
        if in_output:
            got[300] = what
        if in_oracle:
            want.value[300] = what
        assert not is_within(want, got, MODEL)


def test_views_are_looked_at_in_their_own_order(device: str, dtype: str) -> None:
    """An oracle that is transposed, and an output that is not."""
    want = expected(dtype, device)
    turned = Expected(want.value[: 32 * 48].view(32, 48).t(), dtype)
    assert is_within(turned, rounded(turned).contiguous(), MODEL)
    assert not is_within(turned, rounded(turned).flip(0).contiguous(), MODEL)


def test_only_a_card_takes_the_kernel(device: str, dtype: str) -> None:
    """And there it must take it: the other way is several times as slow."""
    want = expected(dtype, device)
    found = is_all_within(rounded(want), want.value, None, (2 * UNIT_ROUNDOFF[dtype], 0.0, FLOOR[dtype]))
    assert found is (None if device == "cpu" else True)


def test_no_text_is_compiled_twice(device: str, dtype: str) -> None:
    """A compiled kernel that lies in the driver's cache can't be the one that is asked for."""
    assert source(dtype, has_scale=device == "cuda") != source(dtype, has_scale=device == "cuda")
