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
        has_kernels: kernels make the result; without it, Python makes it of tensors, blocks and messages.
    """

    expected: Expected
    got: torch.Tensor
    wrong: torch.Tensor
    args: Sequence[Any]
    n_terms: int = 0
    recompute: Recompute | None = None
    own_part: torch.Tensor | None = None
    has_kernels: bool = True

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

    def advice(self, kernels: str, tensors: str) -> str:
        """Where to look: in a kernel, or in code that works on whole tensors."""
        return kernels if self.has_kernels else tensors

    def tensors(self) -> Iterator[torch.Tensor]:
        """The tensors among the arguments."""
        import torch

        return (arg for arg in self.args if isinstance(arg, torch.Tensor))


@dataclass(frozen=True)
class Part:
    """Those of a sum's terms that have entered it: from `start` to `stop`, and there `width` of every `period`."""

    n_terms: int
    start: int = 0
    stop: int = 0
    first: int = 0
    width: int = 1
    period: int = 1

    @property
    def is_beginning(self) -> bool:
        return self.start == 0 and self.period == 1

    def terms(self) -> torch.Tensor:
        import torch

        terms = torch.arange(self.start, self.stop or self.n_terms)
        place = terms % self.period - self.first
        return terms[(place >= 0) & (place < self.width)]

    def told(self, evidence: Evidence) -> str:
        """What is missing, and where to look."""
        if self.period > 1:
            which = "last" if self.first else "first"
            width = f"{which} {self.width}" if self.width > 1 else which
            where = evidence.advice(
                "at the step of the loop, and at whether all lanes' and all threads' partial results are added up",
                "at the step of the loop, and at whether all partial results are added up",
            )
            return (
                f"This is the result over the {width} of every {self.period} terms: the others never enter the sum. "
                f"Look {where}."
            )
        where = evidence.advice(
            "at the mask of the load, and at how many partial results are added up",
            "at slices and masks, and at how many partial results are added up",
        )
        if self.start:
            return (
                f"This is the result without the first {self.start} of {self.n_terms} terms: they never enter the sum. "
                f"Look at where the loop starts, {where}."
            )
        return (
            f"This is the result over the first {self.stop} of {self.n_terms} terms: the last "
            f"{self.n_terms - self.stop} never enter the sum. Look at where the loop ends, {where}."
        )


def alike(found: torch.Tensor, pattern: torch.Tensor) -> bool:
    """True where every element is close, measured by how far the pattern's elements typically lie apart."""
    if pattern.numel() == 0 or not bool(pattern.any()):
        return False
    distance = (pattern - pattern.median()).abs()
    room = CLOSE * (distance + distance.median()) + _ROUNDED * pattern.abs()
    return bool(((found - pattern).abs() <= room).all())
