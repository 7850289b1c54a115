"""Counted work: what a call did, in figures that are the same on every machine, and how much of each it may use."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import zip_longest


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
    """Of `tl.dot` in Triton kernels, and of torch's products of matrices in host code."""
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
    messages: int = 0
    """Sent from rank to rank, of one rank like all figures of communication."""
    sent_bytes: int = 0
    """In those messages."""
    collectives: int = 0
    """Collective operations in the forward pass, barriers apart."""
    collectives_backward: int = 0
    """The same in the backward pass."""
    ring_bytes: int = 0
    """What a ring sends for the forward pass's collectives: 2(N−1)/N of an all-reduce's bytes, (N−1)/N of another's."""
    ring_bytes_backward: int = 0
    """The same in the backward pass."""
    peak_bytes: int = 0
    """The most memory that tensors which host code allocated held at one time, outputs included."""
    largest_tensor_bytes: int = 0
    """The largest single allocation among them."""
    bytes_loaded_of: tuple[int, ...] = ()
    """Bytes that Triton kernels loaded from each tensor among the call's arguments, in their order."""

    def __add__(self, other: Work) -> Work:
        """What two pieces of one call come to: sums, but for the two figures about memory held at one time."""
        mine, theirs = vars(self), vars(other)
        total = {figure: mine[figure] + theirs[figure] for figure in COUNTS}
        pairs = zip_longest(self.bytes_loaded_of, other.bytes_loaded_of, fillvalue=0)
        return Work(
            **total,
            peak_bytes=max(self.peak_bytes, other.peak_bytes),
            largest_tensor_bytes=max(self.largest_tensor_bytes, other.largest_tensor_bytes),
            bytes_loaded_of=tuple(first + second for first, second in pairs),
        )

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
MAX_SINGLES = 256
"""Messages outside of a batch that are kept of a call: what they wait for shows in the first few."""
COMMUNICATION = ("messages", "sent_bytes", "collectives", "collectives_backward", "ring_bytes", "ring_bytes_backward")
_HELD = ("peak_bytes", "largest_tensor_bytes")
COUNTS = tuple(field for field in Work.__dataclass_fields__ if field not in (*_HELD, "bytes_loaded_of"))
"""Figures that add up from launch to launch."""
FIGURES = (*COUNTS, *_HELD, "bytes_moved", *RATIOS)
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
    of: str = ""
    """Of `bytes_loaded`: the name of an argument, where only Triton kernels' loads from that are counted."""
    place: int | None = None
    """Which of the call's tensors that is; the grading fills it in."""

    def __post_init__(self) -> None:
        if self.figure not in FIGURES:
            raise ValueError(f"Work has no figure {self.figure!r}")
        if not 0 <= self.least <= self.most:
            raise ValueError(f"{self.figure}: need 0 ≤ least ≤ most, have {self.least} and {self.most}")
        if self.of and self.figure != "bytes_loaded":
            raise ValueError(f"{self.figure} of {self.of}: only bytes_loaded is counted apart for each argument")

    @property
    def name(self) -> str:
        """`bytes_loaded of k`."""
        return f"{self.figure} of {self.of}" if self.of else self.figure

    def used(self, work: Work) -> float:
        """How much of it some work comes to."""
        value: float = getattr(work, self.figure) if self.place is None else work.bytes_loaded_of[self.place]
        return value


class Evidence(StrEnum):
    """Who counted the work."""

    SELF_REPORTED = "self-reported"
    WITNESSED = "witnessed"
