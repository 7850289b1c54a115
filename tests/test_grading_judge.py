"""The error model: honest rounding passes, what is more than that fails."""

from __future__ import annotations

import math

import pytest
import torch

from gpuprep.grader import UNIT_ROUNDOFF, ErrorModel, Expected
from gpuprep.grading.judge import FLOOR, MAX_SAMPLES, Judgement, allowed_error, judge

EXACT = ErrorModel(roundings=0)
INF, NAN = math.inf, math.nan
FLOATS = ("float64", "float32", "float16", "bfloat16")


def judged(
    value: object, got: object, dtype: str = "float32", model: ErrorModel = EXACT, scale: object = None
) -> Judgement:
    """Judge plain numbers."""
    expected = Expected(
        torch.as_tensor(value, dtype=torch.float64),
        dtype,
        scale=None if scale is None else torch.as_tensor(scale, dtype=torch.float64),
    )
    return judge(expected, torch.as_tensor(got, dtype=torch.float64).to(getattr(torch, dtype)), model)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("seed", range(3))
def test_rounding_to_nearest_passes(dtype: str, seed: int) -> None:
    """The correctly rounded result is right without any room for computation, in every dtype and size."""
    generator = torch.Generator().manual_seed(seed)
    value = torch.randn(1000, generator=generator, dtype=torch.float64)
    value *= torch.exp2(torch.randint(-20, 10, (1000,), generator=generator).double())
    judgement = judge(Expected(value, dtype), value.to(getattr(torch, dtype)), EXACT)
    assert judgement.is_right
    assert 0 <= judgement.worst <= 1


@pytest.mark.parametrize("dtype", FLOATS)
def test_one_unit_further_fails(dtype: str) -> None:
    """A value next to the correctly rounded one is wrong where no rounding is allowed but the last."""
    one = torch.ones((), dtype=getattr(torch, dtype))
    following = torch.nextafter(one, 2 * one).double()
    assert judged(1.0, 1.0, dtype).is_right
    assert not judged(1.0, float(following), dtype).is_right


def test_half_way_between_two_values_passes_both_ways() -> None:
    """At exactly half a unit in the last place either neighbour is an honest rounding."""
    half = 1 + 2.0**-24
    for got in (1.0, 1 + 2.0**-23):
        judgement = judged(half, got)
        assert judgement.is_right
        assert judgement.worst == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("roundings", [1, 8, 100])
def test_limit_of_the_model(roundings: int) -> None:
    """An error at the limit passes, one just beyond fails."""
    allowed = (1 + roundings) * UNIT_ROUNDOFF["float64"]
    unit = 2.0**-52  # of float64 at 1
    model = ErrorModel(roundings, accumulate="float64")
    steps = math.floor(allowed / unit)
    assert judged(1.0, 1 + steps * unit, "float64", model).is_right
    assert not judged(1.0, 1 + (steps + 1) * unit, "float64", model).is_right


def test_cancellation_is_held_against_the_terms() -> None:
    """A sum that cancels may be off by what its terms lose, and no more."""
    model = ErrorModel(roundings=4)
    allowed = 4 * UNIT_ROUNDOFF["float32"] * 1000
    assert judged(0.0, 0.9 * allowed, model=model, scale=1000.0).is_right
    assert not judged(0.0, 1.1 * allowed, model=model, scale=1000.0).is_right
    assert not judged(0.0, 0.9 * allowed, model=model).is_right


def test_scale_is_elementwise() -> None:
    """A large neighbour gives an element no room."""
    judgement = judged([0.0, 0.0], [1e-4, 1e-4], model=ErrorModel(8), scale=[1e3, 1.0])
    assert judgement.wrong.tolist() == [False, True]


@pytest.mark.parametrize("dtype", FLOATS)
def test_floor(dtype: str) -> None:
    """Below the floor a result may be flushed to zero; above it, not."""
    assert judged(FLOOR[dtype] * 0.99, 0.0, dtype).is_right
    assert not judged(FLOOR[dtype] * 4, 0.0, dtype).is_right


def test_float16_subnormals_are_kept() -> None:
    """Cards flush float32's subnormals, never float16's: flushing those is an error."""
    assert judged(2.0**-130, 0.0, "float32").is_right
    assert not judged(2.0**-20, 0.0, "float16").is_right


@pytest.mark.parametrize("value", [INF, -INF, NAN])
@pytest.mark.parametrize("dtype", FLOATS)
def test_special_values_where_they_belong(value: float, dtype: str) -> None:
    """Where the oracle has infinity or NaN, the same must come back."""
    assert judged([value, 1.0], [value, 1.0], dtype).is_right
    for got in (0.0, 3e4, -value if value == value else INF):
        judgement = judged([value, 1.0], [got, 1.0], dtype)
        assert judgement.wrong.tolist() == [True, False]
        assert judgement.worst == INF


@pytest.mark.parametrize("got", [INF, -INF, NAN])
def test_special_values_out_of_place(got: float) -> None:
    """Infinity or NaN where a number belongs is wrong, however much room there is."""
    judgement = judged([1.0, 2.0], [1.0, got], model=ErrorModel(1e6))
    assert judgement.wrong.tolist() == [False, True]
    assert judgement.worst == INF


def test_overflow_of_float16() -> None:
    """A true value that float16 can't hold must come back as infinity, with its sign, not as the largest value."""
    assert judged([1e5, -1e5], [INF, -INF], "float16").is_right
    assert judged([65519.0], [65504.0], "float16").is_right
    assert judged([1e5, -1e5], [65504.0, INF], "float16").n_wrong == 2


def test_negative_zero_equals_zero() -> None:
    """The sign of a zero is nobody's fault."""
    assert judged([0.0, -0.0], [-0.0, 0.0]).is_right


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 5)])
@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_empty_output_is_right(shape: tuple[int, ...], dtype: str) -> None:
    """Nothing can be wrong where nothing is."""
    judgement = judge(Expected(torch.zeros(shape), dtype), torch.zeros(shape).to(getattr(torch, dtype)), EXACT)
    assert judgement.is_right
    assert (judgement.worst, judgement.samples) == (0.0, ())


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int8, torch.uint8, torch.bool])
def test_integers_are_exact(dtype: torch.dtype) -> None:
    """No room for integers and booleans, whatever the model says."""
    value = torch.tensor([1, 0, 1, 1])
    expected = Expected(value, str(dtype).removeprefix("torch."))
    assert judge(expected, value.to(dtype), ErrorModel(1e9)).is_right
    judgement = judge(expected, torch.tensor([1, 0, 0, 1]).to(dtype), ErrorModel(1e9))
    assert judgement.wrong.tolist() == [False, False, True, False]
    assert judgement.worst == INF


def test_large_integers_are_not_compared_as_floats() -> None:
    """int64 values that float64 can't tell apart are told apart."""
    value = torch.tensor([2**60])
    assert not judge(Expected(value, "int64"), value + 1, EXACT).is_right


def test_samples() -> None:
    """The first few wrong elements are shown with their index in the output's own shape."""
    value = torch.zeros(4, 6, dtype=torch.float64)
    got = value.float().clone()
    got[1, 2:] = 1
    got[3] = NAN
    judgement = judge(Expected(value, "float32"), got, EXACT)
    assert judgement.n_wrong == 10
    assert len(judgement.samples) == MAX_SAMPLES
    assert [sample.index for sample in judgement.samples] == [(1, 2), (1, 3), (1, 4), (1, 5), (3, 0)]
    assert (judgement.samples[0].expected, judgement.samples[0].got) == (0.0, 1.0)
    assert math.isnan(judgement.samples[4].got)


def test_scalar_output() -> None:
    """A 0-dimensional output has one element, with an empty index."""
    judgement = judged(1.0, 2.0)
    assert judgement.n_wrong == 1
    assert judgement.samples[0].index == ()


def test_non_contiguous_output() -> None:
    """The output's strides don't matter."""
    value = torch.randn(5, 7, dtype=torch.float64)
    assert judge(Expected(value, "float32"), value.t().contiguous().t().float(), EXACT).is_right


def test_worst_is_in_units_of_what_is_allowed() -> None:
    """`worst` is the largest error over its bound, also among right elements."""
    expected = Expected(torch.ones(3, dtype=torch.float64), "float32")
    bound = float(allowed_error(expected, ErrorModel(7))[0])
    got = torch.ones(3) + torch.tensor([0.0, 2.0**-22, -(2.0**-23)])
    assert judge(expected, got, ErrorModel(7)).worst == pytest.approx(2.0**-22 / bound)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_honest_sums_pass_and_lower_precision_fails(seed: int, dtype: str) -> None:
    """A reordered sum stays within a model of a few roundings; inputs rounded to the next lower precision don't."""
    generator = torch.Generator().manual_seed(seed)
    x = (torch.randn(4096, generator=generator) * 8).to(getattr(torch, dtype))
    expected = Expected(x.double().sum(), dtype, scale=x.double().abs().sum())
    model = ErrorModel(roundings=8)
    for order in (torch.arange(4096), torch.randperm(4096, generator=generator), torch.arange(4096).flip(0)):
        assert judge(expected, x[order].float().sum().to(x.dtype), model).is_right
    one_rounding_each = x.double().abs().sum() * 2.0**-9
    assert not judge(expected, (x.double().sum() + one_rounding_each).to(x.dtype), model).is_right
