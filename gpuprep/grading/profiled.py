"""What a profile found: the nouns of `gpuprep profile`. What is not known is None or empty; `unknown` says why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gpuprep.exercise import Exercise
from gpuprep.model import Case, CaseResult, SourceLine
from gpuprep.occupancy import Occupancy


@dataclass(frozen=True)
class Kernel:
    """One kernel as it was launched, and what the compiler made of it."""

    name: str
    grid: tuple[int, int, int]
    threads: int
    """Of a block."""
    shared_bytes: int
    """Of a block, static and dynamic."""
    registers: int | None = None
    """Of a thread."""
    spill_bytes: int | None = None
    """Stored to local memory for want of registers, a thread."""
    stack_bytes: int | None = None
    """Local memory of a thread, spills included."""
    occupancy: Occupancy | None = None
    stages: int | None = None
    """Of Triton's software pipeline."""
    constants: Mapping[str, str] | None = None
    launches: int = 1
    configurations: int = 0
    """Of a tuner, whose first this is because nothing was timed; 0 otherwise."""
    why_not: str = ""
    """Why the compiler's figures are missing."""

    @property
    def blocks(self) -> int:
        """Of the whole grid."""
        x, y, z = self.grid
        return x * y * z


@dataclass(frozen=True)
class Access:
    """The line of a CUDA kernel that costs most beyond the least of its kind."""

    kind: str
    """load, store or shared."""
    per_request: float
    """Sectors of a request to global memory, wavefronts of one to shared memory."""
    where: SourceLine


@dataclass(frozen=True)
class KernelTime:
    """One kernel's part in the traced calls."""

    name: str
    share: float
    """Of all the time that anything ran on the card."""
    mean_ms: float
    per_call: float
    """Launches of it a call."""


@dataclass(frozen=True)
class Timed:
    """What the card's own clock and the trace of some calls said."""

    case: Case
    low_ms: float
    median_ms: float
    high_ms: float
    top: tuple[KernelTime, ...] = ()
    copies_share: float = 0.0
    """Of the time that anything ran: memcpy and memset."""
    busy_share: float | None = None
    """Of the time from a call's first kernel to its last, that in which anything ran."""
    why_untraced: str = ""


@dataclass(frozen=True)
class Counters:
    """What Nsight Compute read of one kernel."""

    kernel: str
    figures: Mapping[str, float]
    """By the names in `profile_ncu.METRICS`."""


@dataclass(frozen=True)
class Operation:
    """Everything about one operation of an exercise; most have one."""

    counted: CaseResult | None = None
    """The case whose work was counted, and its budgets."""
    accesses: tuple[Access, ...] = ()
    kernels: tuple[Kernel, ...] = ()
    compiled_for: Case | None = None
    """The case that the kernels were compiled for, or launched on."""
    timed: Timed | None = None
    counters: tuple[Counters, ...] = ()
    is_intense: bool = False
    """It computes so much on each byte that arithmetic sets its pace, not memory."""

    @property
    def name(self) -> str:
        """Empty where an exercise has one operation."""
        case = self.compiled_for or (self.counted.case if self.counted else None)
        return case.op if case else ""


@dataclass(frozen=True)
class Unknown:
    """Something that could not be found out, and why."""

    what: str
    why: str


@dataclass(frozen=True)
class Profile:
    """A file's profile."""

    exercise: Exercise
    path: str
    capability: str
    """`9.0`: what was compiled for."""
    operations: tuple[Operation, ...]
    unknown: tuple[Unknown, ...] = ()
    card: str = ""
    """Its name; empty where nothing ran on one."""
    n_sms: int | None = None
    versions: Mapping[str, str] | None = None
    trace: bytes | None = None
    """In the format of Chrome and Perfetto, where one was asked for."""
