"""What the counters find wrong with a kernel."""

from __future__ import annotations

from dataclasses import dataclass

OUT_OF_BOUNDS = "out_of_bounds"
RACE = "race"
MISALIGNED = "misaligned"
BAD_SYNC = "bad_sync"
"""A barrier that not all threads reach, a shuffle from an inactive lane, lanes that disagree on their mask."""
UNINITIALISED = "uninitialised"
"""A read of shared memory that no thread has written."""
UNSET_LANES = "unset_lanes"
"""Lanes that a mask keeps from loading and no `other` fills. A note: many kernels never look at them."""
ASSERT = "assert"
DEADLOCK = "deadlock"
STACK_OVERFLOW = "stack_overflow"
DIVISION_BY_ZERO = "division_by_zero"
ENDLESS_LOOP = "endless_loop"
TRAP = "trap"
"""The kernel's own `__trap()`."""
CRASH = "crash"
"""A signal that no check foresaw."""


@dataclass(frozen=True)
class Finding:
    """One fault of one program, or of one thread of a CUDA block."""

    kind: str
    """One of the words above."""
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
    thread: tuple[int, int, int] | None = None
    """The thread of a CUDA block; None in Triton's kernels, which have none."""
    other_line: int = 0
    """The other line of a race; 0 where there is none."""
    severity: str = "error"
    """error, warning or note: only the first is a fault."""


class KernelFault(BaseException):
    """Stops a run at a fault after which nothing that it does means anything.

    No Exception, so that neither the interpreter nor a learner's `except Exception` swallows it.
    """

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding


class OutOfBoundsAccess(KernelFault):
    """Stops a run before memory outside every tensor is touched."""
