"""Holds one output against its oracle. The error model is `gpuprep.grader.ErrorModel`; see docs/grading for why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpuprep.grader import UNIT_ROUNDOFF, ErrorModel, Expected
from gpuprep.grading.quick_look import is_all_within
from gpuprep.model import Sample

if TYPE_CHECKING:
    import torch

FLOOR = {"float64": 2.0**-1022, "float32": 2.0**-126, "float16": 2.0**-24, "bfloat16": 2.0**-126}
"""Errors below this are underflow, by dtype: cards flush float32 subnormals, float16's smallest one is kept."""
ROUNDING_SLACK = 1.0 + 2.0**-20
"""The oracle itself was rounded to float64, and the bound is computed in it."""
MAX_SAMPLES = 5


@dataclass(frozen=True)
class Judgement:
    """Which elements of one output are wrong."""

    wrong: torch.Tensor
    """bool, shape of the output."""
    n_wrong: int
    worst: float
    """Largest error in units of what is allowed; 1 is the limit, inf where NaN or infinity is out of place."""
    samples: tuple[Sample, ...]

    @property
    def is_right(self) -> bool:
        """True when every element is within its bound."""
        return self.n_wrong == 0


def allowed_error(expected: Expected, model: ErrorModel) -> torch.Tensor:
    """u(dtype)·|value| + roundings·u(accumulate)·scale + floor, elementwise in float64."""
    magnitude = expected.value.abs()
    scale = magnitude if expected.scale is None else expected.scale
    spread = model.roundings * UNIT_ROUNDOFF[model.accumulate]
    return (UNIT_ROUNDOFF[expected.dtype] * magnitude + spread * scale) * ROUNDING_SLACK + FLOOR[expected.dtype]


def is_within(expected: Expected, got: torch.Tensor, model: ErrorModel) -> bool:
    """True when every element is surely right. A quick look for large outputs; `judge` has the details and the rest."""
    if not got.dtype.is_floating_point:
        return bool((got == expected.value.to(got.dtype)).all())
    if got.numel() == 0:
        return True
    rounding = UNIT_ROUNDOFF[expected.dtype]
    spread = model.roundings * UNIT_ROUNDOFF[model.accumulate]
    floor = FLOOR[expected.dtype]
    # Where NaN or infinity is in play, or an overflow, the comparison is False, and `judge` decides.
    found = is_all_within(got, expected.value, expected.scale, (rounding, spread, floor))
    return _is_within_by_torch(expected, got, rounding, spread, floor) if found is None else found


def _is_within_by_torch(expected: Expected, got: torch.Tensor, rounding: float, spread: float, floor: float) -> bool:
    import torch

    # allowed_error, but for the order of its terms, in few passes over few bytes. The difference is taken in float64,
    # and only kept shorter.
    value, scale = expected.value, expected.scale
    kept = torch.float64 if expected.dtype == "float64" else torch.float32

    def magnitude(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(kept, copy=True).abs_()

    excess = torch.sub(got, value, out=torch.empty_like(value, dtype=kept)).abs_()
    if scale is None:
        excess.sub_(magnitude(value), alpha=rounding + spread)
    else:
        excess.sub_(magnitude(value), alpha=rounding).sub_(magnitude(scale), alpha=spread)
    return bool(excess.max() <= floor)


def judge(expected: Expected, got: torch.Tensor, model: ErrorModel) -> Judgement:
    """Compare `got` with the oracle's answer; shapes and dtypes have been checked to agree."""
    import torch

    if not got.dtype.is_floating_point:
        wrong = got != expected.value.to(got.dtype)
        return _judgement(wrong, expected.value, got, worst=float("inf") if bool(wrong.any()) else 0.0)
    value = expected.value.to(torch.float64)
    found = got.to(torch.float64)
    # Where the true value rounds to infinity (or is NaN) in this dtype, the same must come back.
    rounded = value.to(got.dtype).to(torch.float64)
    special = ~torch.isfinite(rounded)
    agrees = (rounded == found) | (torch.isnan(rounded) & torch.isnan(found))
    error = (found - value).abs()
    ratio = torch.where(special, torch.zeros_like(error), error / allowed_error(expected, model))
    # A NaN ratio (NaN came back) compares False with everything, hence the negation.
    wrong = torch.where(special, ~agrees, ~(ratio <= 1.0))
    finite = ratio[torch.isfinite(ratio)]
    worst = float(finite.max()) if finite.numel() else 0.0
    out_of_place = bool((wrong & ~torch.isfinite(ratio)).any()) or bool((special & ~agrees).any())
    return _judgement(wrong, value, got, worst=float("inf") if out_of_place else worst)


def _judgement(wrong: torch.Tensor, value: torch.Tensor, got: torch.Tensor, *, worst: float) -> Judgement:
    n_wrong = int(wrong.sum())
    samples = []
    for index in wrong.nonzero()[:MAX_SAMPLES].tolist():
        place = tuple(index)
        samples.append(Sample(place, float(value[place]), float(got[place])))
    return Judgement(wrong, n_wrong, worst, tuple(samples))
