"""From the pattern of wrong elements to the likely cause. Hints are keyed by the ids."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from gpuprep.grader import UNIT_ROUNDOFF, Expected
from gpuprep.model import Diagnosis

if TYPE_CHECKING:
    import torch

_CLOSE = 0.02
"""Values that differ by less than this share of how far they typically spread count as the same pattern."""
_ROUNDED = 1e-3
"""Room for the result's own rounding, relative to the value; float16's is half of it."""
_COARSE = 2.0**-5
"""An error below this share of the scale is a matter of precision, not of a wrong formula."""
_EXPLAINED = 0.05
"""A formula that leaves less than this share of the error is what was computed."""
_MIN_REPEATS = 3
"""Wrong lines at equal distances that make a pattern: two are always at equal distances."""
_MAX_RECOMPUTED = 2**20
"""Elements of the largest input for which other formulas are tried."""

Recompute = Callable[..., "torch.Tensor | None"]
"""`recompute(args, order=None)`: what torch computes for these arguments, its sums taken over the terms in `order`
alone; None where that makes no sense. See `Grader.honest`."""


@dataclass(frozen=True)
class Evidence:
    """What a diagnosis looks at.

    Args:
        expected: the oracle's answer.
        got: what came back, same shape.
        wrong: bool, same shape: the elements that are out of bounds.
        args: the call's arguments.
        n_terms: length of the axis that sums run over; 0 where there is none.
        recompute: torch's own result for other arguments, where there is a way to have it.
    """

    expected: Expected
    got: torch.Tensor
    wrong: torch.Tensor
    args: Sequence[Any]
    n_terms: int = 0
    recompute: Recompute | None = None

    @cached_property
    def value(self) -> torch.Tensor:
        """The oracle's values, float64."""
        return self.expected.value.double()

    @cached_property
    def found(self) -> torch.Tensor:
        """What came back, float64."""
        return self.got.double()

    def tensors(self) -> Iterator[torch.Tensor]:
        """The tensors among the arguments."""
        import torch

        return (arg for arg in self.args if isinstance(arg, torch.Tensor))


def diagnose(evidence: Evidence) -> Diagnosis:
    """The first pattern that fits; `wrong_values` where none does."""
    for pattern in _PATTERNS:
        if found := pattern(evidence):
            return found
    return Diagnosis("wrong_values", "The values are wrong in no pattern that we know. Check the formula by hand.")


def _overflow(evidence: Evidence) -> Diagnosis | None:
    import torch

    bad = ~torch.isfinite(evidence.found) & torch.isfinite(evidence.value)
    if not bool(bad.any()):
        return None
    # exp overflows from 88.7 in float32 and 11.1 in float16; below that a NaN has another cause.
    limit = 11.0 if evidence.expected.dtype == "float16" else 88.0
    largest = max((_largest(tensor) for tensor in evidence.tensors()), default=0.0)
    # Memory that was never written holds NaN too, but never infinity.
    if largest <= limit or not (bool(torch.isinf(evidence.found[bad]).any()) or _rows_beyond(evidence, bad, limit)):
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


def _rows_beyond(evidence: Evidence, bad: torch.Tensor, limit: float) -> bool:
    """True where whole rows are bad, and each of them comes of a row with values past the limit."""
    import torch

    if bad.dim() == 0:
        return False
    rows = bad.flatten(0, -2) if bad.dim() > 1 else bad[None]
    if not torch.equal(rows.any(-1), rows.all(-1)):
        return False
    inputs = [tensor.reshape(rows.shape) for tensor in evidence.tensors() if tensor.shape == bad.shape]
    beyond = [(row.abs() * torch.isfinite(row)).nan_to_num(0).amax(-1) > limit for row in inputs]
    return not beyond or bool(torch.stack(beyond).any(0)[rows.any(-1)].all())


def _never_written(evidence: Evidence) -> Diagnosis | None:
    import torch

    bad = torch.isnan(evidence.found) & ~torch.isnan(evidence.value)
    n_bad, total = int(bad.sum()), bad.numel()
    if n_bad == 0:
        return None
    if n_bad == total:
        return Diagnosis("never_written", "No element was written: is the kernel launched, and does it store?")
    if edge := _edge(bad):
        return Diagnosis(
            "tail", f"{edge} never written: the grid rounds down, or a mask or loop bound drops the last block."
        )
    if not torch.equal(bad, evidence.wrong):
        return None
    return Diagnosis(
        "never_written", f"{n_bad} of {total} elements were never written: some programs skip part of their block."
    )


def _constant(evidence: Evidence) -> Diagnosis | None:
    found, value = evidence.found, evidence.value
    if found.numel() < 2 or not bool((found == found.flatten()[0]).all()) or bool((value == value.flatten()[0]).all()):
        return None
    what = float(found.flatten()[0])
    return Diagnosis("constant", f"Every element is {what:g}: the result doesn't depend on the inputs.")


def _identity(evidence: Evidence) -> Diagnosis | None:
    import torch

    for tensor in evidence.tensors():
        if tensor.shape == evidence.got.shape and tensor.numel() > 1 and torch.equal(tensor.double(), evidence.found):
            return Diagnosis("identity", "What came back is an input, unchanged.")
    return None


def _dropped_term(evidence: Evidence) -> Diagnosis | None:
    """Sums that end early: the terms after the last whole block, or after the first block, are left out."""
    import torch

    n_terms, recompute = evidence.n_terms, evidence.recompute
    if recompute is None or n_terms < 2 or any(t.numel() > _MAX_RECOMPUTED for t in evidence.tensors()):
        return None
    error = (evidence.found - evidence.value).abs().max()
    blocks = [2**power for power in range(1, n_terms.bit_length())]
    kept = {n_terms - 1, *blocks, *(n_terms - n_terms % block for block in blocks)} - {n_terms}
    for n_kept in sorted(kept, reverse=True):
        shorter = recompute(evidence.args, order=torch.arange(n_kept))
        if shorter is None or shorter.shape != evidence.found.shape:
            return None
        if bool((evidence.found - shorter.double()).abs().max() <= _EXPLAINED * error):
            return Diagnosis(
                "dropped_term",
                f"This is the result over the first {n_kept} of {n_terms} terms: the last {n_terms - n_kept} never "
                "enter the sum. Look at where the loop ends, and at how many partial results are added up.",
            )
    return None


def _wrong_axis(evidence: Evidence) -> Diagnosis | None:
    tensors = list(evidence.tensors())
    if evidence.recompute is None or len(tensors) != 1 or tensors[0].dim() != 2 or evidence.value.dim() != 2:
        return None
    if tensors[0].numel() > _MAX_RECOMPUTED:
        return None
    other = evidence.recompute([arg.t() if arg is tensors[0] else arg for arg in evidence.args])
    if other is None or other.t().shape != evidence.found.shape or _alike(evidence.value, other.t().double()):
        return None
    if not _alike(evidence.found, other.t().double()):
        return None
    return Diagnosis("wrong_axis", "This is the result along the other axis: rows and columns are swapped.")


def _tail(evidence: Evidence) -> Diagnosis | None:
    edge = _edge(evidence.wrong)
    if not edge:
        return None
    if any(not tensor.is_contiguous() for tensor in evidence.tensors()) and _is_most_of_an_axis(evidence.wrong):
        # Right at the beginning only: the further from it, the more a wrong stride is off.
        return None
    return Diagnosis("tail", f"{edge} wrong, the rest right: look at the mask of the last block.")


def _precision(evidence: Evidence) -> Diagnosis | None:
    import torch

    if evidence.expected.dtype not in UNIT_ROUNDOFF:
        return None
    scale = evidence.value.abs() if evidence.expected.scale is None else evidence.expected.scale.double()
    error = (evidence.found - evidence.value).abs()
    if not bool(torch.isfinite(error).all()):
        return None
    # With the typical scale added: next to nothing may be left of two large terms, but their errors are.
    share = float((error / (scale + scale.median()).clamp_min(1e-30)).max())
    if share > _COARSE:
        return None
    spread = (evidence.value - evidence.value.median()).abs().median()
    if evidence.expected.scale is None and error.numel() >= 8 and bool(error.max() > spread / 2):
        # All values are nearly the same: then those of other elements are close too.
        return None
    return Diagnosis(
        "precision",
        f"Close, but {share:.1e} off relative to the terms, more than an honest {evidence.expected.dtype} result with "
        "float32 accumulation loses: something was computed or accumulated in a lower precision (float16, TF32).",
    )


def _sign(evidence: Evidence) -> Diagnosis | None:
    if not _alike(evidence.found, -evidence.value):
        return None
    return Diagnosis("sign", "Every element has the opposite sign.")


def _scaled(evidence: Evidence) -> Diagnosis | None:
    value, found = evidence.value, evidence.found
    if value.numel() < 2 or value.dim() == 0:
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
    if bool(((factors - 1).abs() >= _CLOSE).all()) and _alike(found, factors * value):
        return True
    # A factor close to 1, or none in some rows: it must explain every single error, and errors must be far from what
    # rounding does.
    unit = UNIT_ROUNDOFF.get(evidence.expected.dtype, 0.0)
    error, rest = (found - value).abs(), (found - factors * value).abs()
    is_far = error.median() > 16 * unit * value.abs().median()
    return bool(is_far) and bool((rest <= _EXPLAINED * error + 2 * unit * found.abs()).all())


def _factors(value: torch.Tensor, found: torch.Tensor) -> torch.Tensor:
    """What `value` is best multiplied by to give `found`, along the last axis; 1 where it is all zeros."""
    import torch

    norm = (value * value).sum(-1, keepdim=True)
    return torch.where(norm == 0, torch.ones_like(norm), (value * found).sum(-1, keepdim=True) / norm)


def _transposed(evidence: Evidence) -> Diagnosis | None:
    value = evidence.value
    if value.dim() != 2 or value.shape[0] != value.shape[1] or value.shape[0] < 2:
        return None
    if not _alike(evidence.found, value.t()):
        return None
    return Diagnosis("transposed", "The result is transposed: rows and columns, or two strides, are swapped.")


def _shifted(evidence: Evidence) -> Diagnosis | None:
    value, found = evidence.value, evidence.found
    for axis in range(-1, -value.dim() - 1, -1):
        size = value.shape[axis]
        if size < 3 or value.numel() < 4:
            continue
        name = "element" if axis == -1 else "row"
        if _alike(found.narrow(axis, 1, size - 1), value.narrow(axis, 0, size - 1)):
            return Diagnosis("shifted", f"Values sit one {name} after their place.")
        if _alike(found.narrow(axis, 0, size - 1), value.narrow(axis, 1, size - 1)):
            return Diagnosis("shifted", f"Values sit one {name} before their place.")
    return None


def _stride(evidence: Evidence) -> Diagnosis | None:
    for name, lines in _lines(evidence.wrong):
        for which, kind in ((lines, "wrong"), (~lines, "right")):
            places = which.nonzero().flatten()
            steps = places.diff()
            if len(places) < _MIN_REPEATS or int(steps[0]) < 2 or not bool((steps == steps[0]).all()):
                continue
            step, first, last = int(steps[0]), int(places[0]), int(places[-1])
            if first < step and last + step >= len(lines) and _are_dense(lines, evidence.wrong):
                only = "Only every" if kind == "right" else "Every"
                return Diagnosis(
                    "stride", f"{only} {_ordinal(step)} {name} is {kind}, from number {first} on: look at a stride."
                )
    if any(not tensor.is_contiguous() for tensor in evidence.tensors()):
        return Diagnosis(
            "stride", "An input is not contiguous here: use the tensor's own strides, not its shape, to find elements."
        )
    return None


def _ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10 if number % 100 not in (11, 12, 13) else 0, "th")
    return f"{number}{ending}"


def _tile_edge(evidence: Evidence) -> Diagnosis | None:
    for name, lines in _lines(evidence.wrong):
        places = lines.nonzero().flatten().tolist()
        if not _MIN_REPEATS <= len(places) < len(lines) or not _are_dense(lines, evidence.wrong):
            continue
        for tile in (256, 128, 64, 32, 16):
            if all(place % tile in (0, tile - 1) for place in places):
                return Diagnosis(
                    "tile_edge", f"Only {name}s at multiples of {tile} are wrong: look at the tile's edge."
                )
    return None


def _one_run(evidence: Evidence) -> Diagnosis | None:
    for name, lines in _lines(evidence.wrong):
        places = lines.nonzero().flatten().tolist()
        if places and 2 * len(places) <= len(lines) and places[-1] - places[0] < len(places):
            which = f"{name} {places[0]} is" if len(places) == 1 else f"{name}s {places[0]} to {places[-1]} are"
            return Diagnosis("wrong_values", f"Only {which} wrong: look at the program that makes them.")
    return None


_PATTERNS: tuple[Callable[[Evidence], Diagnosis | None], ...] = (
    _overflow,
    _never_written,
    _constant,
    _identity,
    _dropped_term,
    _sign,
    _scaled,
    _precision,
    _transposed,
    _shifted,
    _wrong_axis,
    _tail,
    _tile_edge,
    _stride,
    _one_run,
)


def _alike(found: torch.Tensor, pattern: torch.Tensor) -> bool:
    """True where every element is close, measured by how far the pattern's elements typically lie apart."""
    if pattern.numel() == 0 or not bool(pattern.any()):
        return False
    distance = (pattern - pattern.median()).abs()
    room = _CLOSE * (distance + distance.median()) + _ROUNDED * pattern.abs()
    return bool(((found - pattern).abs() <= room).all())


def _lines(wrong: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    """For each axis: what its lines are called, and which of them have something wrong in them."""
    for axis in range(wrong.dim()):
        others = [other for other in range(wrong.dim()) if other != axis]
        name = "element" if not others else ("row" if axis == wrong.dim() - 2 else "column")
        yield name, wrong.any(dim=others) if others else wrong


def _are_dense(lines: torch.Tensor, wrong: torch.Tensor) -> bool:
    """True where most of what is in the wrong lines is wrong; else a few elements are in some lines by chance."""
    return 2 * int(wrong.sum()) > int(lines.sum()) * (wrong.numel() // len(lines))


def _is_most_of_an_axis(wrong: torch.Tensor) -> bool:
    return all(2 * int(lines.sum()) > len(lines) for _, lines in _lines(wrong))


def _edge(wrong: torch.Tensor) -> str:
    """`The last 25 of 1025 elements are`, where the wrong part is the end of one axis and nothing else; else ''."""
    for name, lines in _lines(wrong):
        count, size = int(lines.sum()), len(lines)
        if 0 < count < size and _are_dense(lines, wrong) and bool(lines[size - count :].all()):
            return f"The last {count} of {size} {name}s " + ("are" if count > 1 else "is")
    return ""
