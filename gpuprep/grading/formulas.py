"""Results that another formula gives: with a factor, a sign, an axis or a few terms that are not the task's."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from gpuprep.grader import UNIT_ROUNDOFF
from gpuprep.grading.evidence import CLOSE, Evidence, Part, alike
from gpuprep.grading.places import are_whole_lines
from gpuprep.model import Diagnosis

if TYPE_CHECKING:
    import torch

_COARSE = 2.0**-5
"""An error below this share of the scale is a matter of precision, not of a wrong formula."""
_OF_INPUTS = 4
"""Times what inputs rounded to bfloat16 lose that other low precisions may: whole terms lose more."""
_OF_SUMS = 40
"""The same where running sums are rounded at each step, if these are large enough to lose as much."""
_MANY = 64
"""Elements whose errors say how large these typically are."""
_DRAWS = 16
"""Roundings of the inputs that are tried where there are fewer elements."""
_EXPLAINED = 0.05
"""A formula that leaves less than this share of the error is what was computed."""
_SAME = 1e-4
"""Amounts that differ by less than this share of them are the same."""
_FAR = 16
"""Roundings of the output's dtype; an error of more is no rounding."""
_FEW = 8
"""Elements that may fit a formula by chance, so that it has to leave no more than what rounding does."""
_FAR_FROM_CHANCE = 64
"""How many times as large as a sum's own rounding an error must be, to be told from those of many other sums."""
_MAX_RECOMPUTED = 2**20
"""Elements of the largest input for which other formulas are tried."""
_MAX_TERMS = 2**22
"""Terms of all elements together for which many parts of the sums are tried."""


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
        "This is the rank's own part of a sum: what the other ranks have was never added to it. Which message or "
        "collective brings it here, and is it added, not copied?",
    )


def dropped_term(evidence: Evidence) -> Diagnosis | None:
    """Sums that lack terms: the last or the first ones, or some of every few."""
    n_terms, recompute = evidence.n_terms, evidence.recompute
    if n_terms < 1 or recompute is None or not _is_small(evidence):
        return None
    if evidence.value.dim() == 0 and float(evidence.found) == 0:
        what = evidence.advice("a grid or a loop that rounds", "a loop or a slice that rounds")
        return Diagnosis(
            "dropped_term",
            f"The result is 0, the sum over no terms at all, where there are {n_terms}: {what} down to nothing, or a "
            "mask that is never true.",
        )
    kept_lanes = _kept_lanes(evidence)
    parts = [Part(n_terms, stop=kept_lanes)] if kept_lanes else list(_parts(evidence))
    # A single number may lie near one of many sums by chance: with room for a running sum's errors, only the likeliest.
    tries = [(part, True) for part in parts]
    tries += [(part, False) for part in parts if part.is_beginning and evidence.found.numel() < _FEW]
    for part, is_guess in tries:
        fewer = recompute(evidence.args, order=part.terms())
        if fewer is None:
            return None
        found, value = (side[..., : part.stop] if kept_lanes else side for side in (evidence.found, evidence.value))
        if fewer.shape != found.shape:
            return None
        if _explains(evidence, found, value, fewer.double(), is_guess=is_guess):
            return Diagnosis("dropped_term", part.told(evidence))
    return None


def _parts(evidence: Evidence) -> Iterator[Part]:
    """What may be left of a sum, the likeliest first."""
    n_terms = evidence.n_terms
    for n_kept in _shorter(n_terms):
        yield Part(n_terms, stop=n_kept)
    if evidence.value.numel() * n_terms > _MAX_TERMS:
        return
    blocks = [2**power for power in range(n_terms.bit_length()) if 2**power < n_terms]
    for size in blocks:
        yield Part(n_terms, start=size)
    for size in blocks:
        for first in (0, size):
            if 2 * size < n_terms:
                yield Part(n_terms, first=first, width=size, period=2 * size)
    # One of a vector load's values, or one of a warp's lanes.
    for width in (1, 4):
        for count in (4, 8, 16, 32):
            if width * count < n_terms:
                yield Part(n_terms, width=width, period=width * count)


def _is_small(evidence: Evidence) -> bool:
    return all(tensor.numel() <= _MAX_RECOMPUTED for tensor in evidence.tensors())


def _shorter(n_terms: int) -> list[int]:
    """How many terms a loop, a grid or a mask might have left in, most first."""
    blocks = [2**power for power in range(n_terms.bit_length())]
    few = range(max(n_terms - _FEW, 1), n_terms)
    ends = (end for block in blocks for end in (n_terms - n_terms % block, n_terms - block))
    return sorted({*few, *blocks, *ends} - {0, n_terms}, reverse=True)


def _kept_lanes(evidence: Evidence) -> int:
    """Where the sum runs along the output's own last axis: how much of it is not 0, if its end is; else 0."""
    value, found = evidence.value, evidence.found
    if value.dim() == 0 or value.shape[-1] != evidence.n_terms:
        return 0
    is_empty = ((found == 0) & (value != 0)).flatten(0, -2).all(0) if value.dim() > 1 else (found == 0) & (value != 0)
    n_kept = int((~is_empty).sum())
    return n_kept if bool(is_empty[n_kept:].all()) and n_kept < evidence.n_terms else 0


def _explains(
    evidence: Evidence, found: torch.Tensor, value: torch.Tensor, other: torch.Tensor, *, is_guess: bool
) -> bool:
    error, rest = (found - value).abs(), (found - other).abs()
    # An infinite error is larger than any rest.
    if not math.isfinite(error.max()) or not bool(rest.max() <= _EXPLAINED * error.max()):
        return False
    if found.numel() >= _FEW:
        return True
    own = 2 * evidence.unit * found.abs()
    if is_guess:
        room = own + 2 * UNIT_ROUNDOFF["float32"] * evidence.scale.max()
        return bool((rest <= room).all()) and bool(error.max() >= _FAR_FROM_CHANCE * room.max())
    return bool((rest <= own + _summing(evidence).max()).all())


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
    if not _is_rounding(evidence, error):
        return None
    return Diagnosis(
        "precision",
        f"Close, but {share:.1e} off relative to the terms, more than an honest {evidence.expected.dtype} result with "
        "float32 accumulation loses: something was computed or accumulated in a lower precision (float16, TF32) or by "
        "an approximation, or was lost beside something larger.",
    )


def _is_rounding(evidence: Evidence, error: torch.Tensor) -> bool:
    """True where errors are no larger than a low precision makes them: whole terms are further off."""
    error, terms = (_typical(side[evidence.wrong]) for side in (error, evidence.scale))
    lost = _lost_in_inputs(evidence)
    if lost is None or not bool(lost.any()):
        return bool(error <= UNIT_ROUNDOFF["bfloat16"] * terms)
    lost = _typical(lost[evidence.wrong])
    # A single number says little of how large its errors typically are, so less is put down to them.
    coarse = UNIT_ROUNDOFF["bfloat16" if evidence.value.numel() >= _MANY else "float16"]
    return bool(error <= _OF_INPUTS * lost) or bool(error <= min(coarse * terms, _OF_SUMS * lost))


def _typical(errors: torch.Tensor) -> torch.Tensor:
    return errors.square().mean().sqrt()


def _lost_in_inputs(evidence: Evidence) -> torch.Tensor | None:
    """How far off each element typically is when inputs are off by a rounding to bfloat16."""
    import torch

    if evidence.recompute is None or not _is_small(evidence):
        return None
    exact = evidence.recompute(evidence.args)
    generator = torch.Generator().manual_seed(0)
    squares = []
    for _ in range(_DRAWS if evidence.value.numel() < _MANY else 2):
        off = evidence.recompute([_off(arg, generator) for arg in evidence.args])
        if exact is None or off is None or off.shape != evidence.value.shape:
            return None
        squares.append((off.double() - exact.double()).nan_to_num().square())
    return torch.stack(squares).mean(0).sqrt()


def _off(arg: object, generator: torch.Generator) -> object:
    import torch

    if not isinstance(arg, torch.Tensor) or not arg.is_floating_point():
        return arg
    share = 2 * torch.rand(arg.shape, generator=generator, dtype=torch.float64).to(arg.device) - 1
    return arg.double() * (1 + UNIT_ROUNDOFF["bfloat16"] * share)


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
