"""From the pattern of wrong elements to the likely cause. Hints are keyed by the ids."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpuprep.grader import Expected
from gpuprep.model import Diagnosis

if TYPE_CHECKING:
    import torch

_CLOSE = 0.02
"""Two values that differ by less than this share of the largest one count as the same pattern."""
_COARSE = 2.0**-5
"""An error below this share of the scale is a matter of precision, not of a wrong formula."""


@dataclass(frozen=True)
class Evidence:
    """What a diagnosis looks at.

    Args:
        expected: the oracle's answer.
        got: what came back, same shape.
        wrong: bool, same shape: the elements that are out of bounds.
        args: the call's arguments.
    """

    expected: Expected
    got: torch.Tensor
    wrong: torch.Tensor
    args: Sequence[Any]

    @property
    def value(self) -> torch.Tensor:
        """The oracle's values, float64."""
        return self.expected.value.double()

    @property
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
    if not bool(bad.any()) or not torch.equal(bad, evidence.wrong & bad):
        return None
    # exp overflows from 88.7 in float32 and 11.1 in float16; below that a NaN has another cause.
    limit = 11.0 if "16" in evidence.expected.dtype and evidence.expected.dtype != "bfloat16" else 88.0
    largest = max((float(t[torch.isfinite(t)].abs().max()) for t in evidence.tensors() if t.numel()), default=0.0)
    if largest <= limit or not _whole_rows(bad):
        return None
    return Diagnosis(
        "overflow",
        f"NaN or infinity in whole rows, and inputs as large as {largest:.3g}: an exponential or a product "
        "overflowed. Subtract the row's maximum before exp.",
    )


def _never_written(evidence: Evidence) -> Diagnosis | None:
    import torch

    bad = torch.isnan(evidence.found) & ~torch.isnan(evidence.value)
    n_bad, total = int(bad.sum()), bad.numel()
    if n_bad == 0 or not torch.equal(bad, evidence.wrong):
        return None
    if n_bad == total:
        return Diagnosis("never_written", "No element was written: is the kernel launched, and does it store?")
    if edge := _edge(bad):
        return Diagnosis(
            "tail", f"{edge} never written: the grid rounds down, or a mask or loop bound drops the last block."
        )
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


def _tail(evidence: Evidence) -> Diagnosis | None:
    edge = _edge(evidence.wrong)
    if not edge:
        return None
    return Diagnosis("tail", f"{edge} wrong, the rest right: look at the mask of the last block.")


def _precision(evidence: Evidence) -> Diagnosis | None:
    import torch

    scale = evidence.value.abs() if evidence.expected.scale is None else evidence.expected.scale
    error = (evidence.found - evidence.value).abs()
    if not bool(torch.isfinite(error).all()):
        return None
    share = float((error / scale.clamp_min(1e-30)).max())
    if share > _COARSE:
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
    value, found = evidence.value.flatten(), evidence.found.flatten()
    dot, norm = float(value.dot(found)), float(value.dot(value))
    if value.numel() < 2 or norm == 0 or dot != dot:
        return None
    factor = dot / norm
    if abs(factor) < 1e-6 or abs(factor - 1) < _CLOSE or not _alike(found, factor * value):
        return None
    return Diagnosis("scaled", f"Every element is {factor:.4g} times what it should be.")


def _transposed(evidence: Evidence) -> Diagnosis | None:
    value = evidence.value
    if value.dim() != 2 or value.shape[0] != value.shape[1] or value.shape[0] < 2:
        return None
    if not _alike(evidence.found, value.t()):
        return None
    return Diagnosis("transposed", "The result is transposed: rows and columns, or two strides, are swapped.")


def _shifted(evidence: Evidence) -> Diagnosis | None:
    if evidence.value.numel() < 4 or evidence.value.dim() == 0:
        return None
    for step in (1, -1):
        rolled = evidence.value.roll(step, -1)
        inner = slice(1, None) if step == 1 else slice(None, -1)
        if _alike(evidence.found[..., inner], rolled[..., inner]):
            return Diagnosis("shifted", f"Values sit {'after' if step == 1 else 'before'} their place by one element.")
    return None


def _stride(evidence: Evidence) -> Diagnosis | None:
    for axis in range(evidence.wrong.dim()):
        others = [other for other in range(evidence.wrong.dim()) if other != axis]
        lines = evidence.wrong.any(dim=others) if others else evidence.wrong
        places = lines.nonzero().flatten()
        if not 2 <= len(places) < len(lines):
            continue
        steps = places.diff()
        if int(steps[0]) > 1 and bool((steps == steps[0]).all()):
            name = "element" if not others else ("row" if axis == 0 else "column")
            return Diagnosis(
                "stride",
                f"Every {int(steps[0])}th {name} is wrong, from number {int(places[0])} on: look at a stride.",
            )
    if any(not tensor.is_contiguous() for tensor in evidence.tensors()):
        return Diagnosis(
            "stride", "An input is not contiguous here: use the tensor's own strides, not its shape, to find elements."
        )
    return None


def _tile_edge(evidence: Evidence) -> Diagnosis | None:
    rows = evidence.wrong
    if rows.dim() != 2:
        return None
    for axis, name in ((0, "rows"), (1, "columns")):
        lines = rows.any(dim=1 - axis).nonzero().flatten().tolist()
        for tile in (16, 32, 64, 128):
            if lines and len(lines) < rows.shape[axis] and all(line % tile in (0, tile - 1) for line in lines):
                return Diagnosis("tile_edge", f"Only {name} at multiples of {tile} are wrong: look at the tile's edge.")
    return None


_PATTERNS: tuple[Callable[[Evidence], Diagnosis | None], ...] = (
    _overflow,
    _never_written,
    _constant,
    _identity,
    _precision,
    _sign,
    _scaled,
    _transposed,
    _shifted,
    _tail,
    _tile_edge,
    _stride,
)


def _alike(found: torch.Tensor, pattern: torch.Tensor) -> bool:
    largest = pattern.abs().max() if pattern.numel() else None
    if largest is None or float(largest) == 0:
        return False
    return bool(((found - pattern).abs() <= _CLOSE * largest).all())


def _whole_rows(bad: torch.Tensor) -> bool:
    if bad.dim() < 2:
        return bool(bad.all())
    rows = bad.flatten(0, -2)
    return bool((rows.any(-1) == rows.all(-1)).all())


def _edge(wrong: torch.Tensor) -> str:
    """`The last 25 of 1025 elements are`, where the wrong part is the end of one axis and nothing else; else ''."""
    for axis in range(wrong.dim()):
        others = [other for other in range(wrong.dim()) if other != axis]
        lines = wrong.any(dim=others) if others else wrong
        count, size = int(lines.sum()), len(lines)
        if 0 < count < size and bool(lines[size - count :].all()):
            name = "elements" if wrong.dim() == 1 else ("rows" if axis == wrong.dim() - 2 else "columns")
            return f"The last {count} of {size} {name} " + ("are" if count > 1 else "is")
    return ""
