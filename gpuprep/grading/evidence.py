"""What a diagnosis looks at, and when two results count as the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from gpuprep.grader import UNIT_ROUNDOFF, Expected

if TYPE_CHECKING:
    import torch

CLOSE = 0.02
"""Values that differ by less than this share of how far they typically spread count as the same pattern."""
_ROUNDED = 1e-3
"""Room for the result's own rounding, relative to the value; float16's is half of it."""

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
        own_part: of a rank, what it would have if the others had sent nothing.
    """

    expected: Expected
    got: torch.Tensor
    wrong: torch.Tensor
    args: Sequence[Any]
    n_terms: int = 0
    recompute: Recompute | None = None
    own_part: torch.Tensor | None = None

    @cached_property
    def value(self) -> torch.Tensor:
        """The oracle's values, float64."""
        return self.expected.value.double()

    @cached_property
    def found(self) -> torch.Tensor:
        """What came back, float64."""
        return self.got.double()

    @cached_property
    def unit(self) -> float:
        """Largest relative error of one rounding to the output's dtype; 0 for integers."""
        return UNIT_ROUNDOFF.get(self.expected.dtype, 0.0)

    @cached_property
    def scale(self) -> torch.Tensor:
        """Σ|terms| of each element, float64."""
        return self.value.abs() if self.expected.scale is None else self.expected.scale.double()

    def tensors(self) -> Iterator[torch.Tensor]:
        """The tensors among the arguments."""
        import torch

        return (arg for arg in self.args if isinstance(arg, torch.Tensor))


def alike(found: torch.Tensor, pattern: torch.Tensor) -> bool:
    """True where every element is close, measured by how far the pattern's elements typically lie apart."""
    if pattern.numel() == 0 or not bool(pattern.any()):
        return False
    distance = (pattern - pattern.median()).abs()
    room = CLOSE * (distance + distance.median()) + _ROUNDED * pattern.abs()
    return bool(((found - pattern).abs() <= room).all())
