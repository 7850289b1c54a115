"""From the pattern of wrong elements to the likely cause. Hints are keyed by the ids."""

from __future__ import annotations

from collections.abc import Callable

from gpuprep.grading import formulas, places
from gpuprep.grading.evidence import Evidence, Recompute
from gpuprep.model import Diagnosis

__all__ = ["Evidence", "Recompute", "diagnose"]

# The first that fits is named: those that hardly ever fit by chance come first, those of last resort last.
_PATTERNS: tuple[Callable[[Evidence], Diagnosis | None], ...] = (
    places.spread,
    places.overflow,
    places.never_written,
    formulas.constant,
    formulas.identity,
    formulas.own_part,
    formulas.dropped_term,
    formulas.sign,
    formulas.offset,
    formulas.row_offset,
    formulas.scaled,
    formulas.rounding,
    formulas.precision,
    places.transposed,
    places.shifted,
    formulas.wrong_axis,
    places.tail,
    places.tile_edge,
    places.stride,
    places.one_run,
)


def diagnose(evidence: Evidence) -> Diagnosis:
    """The first pattern that fits; `wrong_values` where none does."""
    for pattern in _PATTERNS:
        if found := pattern(evidence):
            return found
    return Diagnosis("wrong_values", "The values are wrong in no pattern that we know. Check the formula by hand.")
