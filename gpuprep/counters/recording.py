"""What one recorded call did: counted work, findings, host operations, and which elements kernels stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from gpuprep.counters.accesses import Access
from gpuprep.counters.extents import Extent
from gpuprep.counters.findings import RACE, Finding
from gpuprep.counters.torch_ops import HostOp, HostOps
from gpuprep.work import COMMUNICATION, COUNTS, Work

MAX_RACES = 8
"""Races kept of one recording: the first few lines tell the story, and tracking stops after them."""

_WORD_BYTES = 8
"""Widest element; stored bytes are kept in arrays of whole words, so that a lane is one assignment."""


def extent_of(name: str, tensor: torch.Tensor) -> Extent:
    """The logical extent of a tensor."""
    return Extent(
        name,
        tensor.data_ptr(),
        tuple(tensor.shape),
        tensor.stride(),
        tensor.element_size(),
        tensor.untyped_storage().data_ptr(),
    )


@dataclass
class Site:
    """A line of a CUDA kernel that accesses memory, and what its accesses came to."""

    path: str
    line: int
    kind: str
    """load, store, shared_load, shared_store or atomic; launch, of a line of host code that launches kernels."""
    requests: int = 0
    sectors: int = 0
    wavefronts: int = 0


@dataclass
class Recording:
    """Filled while the recorded call runs; read it afterwards.

    Args:
        inputs: the grader's tensors. A learner's view of one of them reaches no further than the tensor itself.
        is_reversed: each launch's programs, or blocks, run last one first.
        ends_by: a `time.monotonic()` by which kernels should have ended, or None.
    """

    inputs: Sequence[torch.Tensor] = ()
    is_reversed: bool = False
    ends_by: float | None = None
    host: HostOps = field(default_factory=HostOps)
    findings: list[Finding] = field(default_factory=list)
    bytes_loaded: int = 0
    bytes_stored: int = 0
    sectors_loaded: int = 0
    sectors_stored: int = 0
    launches: int = 0
    programs: int = 0
    dot_flops: int = 0
    load_requests: int = 0
    store_requests: int = 0
    shared_requests: int = 0
    shared_wavefronts: int = 0
    bank_conflicts: int = 0
    atomics: int = 0
    barriers: int = 0
    threads: int = 0
    shared_bytes: int = 0
    mma: int = 0
    sites: dict[tuple[str, int, str], Site] = field(default_factory=dict)
    """By path, line and kind."""
    is_order_free: bool = True
    """False once a program of a launch may have touched what another one of it stored: until then any order of the
    programs comes to the same, as far as memory goes."""
    stopped_by: Finding | None = None
    """The fault that ended the call; nothing is launched after it."""

    def __post_init__(self) -> None:
        self._input_extents = [extent_of("", tensor) for tensor in self.inputs]
        self._loaded_bytes = dict.fromkeys((extent.storage for extent in self._input_extents), 0)
        self._stored: dict[int, npt.NDArray[np.uint8]] = {}
        # Storages are kept alive until the recording goes, so that no later tensor inherits the marks of a freed one.
        self._storages: dict[int, torch.UntypedStorage] = {}

    @property
    def host_ops(self) -> list[HostOp]:
        """The torch operations that host code ran."""
        return self.host.ops

    @property
    def work(self) -> Work:
        """The counted work so far."""
        return Work(
            **{figure: getattr(self, figure) for figure in COUNTS if figure not in (*COMMUNICATION, "dot_flops")},
            dot_flops=self.dot_flops + self.host.matmul_flops,
            **{figure: getattr(self.host.collectives, figure) for figure in COMMUNICATION},
            peak_bytes=self.host.allocations.peak_bytes,
            largest_tensor_bytes=self.host.allocations.largest_bytes,
            bytes_loaded_of=tuple(self._loaded_bytes[extent.storage] for extent in self._input_extents),
        )

    @property
    def is_full_of_races(self) -> bool:
        """True when no further race would be kept."""
        return self._n_races("error") >= MAX_RACES

    def note(self, finding: Finding) -> None:
        """Keeps a finding, once for each line, tensor and direction."""
        known = {_place(old) for old in self.findings}
        if _place(finding) not in known and not (finding.kind == RACE and self._n_races(finding.severity) >= MAX_RACES):
            self.findings.append(finding)

    def _n_races(self, severity: str) -> int:
        return sum(finding.kind == RACE and finding.severity == severity for finding in self.findings)

    def keep(self, tensor: torch.Tensor) -> None:
        """Remembers the storage of a tensor that a kernel may store into."""
        storage = tensor.untyped_storage()
        self._storages.setdefault(storage.data_ptr(), storage)

    def limits(self, extent: Extent) -> tuple[Extent, ...]:
        """The inputs that a view may not reach beyond; empty where it surely doesn't, or is of no input."""
        owners = [owner for owner in self._input_extents if owner.storage == extent.storage]
        return () if any(owner.covers(extent) for owner in owners) else tuple(owners)

    def count_loaded(self, storage: int, n_bytes: int) -> None:
        """Adds to the bytes that kernels loaded of the input in this storage, if it is one."""
        if storage in self._loaded_bytes:
            self._loaded_bytes[storage] += n_bytes

    def mark_stored(self, storage: int, access: Access) -> None:
        """Remembers that a kernel stored to these lanes, all of them in the storage that begins at `storage`."""
        marks = self._marks_of(storage)
        if access.is_run:
            marks[access.low - storage : access.high - storage] = 1
            return
        width = access.width
        offsets = (access.addresses - np.uint64(storage)).astype(np.int64)
        if storage % width == 0 and not (offsets % width).any():
            words = marks.view(f"u{width}")
            words[offsets // width] = int.from_bytes(b"\1" * width, "little")
        else:
            for byte in range(width):
                marks[offsets + byte] = 1

    def mark_bytes(self, storage: torch.UntypedStorage, written: npt.NDArray[np.uint8]) -> None:
        """Remembers which bytes of a storage a kernel stored to.

        Args:
            storage: the storage.
            written: not 0 for each such byte.
        """
        if storage.nbytes():
            self._storages.setdefault(storage.data_ptr(), storage)
            self._marks_of(storage.data_ptr())[: written.size] |= written != 0

    def stored_bytes(self, storage: torch.UntypedStorage) -> npt.NDArray[np.uint8] | None:
        """1 for each byte of a storage that a kernel has stored to, 0 for the others; None where none has."""
        marks = self._stored.get(storage.data_ptr())
        return None if marks is None else marks[: storage.nbytes()]

    def stored_into(self, tensor: torch.Tensor) -> int:
        """How many distinct elements of `tensor` kernels have stored to."""
        storage = tensor.untyped_storage().data_ptr()
        marks = self._stored.get(storage)
        if marks is None or tensor.numel() == 0:
            return 0
        itemsize = tensor.element_size()
        moving = [(size, step * itemsize) for size, step in zip(tensor.shape, tensor.stride(), strict=True) if step > 0]
        elements = np.lib.stride_tricks.as_strided(
            marks[tensor.data_ptr() - storage :],
            [size for size, _ in moving],
            [step for _, step in moving],
            writeable=False,
        )
        return int(np.count_nonzero(elements))

    def _marks_of(self, storage: int) -> npt.NDArray[np.uint8]:
        marks = self._stored.get(storage)
        if marks is None:
            n_words = -(-self._storages[storage].nbytes() // _WORD_BYTES)
            marks = self._stored[storage] = np.zeros(n_words * _WORD_BYTES, dtype=np.uint8)
        return marks


def _place(finding: Finding) -> tuple[str, str, str, int, str, bool]:
    return finding.severity, finding.kind, finding.path, finding.line, finding.tensor, finding.is_store


_running: list[Recording] = []
"""The recording that is going on, if one is."""


def running() -> Recording | None:
    """The recording that is going on in this process; None outside of a worker's calls."""
    return _running[-1] if _running else None


@contextmanager
def run_under(recording: Recording) -> Iterator[None]:
    """Makes it the one that `running` returns, until the block is left."""
    _running.append(recording)
    try:
        yield
    finally:
        _running.pop()
