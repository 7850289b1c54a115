"""Patterns in the places of wrong elements: an axis's end, every k-th line, tiles' edges, poison, other places."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from gpuprep.grading.evidence import Evidence, alike
from gpuprep.model import Diagnosis

if TYPE_CHECKING:
    import torch

_MIN_REPEATS = 3
"""Wrong lines at equal distances that make a pattern: two are always at equal distances."""
_LARGEST = {"float16": 65504.0, "bfloat16": 3.3e38, "float32": 3.4e38}
_EXP_LIMIT = {"float16": 11.0}
"""exp overflows from 88.7 in float32 and 11.1 in float16; below that a NaN has another cause."""


def never_written(evidence: Evidence) -> Diagnosis | None:
    """Poison: fresh memory holds NaN here, or an integer dtype's largest value."""
    import torch

    bad = _poison(evidence)
    n_bad, total = int(bad.sum()), bad.numel()
    if n_bad == 0:
        return None
    is_float = evidence.got.dtype.is_floating_point
    masked = ", as where a softmax sees nothing but −inf"
    what = "NaN" if is_float else str(torch.iinfo(evidence.got.dtype).max)
    computed = f" But −inf − (−inf), 0 · inf and 0 / 0 are NaN, too{evidence.advice('', masked)}." if is_float else ""
    if n_bad == total:
        ask = evidence.advice(
            "Is the kernel launched, and does it store? Or does it add to memory that nothing has written yet?",
            "Is all of the output assigned or, between ranks, received and waited for? Or is something added to memory "
            "that nothing has written yet?",
        )
        return Diagnosis(
            "never_written",
            f"Nothing but {what}, which fresh memory holds here. {ask} torch.empty makes no zeros.{computed}",
        )
    if edge := _edge(bad):
        return Diagnosis("tail", f"{edge[0]} never written: {_missing(evidence, is_most=2 * n_bad > total)}")
    if not torch.equal(bad, evidence.wrong):
        return None
    skipped = evidence.advice(
        "some programs skip part of their block",
        "look at which slices are assigned or, between ranks, received and waited for",
    )
    return Diagnosis(
        "never_written",
        f"{n_bad} of {total} elements hold {what} as if they were never written: {skipped}.{computed}",
    )


def _missing(evidence: Evidence, *, is_most: bool) -> str:
    """Why the end of an axis was never written, which is most of it or may be its last block."""
    if is_most:
        return evidence.advice(
            "that is more than a last block. The grid is too small, or its axes are swapped; or the program's number "
            "(program_id, blockIdx) is not used, so that all programs write the same block.",
            "that is more than a last block. The loop over blocks ends too early, or every block is written to the "
            "same slice.",
        )
    return evidence.advice(
        "the grid rounds down, or a mask or loop bound drops the last block.",
        "a loop or a slice ends too early or, between ranks, what was to arrive was not waited for.",
    )


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
    is_infinite = bool(torch.isinf(evidence.found[bad]).any())
    if largest > limit and (is_infinite or _is_beyond(evidence, bad, limit)):
        return Diagnosis(
            "overflow",
            f"NaN or infinity, and inputs as large as {largest:.3g}: an exponential or a product overflowed, or was "
            "computed in a dtype that is too small. A softmax subtracts the row's maximum before exp.",
        )
    if is_infinite:
        return Diagnosis(
            "overflow",
            f"Infinity, from inputs no larger than {largest:.3g}: a sum or a product went past the largest number of "
            f"its dtype (float16 ends at {_LARGEST['float16']:.5g}), or something was divided by 0.",
        )
    return None


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


def spread(evidence: Evidence) -> Diagnosis | None:
    """NaN that came in with an argument, where the result doesn't depend on it."""
    import torch

    came_in = any(bool(torch.isnan(tensor).any()) for tensor in evidence.tensors())
    if not came_in or not bool((torch.isnan(evidence.found) & ~torch.isnan(evidence.value)).any()):
        return None
    return Diagnosis(
        "spread_nan",
        "An argument holds NaN in places that the result does not depend on, and it came through: 0 · NaN is NaN. A "
        "weight of 0 hides a value only if that is a number; what is not to be seen must be left out of the product. "
        "Or is something read that no kernel has written yet? Fresh memory holds NaN here, too.",
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
    if edge is None:
        return None
    if line := _only_first_right(evidence.wrong):
        where = evidence.advice(
            f"which needs no stride: look at what the number of a {line} is multiplied by, and at what it is divided "
            "by",
            "which nothing comes before: look at slices, and at what is carried from one step to the next",
        )
        return Diagnosis(
            "stride",
            f"Only the first {line} is right, {where}. Under a causal mask it has a single term: then look at what "
            "terms are weighted with.",
        )
    if any(not tensor.is_contiguous() for tensor in evidence.tensors()) and _is_most_of_an_axis(evidence.wrong):
        # Right at the beginning only: the further from it, the more a wrong stride is off.
        return None
    which, first = edge
    is_most = 2 * int(evidence.wrong.sum()) > evidence.wrong.numel()
    where = evidence.advice(
        "that is more than a last block. Look at where the programs after the first find their elements, and at what "
        "goes from one step to the next."
        if is_most
        else "look at the mask of the last block.",
        f"look at what is different from number {first} on, at the bounds of loops and slices, and at masks.",
    )
    return Diagnosis("tail", f"{which} wrong, the rest right: {where}")


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
                where = evidence.advice(
                    "a stride", "the steps of loops and slices, and at what goes from one block to the next"
                )
                return Diagnosis(
                    "stride", f"{only} {_ordinal(step)} {name} is {kind}, from number {first} on: look at {where}."
                )
    # Whole tensors are taken with their strides.
    if evidence.has_kernels and any(not tensor.is_contiguous() for tensor in evidence.tensors()):
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
                where = evidence.advice("the tile's edge", "where one block ends and the next begins")
                return Diagnosis("tile_edge", f"Only {name}s at multiples of {tile} are wrong: look at {where}.")
    return None


def one_run(evidence: Evidence) -> Diagnosis | None:
    """No pattern, but a place: neighbouring lines."""
    for name, lines in _lines(evidence.wrong):
        places = lines.nonzero().flatten().tolist()
        if places and 2 * len(places) <= len(lines) and places[-1] - places[0] < len(places):
            which = f"{name} {places[0]} is" if len(places) == 1 else f"{name}s {places[0]} to {places[-1]} are"
            them = "it" if len(places) == 1 else "them"
            where = evidence.advice(
                f"the program that makes {them}", f"what makes {them}, and at the bounds and masks there"
            )
            return Diagnosis("wrong_values", f"Only {which} wrong: look at {where}.")
    return None


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


def _edge(wrong: torch.Tensor) -> tuple[str, int] | None:
    """`The last 25 of 1025 elements are` and 1000, where the wrong part is the end of one axis and nothing else."""
    for name, lines in _lines(wrong):
        count, size = int(lines.sum()), len(lines)
        if 0 < count < size and _are_dense(lines, wrong) and bool(lines[size - count :].all()):
            first, _, rest = name.partition(" ")
            lines_named = f"{first}s {rest}".strip()
            return f"The last {count} of {size} {lines_named} " + ("are" if count > 1 else "is"), size - count
    return None
