"""Counted work: what a call did, in figures that are the same on every machine, and how much of each it may use."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True)
class Work:
    """Counted work of one call. Bytes count unmasked lanes only; a sector is 32 bytes.

    The figures from `load_requests` on are counted for CUDA kernels alone: in Triton's interpreter there are no warps.
    A request is one access of a warp, as the source has it: a real compiler may merge some and hoist others.
    """

    bytes_loaded: int = 0
    bytes_stored: int = 0
    sectors_loaded: int = 0
    sectors_stored: int = 0
    launches: int = 0
    programs: int = 0
    """Programs of Triton kernels, blocks of CUDA kernels."""
    dot_flops: int = 0
    load_requests: int = 0
    """Loads of global memory, one a warp."""
    store_requests: int = 0
    """Stores to global memory, one a warp."""
    shared_requests: int = 0
    """Accesses of shared memory, one a warp."""
    shared_wavefronts: int = 0
    """Passes through shared memory's 32 banks that those took."""
    bank_conflicts: int = 0
    """Wavefronts beyond the least that the width of each access needs."""
    atomics: int = 0
    """Atomic operations, one a lane."""
    barriers: int = 0
    """Barriers of a block, one a block each time."""
    threads: int = 0
    """Threads of CUDA kernels, of all launches together."""
    shared_bytes: int = 0
    """Shared memory that the blocks of CUDA kernels were given, static and dynamic, of all launches together."""
    mma: int = 0
    """Multiply-accumulates of whole tiles on tensor cores, one a warp."""

    @property
    def bytes_moved(self) -> int:
        """Loaded plus stored."""
        return self.bytes_loaded + self.bytes_stored

    @property
    def sectors_per_load(self) -> float:
        """Sectors that a warp's load touches: 4 where its lanes read 32 neighbouring floats; 0 without requests."""
        return self.sectors_loaded / self.load_requests if self.load_requests else 0.0

    @property
    def sectors_per_store(self) -> float:
        """Sectors that a warp's store touches; see `sectors_per_load`."""
        return self.sectors_stored / self.store_requests if self.store_requests else 0.0

    @property
    def shared_bytes_per_thread(self) -> float:
        """Shared memory that each thread costs: what limits how many warps are active at once; 0 without threads."""
        return self.shared_bytes / self.threads if self.threads else 0.0


RATIOS = ("sectors_per_load", "sectors_per_store", "shared_bytes_per_thread")
"""Figures that say how well memory is used, not how much of it."""
FIGURES = (*Work.__dataclass_fields__, "bytes_moved", *RATIOS)
"""What a budget can bound."""


@dataclass(frozen=True)
class Budget:
    """How much of one figure of `Work` a call may use, and the least that any honest solution needs.

    Counting less than `least` means that something other than the kernel did the work.
    """

    figure: str
    """One of FIGURES."""
    least: float
    most: float
    why: str
    """How the bound comes about, in symbols: `3·n·itemsize`."""

    def __post_init__(self) -> None:
        if self.figure not in FIGURES:
            raise ValueError(f"Work has no figure {self.figure!r}")
        if not 0 <= self.least <= self.most:
            raise ValueError(f"{self.figure}: need 0 ≤ least ≤ most, have {self.least} and {self.most}")


class Evidence(StrEnum):
    """Who counted the work."""

    SELF_REPORTED = "self-reported"
    WITNESSED = "witnessed"
