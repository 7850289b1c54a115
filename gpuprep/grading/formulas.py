"""Results that another formula gives: with a factor, a sign, an axis or a few terms that are not the task's."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from gpuprep.grader import UNIT_ROUNDOFF
from gpuprep.grading.evidence import CLOSE, Evidence, alike
from gpuprep.grading.places import are_whole_lines
from gpuprep.model import Diagnosis

if TYPE_CHECKING:
    import torch

_COARSE = 2.0**-5
"""An error below this share of the scale is a matter of precision, not of a wrong formula."""
_EXPLAINED = 0.05
"""A formula that leaves less than this share of the error is what was computed."""
_SAME = 1e-4
"""Amounts that differ by less than this share of them are the same."""
_FAR = 16
"""Roundings of the output's dtype; an error of more is no rounding."""
_FEW = 8
"""Elements that may fit a formula by chance, so that it has to leave no more than what rounding does."""
_MAX_RECOMPUTED = 2**20
"""Elements of the largest input for which other formulas are tried."""
_LARGEST = {"float16": 65504.0, "bfloat16": 3.3e38, "float32": 3.4e38}
_EXP_LIMIT = {"float16": 11.0}
"""exp overflows from 88.7 in float32 and 11.1 in float16; below that a NaN has another cause."""


def overflow(evidence: Evidence) -> Diagnosis | None:
    """NaN or infinity, where inputs or sums are large enough for it."""
    import torch

    bad = ~torch.isfinite(evidence.found) & torch.isfinite(evidence.value)
    if not bool(bad.any()):
        return None
    terms = float(evidence.scale[bad].min())
    if terms > (most := _LARGEST.get(evidence.expected.dtype, math.inf)):
        return Diagnosis(
            "overflow",
            f"NaN or infinity, where the terms of a sum come to {terms:.3g} before they cancel: "
            f"{evidence.expected.dtype} ends at {most:.3g}, so add in float32, and keep partial sums in it.",
        )
    limit = _EXP_LIMIT.get(evidence.expected.dtype, 88.0)
    # Integers are sizes and places: what a formula overflows on are values.
    values = (tensor for tensor in evidence.tensors() if tensor.is_floating_point())
    largest = max(map(_largest, values), default=0.0)
    # Memory that was never written holds NaN too, but never infinity.
    if largest <= limit or not (bool(torch.isinf(evidence.found[bad]).any()) or _is_beyond(evidence, bad, limit)):
        return None
    return Diagnosis(
        "overflow",
        f"NaN or infinity, and inputs as large as {largest:.3g}: an exponential or a product overflowed, or was "
        "computed in a dtype that is too small. A softmax subtracts the row's maximum before exp.",
    )


def _largest(tensor: torch.Tensor) -> float:
    import torch

    finite = tensor[torch.isfinite(tensor)]
    return float(finite.abs().max()) if finite.numel() else 0.0


def _is_beyond(evidence: Evidence, bad: torch.Tensor, limit: float) -> bool:
    """True where the bad elements, or whole rows of them, come of values past the limit."""
    import torch

    if bad.dim() == 0:
        return False
    rows = bad.flatten(0, -2) if bad.dim() > 1 else bad[None]
    inputs = [tensor.reshape(rows.shape) for tensor in evidence.tensors() if tensor.shape == bad.shape]
    beyond = [(tensor.abs() * torch.isfinite(tensor)).nan_to_num(0) > limit for tensor in inputs]
    if beyond and bool(torch.stack(beyond).any(0)[rows].all()):
        return True
    if not torch.equal(rows.any(-1), rows.all(-1)):
        return False
    return not beyond or bool(torch.stack(beyond).any(0).any(-1)[rows.any(-1)].all())


def constant(evidence: Evidence) -> Diagnosis | None:
    """One number everywhere."""
    found, value = evidence.found, evidence.value
    if found.numel() < 2 or not bool((found == found.flatten()[0]).all()) or _is_uniform(value):
        return None
    what = float(found.flatten()[0])
    return Diagnosis("constant", f"Every element is {what:g}: the result doesn't depend on the inputs.")


def _is_uniform(value: torch.Tensor) -> bool:
    return bool((value == value.flatten()[0]).all())


def identity(evidence: Evidence) -> Diagnosis | None:
    """An input."""
    import torch

    for tensor in evidence.tensors():
        if tensor.shape == evidence.got.shape and tensor.numel() > 1 and torch.equal(tensor.double(), evidence.found):
            return Diagnosis("identity", "What came back is an input, unchanged.")
    return None


def own_part(evidence: Evidence) -> Diagnosis | None:
    """What one rank has by itself."""
    own = evidence.own_part
    if own is None or own.shape != evidence.found.shape or alike(evidence.value, own.double()):
        return None
    if not alike(evidence.found, own.double()):
        return None
    return Diagnosis(
        "own_part",
        "This is the rank's own part of a sum: what the other ranks have was never added to it. Which collective would "
        "bring it here?",
    )


def dropped_term(evidence: Evidence) -> Diagnosis | None:
    """Sums that end early: the terms after the last whole block, or after the first block, are left out."""
    import torch

    n_terms, recompute = evidence.n_terms, evidence.recompute
    if n_terms < 1 or recompute is None or not _is_small(evidence):
        return None
    if evidence.value.dim() == 0 and float(evidence.found) == 0:
        return Diagnosis(
            "dropped_term",
            f"The result is 0, the sum over no terms at all, where there are {n_terms}: a grid or a loop that rounds "
            "down to nothing, or a mask that is never true.",
        )
    kept_lanes = _kept_lanes(evidence)
    for n_kept in [kept_lanes] if kept_lanes else _shorter(n_terms):
        fewer = recompute(evidence.args, order=torch.arange(n_kept))
        if fewer is None:
            return None
        found, value = (side[..., :n_kept] if kept_lanes else side for side in (evidence.found, evidence.value))
        if fewer.shape != found.shape:
            return None
        if _explains(evidence, found, value, fewer.double()):
            return Diagnosis(
                "dropped_term",
                f"This is the result over the first {n_kept} of {n_terms} terms: the last {n_terms - n_kept} never "
                "enter the sum. Look at where the loop ends, at the mask of the load, and at how many partial results "
                "are added up.",
            )
    return None


def _is_small(evidence: Evidence) -> bool:
    return all(tensor.numel() <= _MAX_RECOMPUTED for tensor in evidence.tensors())


def _shorter(n_terms: int) -> list[int]:
    """How many terms a loop, a grid or a mask might have left in, most first."""
    blocks = [2**power for power in range(n_terms.bit_length())]
    few = range(max(n_terms - _FEW, 1), n_terms)
    return sorted({*few, *blocks, *(n_terms - n_terms % block for block in blocks)} - {0, n_terms}, reverse=True)


def _kept_lanes(evidence: Evidence) -> int:
    """Where the sum runs along the output's own last axis: how much of it is not 0, if its end is; else 0."""
    value, found = evidence.value, evidence.found
    if value.dim() == 0 or value.shape[-1] != evidence.n_terms:
        return 0
    is_empty = ((found == 0) & (value != 0)).flatten(0, -2).all(0) if value.dim() > 1 else (found == 0) & (value != 0)
    n_kept = int((~is_empty).sum())
    return n_kept if bool(is_empty[n_kept:].all()) and n_kept < evidence.n_terms else 0


def _explains(evidence: Evidence, found: torch.Tensor, value: torch.Tensor, other: torch.Tensor) -> bool:
    error, rest = (found - value).abs(), (found - other).abs()
    if not bool(rest.max() <= _EXPLAINED * error.max()):
        return False
    if found.numel() >= _FEW:
        return True
    return bool((rest <= 2 * evidence.unit * found.abs() + _summing(evidence).max()).all())


def _summing(evidence: Evidence) -> torch.Tensor:
    """What an honest float32 sum of each element may lose, a running sum too."""
    return (8 + math.sqrt(evidence.n_terms)) * UNIT_ROUNDOFF["float32"] * evidence.scale


def wrong_axis(evidence: Evidence) -> Diagnosis | None:
    """The result for the transposed input, transposed."""
    tensors = list(evidence.tensors())
    if evidence.recompute is None or len(tensors) != 1 or tensors[0].dim() != 2 or evidence.value.dim() != 2:
        return None
    if not _is_small(evidence):
        return None
    other = evidence.recompute([arg.t() if arg is tensors[0] else arg for arg in evidence.args])
    if other is None or other.t().shape != evidence.found.shape or alike(evidence.value, other.t().double()):
        return None
    if not alike(evidence.found, other.t().double()):
        return None
    return Diagnosis("wrong_axis", "This is the result along the other axis: rows and columns are swapped.")


def precision(evidence: Evidence) -> Diagnosis | None:
    """Close, but not close enough."""
    import torch

    if evidence.expected.dtype not in UNIT_ROUNDOFF or are_whole_lines(evidence.wrong):
        return None
    scale = evidence.scale
    error = (evidence.found - evidence.value).abs()
    if not bool(torch.isfinite(error).all()):
        return None
    # With the typical scale added: next to nothing may be left of two large terms, but their errors are.
    share = float((error / (scale + scale.median()).clamp_min(1e-30)).max())
    if share > _COARSE:
        return None
    spread = (evidence.value - evidence.value.median()).abs().median()
    if evidence.expected.scale is None and error.numel() >= _FEW and bool(error.max() > spread / 2):
        # All values are nearly the same: then those of other elements are close too.
        return None
    return Diagnosis(
        "precision",
        f"Close, but {share:.1e} off relative to the terms, more than an honest {evidence.expected.dtype} result with "
        "float32 accumulation loses: something was computed or accumulated in a lower precision (float16, TF32) or by "
        "an approximation, or was lost beside something larger.",
    )


def rounding(evidence: Evidence) -> Diagnosis | None:
    """Integers that are all off by one."""
    import torch

    if evidence.got.dtype.is_floating_point or int(evidence.wrong.sum()) < _FEW:
        return None
    distance = (evidence.found - evidence.value)[evidence.wrong].abs()
    if not torch.equal(distance, torch.ones_like(distance)):
        return None
    return Diagnosis(
        "rounding", "Every wrong integer is off by exactly 1: is the value cut off, and not rounded to the nearest?"
    )


def sign(evidence: Evidence) -> Diagnosis | None:
    """The opposite sign, of the result or of one argument."""
    if alike(evidence.found, -evidence.value):
        return Diagnosis("sign", "Every element has the opposite sign.")
    if evidence.recompute is None or evidence.value.numel() < _FEW or not _is_small(evidence):
        return None
    for tensor in evidence.tensors():
        if not tensor.is_floating_point():
            continue
        other = evidence.recompute([-arg if arg is tensor else arg for arg in evidence.args])
        if other is None or other.shape != evidence.found.shape or alike(evidence.value, other.double()):
            continue
        if alike(evidence.found, other.double()):
            place = next(place for place, arg in enumerate(evidence.args, start=1) if arg is tensor)
            return Diagnosis("sign", f"This is the result for argument {place} with the opposite sign.")
    return None


def scaled(evidence: Evidence) -> Diagnosis | None:
    """A factor, the same everywhere or in each row."""
    value, found = evidence.value, evidence.found
    if value.numel() < 2 or value.dim() == 0 or _is_uniform(value):
        return None
    factor = _factors(value.flatten(), found.flatten())
    if _is_multiple(evidence, factor):
        return Diagnosis("scaled", f"Every element is {float(factor):.4g} times what it should be.")
    if value.dim() < 2 or value.shape[-1] < 4:
        return None
    factors = _factors(value, found)
    if not _is_multiple(evidence, factors):
        return None
    return Diagnosis(
        "scaled",
        f"Each row is off by a factor of its own, {float(factors.min()):.4g} to {float(factors.max()):.4g}: look at "
        "what the whole row is multiplied or divided by.",
    )


def _is_multiple(evidence: Evidence, factors: torch.Tensor) -> bool:
    import torch

    if not bool(torch.isfinite(factors).all()) or bool((factors == 0).any()):
        return False
    value, found = evidence.value, evidence.found
    if bool(((factors - 1).abs() >= CLOSE).all()) and alike(found, factors * value):
        return True
    # A factor close to 1, or none in some rows: it must explain every single error, and errors must be far from what
    # rounding does.
    error, rest = (found - value).abs(), (found - factors * value).abs()
    is_far = error.median() > _FAR * evidence.unit * value.abs().median()
    return bool(is_far) and bool((rest <= _EXPLAINED * error + 2 * evidence.unit * found.abs()).all())


def _factors(value: torch.Tensor, found: torch.Tensor) -> torch.Tensor:
    """What `value` is best multiplied by to give `found`, along the last axis; 1 where it is all zeros."""
    import torch

    norm = (value * value).sum(-1, keepdim=True)
    return torch.where(norm == 0, torch.ones_like(norm), (value * found).sum(-1, keepdim=True) / norm)


def offset(evidence: Evidence) -> Diagnosis | None:
    """The same amount added to every element."""
    import torch

    value, found = evidence.value, evidence.found
    if value.numel() < 4 or _is_uniform(value):
        return None
    error = found - value
    amount = error.median()
    is_far = amount.abs() > _FAR * evidence.unit * value.abs().median()
    if not bool(torch.isfinite(amount)) or not bool(is_far):
        return None
    # Hardly any: where all values are nearly the same, a factor adds nearly the same to each.
    room = _SAME * amount.abs() + 2 * evidence.unit * (found.abs() + value.abs()) + _summing(evidence)
    if not bool(((error - amount).abs() <= room).all()):
        return None
    return Diagnosis(
        "offset",
        f"Every element is off by the same amount, {float(amount):.4g}: an accumulator that doesn't start from zero, "
        "or a term that is added once too often.",
    )


def row_offset(evidence: Evidence) -> Diagnosis | None:
    """The same row added to every row."""
    value, found = (side.flatten(0, -2) if side.dim() > 1 else side for side in (evidence.value, evidence.found))
    if value.dim() < 2 or len(value) < 3 or value.shape[1] < 4:
        return None
    error = found - value
    amounts = error.median(0).values
    # Of nearly every column: where it is some, it is a matter of columns.
    is_far = amounts.abs().quantile(0.1) > _FAR * evidence.unit * value.abs().median()
    if not bool(error.isfinite().all()) or not bool(is_far):
        return None
    room = _SAME * amounts.abs().median() + 2 * evidence.unit * (found.abs() + value.abs()) + _summing(evidence).max()
    if not bool(((error - amounts).abs() <= room).all()):
        return None
    return Diagnosis(
        "offset",
        "Every row is off by the same amounts, one for each column: a term that all rows share, such as a bias, is "
        "missing, or was added more than once.",
    )


def transposed(evidence: Evidence) -> Diagnosis | None:
    """A square result with rows for columns."""
    value = evidence.value
    if value.dim() != 2 or value.shape[0] != value.shape[1] or value.shape[0] < 2:
        return None
    if not alike(evidence.found, value.t()):
        return None
    return Diagnosis("transposed", "The result is transposed: rows and columns, or two strides, are swapped.")


def shifted(evidence: Evidence) -> Diagnosis | None:
    """Values some places before or after their own, along one axis."""
    for axis in range(-1, -evidence.value.dim() - 1, -1):
        value, found = (side.movedim(axis, 0).flatten(1) if side.dim() > 1 else side[:, None]
                        for side in (evidence.value, evidence.found))  # fmt: skip
        name = "element" if axis == -1 else "row"
        for step in _steps(value, found):
            first, second = (value, found) if step > 0 else (found, value)
            n_common = len(value) - abs(step)
            if alike(second[abs(step) :], first[:n_common]):
                names = f"one {name}" if abs(step) == 1 else f"{abs(step)} {name}s"
                return Diagnosis("shifted", f"Values sit {names} {'after' if step > 0 else 'before'} their place.")
    return None


def _steps(value: torch.Tensor, found: torch.Tensor) -> Iterator[int]:
    """The shifts that bring the right values nearest to the lines in the middle of what was found."""
    size = len(value)
    if size < 3 or value.numel() < 4:
        return
    middle, width = size // 2, min(4, size // 4 + 1)
    n_places = size - width + 1
    middle = min(middle, n_places - 1)
    distance = sum((value[lane : lane + n_places] - found[middle + lane]).abs().sum(-1) for lane in range(width))
    for place in distance.topk(min(3, n_places), largest=False).indices.tolist():  # type: ignore[union-attr]
        if place != middle:
            yield middle - place
