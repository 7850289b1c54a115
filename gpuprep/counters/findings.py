"""What the counters find wrong with a kernel's memory accesses."""

from __future__ import annotations

from dataclasses import dataclass

OUT_OF_BOUNDS = "out_of_bounds"
RACE = "race"
MISALIGNED = "misaligned"


@dataclass(frozen=True)
class Finding:
    """One faulty access of one program."""

    kind: str
    """OUT_OF_BOUNDS, RACE or MISALIGNED."""
    message: str
    path: str
    """The file that holds the kernel; empty where the line is unknown."""
    line: int
    """The line of that file; 0 where unknown."""
    kernel: str
    program: tuple[int, int, int]
    tensor: str
    """The kernel parameter that the address belongs to or lies nearest to; empty if there is none."""
    index: int
    """Offset of the first faulty lane from that tensor's first element, in elements; may be negative."""
    is_store: bool
    lanes: int
    """How many lanes of this access are at fault."""


class OutOfBoundsAccess(BaseException):
    """Stops a run before memory outside every tensor is touched.

    No Exception, so that neither the interpreter nor a learner's `except Exception` swallows it.
    """

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding
