"""Patterns in the places of wrong elements: the end of an axis, every k-th line, the edges of tiles, poison."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from gpuprep.grading.evidence import Evidence
from gpuprep.model import Diagnosis

if TYPE_CHECKING:
    import torch

_MIN_REPEATS = 3
"""Wrong lines at equal distances that make a pattern: two are always at equal distances."""


def never_written(evidence: Evidence) -> Diagnosis | None:
    """Poison: fresh memory holds NaN here, or an integer dtype's largest value."""
    import torch

    bad = _poison(evidence)
    n_bad, total = int(bad.sum()), bad.numel()
    if n_bad == 0:
        return None
    is_float = evidence.got.dtype.is_floating_point
    what = "NaN" if is_float else str(torch.iinfo(evidence.got.dtype).max)
    computed = " But −inf − (−inf), 0 · inf and 0 / 0 are NaN, too." if is_float else ""
    if n_bad == total:
        return Diagnosis(
            "never_written",
            f"Nothing but {what}, which fresh memory holds here. Is the kernel launched, and does it store? Or does it "
            f"add to memory that nothing has written yet? torch.empty makes no zeros.{computed}",
        )
    if edge := _edge(bad):
        return Diagnosis(
            "tail", f"{edge} never written: the grid rounds down, or a mask or loop bound drops the last block."
        )
    if not torch.equal(bad, evidence.wrong):
        return None
    return Diagnosis(
        "never_written",
        f"{n_bad} of {total} elements hold {what} as if they were never written: some programs skip part of their "
        f"block.{computed}",
    )


def spread(evidence: Evidence) -> Diagnosis | None:
    """NaN that came in with an argument, where the result doesn't depend on it."""
    import torch

    came_in = any(bool(torch.isnan(tensor).any()) for tensor in evidence.tensors())
    if not came_in or not bool((torch.isnan(evidence.found) & ~torch.isnan(evidence.value)).any()):
        return None
    return Diagnosis(
        "spread_nan",
        "An argument holds NaN in places that the result does not depend on, and it came through: 0 · NaN is NaN. A "
        "weight of 0 hides a value only if that is a number; what is not to be seen must be left out of the product.",
    )


def _poison(evidence: Evidence) -> torch.Tensor:
    import torch

    got = evidence.got
    if got.dtype.is_floating_point:
        return torch.isnan(evidence.found) & ~torch.isnan(evidence.value)
    if got.dtype == torch.bool:
        # Every second result of a predicate is True.
        return torch.zeros_like(evidence.wrong)
    poison = torch.iinfo(got.dtype).max
    bad = (got == poison) & evidence.wrong
    if got.element_size() == 1 and bool(bad.any()) and bool((evidence.value[bad] > poison / 2).all()):
        # Quantized values end at 127: what is too large by some may well end there, and nothing else does.
        return torch.zeros_like(evidence.wrong)
    return bad


def tail(evidence: Evidence) -> Diagnosis | None:
    """The end of an axis wrong and nothing else; where all but its first line is, a stride."""
    edge = _edge(evidence.wrong)
    if not edge:
        return None
    if line := _only_first_right(evidence.wrong):
        return Diagnosis(
            "stride",
            f"Only the first {line} is right, which needs no stride: look at what the number of a {line} is multiplied "
            "by, and at what it is divided by. Under a causal mask it has a single term: then look at what terms are "
            "weighted with.",
        )
    if any(not tensor.is_contiguous() for tensor in evidence.tensors()) and _is_most_of_an_axis(evidence.wrong):
        # Right at the beginning only: the further from it, the more a wrong stride is off.
        return None
    return Diagnosis("tail", f"{edge} wrong, the rest right: look at the mask of the last block.")


def stride(evidence: Evidence) -> Diagnosis | None:
    """Every k-th line wrong, or every one but each k-th; else a view is suspected."""
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


def tile_edge(evidence: Evidence) -> Diagnosis | None:
    """Only lines at multiples of a tile's side, or just before one."""
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


def one_run(evidence: Evidence) -> Diagnosis | None:
    """No pattern, but a place: neighbouring lines."""
    for name, lines in _lines(evidence.wrong):
        places = lines.nonzero().flatten().tolist()
        if places and 2 * len(places) <= len(lines) and places[-1] - places[0] < len(places):
            which = f"{name} {places[0]} is" if len(places) == 1 else f"{name}s {places[0]} to {places[-1]} are"
            return Diagnosis("wrong_values", f"Only {which} wrong: look at the program that makes them.")
    return None


def _ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10 if number % 100 not in (11, 12, 13) else 0, "th")
    return f"{number}{ending}"


def _lines(wrong: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    """For each axis: what its lines are called, and which of them have something wrong in them."""
    for axis in range(wrong.dim()):
        others = [other for other in range(wrong.dim()) if other != axis]
        last = wrong.dim() - 1
        name = {last: "column", last - 1: "row"}.get(axis, f"slice along axis {axis}") if others else "element"
        yield name, wrong.any(dim=others) if others else wrong


def _are_dense(lines: torch.Tensor, wrong: torch.Tensor) -> bool:
    """True where most of what is in the wrong lines is wrong; else a few elements are in some lines by chance."""
    return 2 * int(wrong.sum()) > int(lines.sum()) * (wrong.numel() // len(lines))


def are_whole_lines(wrong: torch.Tensor) -> bool:
    """True where the wrong elements are a few lines of an axis, and all of these lines: no matter of chance."""
    return wrong.dim() > 1 and any(
        2 * int(lines.sum()) <= len(lines) and int(wrong.sum()) == int(lines.sum()) * (wrong.numel() // len(lines))
        for _, lines in _lines(wrong)
        if wrong.numel() // len(lines) >= _MIN_REPEATS
    )


def _is_most_of_an_axis(wrong: torch.Tensor) -> bool:
    return all(2 * int(lines.sum()) > len(lines) for _, lines in _lines(wrong))


def _only_first_right(wrong: torch.Tensor) -> str:
    """What the lines are called of which all are wrong but the first; '' where there are none, or too few to tell."""
    for name, lines in _lines(wrong):
        if len(lines) >= _MIN_REPEATS and not bool(lines[0]) and bool(lines[1:].all()):
            return name
    return ""


def _edge(wrong: torch.Tensor) -> str:
    """`The last 25 of 1025 elements are`, where the wrong part is the end of one axis and nothing else; else ''."""
    for name, lines in _lines(wrong):
        count, size = int(lines.sum()), len(lines)
        if 0 < count < size and _are_dense(lines, wrong) and bool(lines[size - count :].all()):
            first, _, rest = name.partition(" ")
            lines_named = f"{first}s {rest}".strip()
            return f"The last {count} of {size} {lines_named} " + ("are" if count > 1 else "is")
    return ""
