"""The memory that Python and a running kernel share: one anonymous file, laid out anew for each launch."""

from __future__ import annotations

import ctypes
import mmap
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from gpuprep.channel import memory_file
from gpuprep.counters.extents import Extent

Bytes = npt.NDArray[np.uint8]

_PAGE = mmap.PAGESIZE
_KEPT_BYTES = 512 * 1024 * 1024
"""A file that has grown larger than this is not kept for the next launch."""


class SharedFile:
    """An anonymous file, mapped; it only grows."""

    def __init__(self) -> None:
        self.descriptor = memory_file("gpuprep-cuda")
        self.n_bytes = 0
        self._map: mmap.mmap | None = None
        self.view: Bytes = np.zeros(0, dtype=np.uint8)

    def grow(self, n_bytes: int) -> None:
        """Makes room for this many bytes."""
        if n_bytes <= self.n_bytes:
            return
        size = -(-n_bytes // _PAGE) * _PAGE
        os.ftruncate(self.descriptor, size)
        self.view = np.zeros(0, dtype=np.uint8)
        self._map = mmap.mmap(self.descriptor, size)
        self.view = np.frombuffer(self._map, dtype=np.uint8)
        self.n_bytes = size

    def close(self) -> None:
        """Gives the memory back; the mapping goes when nobody holds a view of it."""
        os.close(self.descriptor)
        self.view = np.zeros(0, dtype=np.uint8)
        self._map = None


_lock = threading.Lock()
_idle: list[tuple[int, SharedFile]] = []


@contextmanager
def shared_file() -> Iterator[SharedFile]:
    """A file for one launch. The last one is used again: its pages are there already.

    A process that was forked has none of its parent's: both would write into one memory.
    """
    with _lock:
        mine = [file for owner, file in _idle if owner == os.getpid()]
        _idle.clear()
    file = mine.pop() if mine else SharedFile()
    try:
        yield file
    finally:
        with _lock:
            if file.n_bytes <= _KEPT_BYTES and not _idle:
                _idle.append((os.getpid(), file))
            else:
                file.close()


@dataclass(frozen=True)
class Buffer:
    """Memory that a kernel may be given a pointer to: a whole storage, and the tensor in it.

    Args:
        name: what a person calls it: the kernel's parameter.
        address: of the storage's first byte, in this process.
        n_bytes: of the storage.
        extent: the tensor's elements; all else is out of bounds. None where every byte of the storage may be used.
    """

    name: str
    address: int
    n_bytes: int
    extent: Extent | None = None

    @property
    def low(self) -> int:
        """Bytes from the storage's start to the tensor's."""
        return self.extent.low - self.address if self.extent is not None else 0

    @property
    def high(self) -> int:
        """Bytes from the storage's start to the tensor's end."""
        return min(self.extent.high - self.address, self.n_bytes) if self.extent is not None else self.n_bytes

    @property
    def element_bytes(self) -> int:
        """Of one element; bytes where nothing is known."""
        return self.extent.itemsize if self.extent is not None else 1

    def valid(self) -> Bytes | None:
        """1 for each element between `low` and `high` that is the tensor's; None where there are no gaps."""
        if self.extent is None or self.extent.is_dense:
            return None
        count = max(self.high - self.low, 0) // self.element_bytes
        addresses = np.uint64(self.extent.low) + np.arange(count, dtype=np.uint64) * np.uint64(self.element_bytes)
        return self.extent.contains(addresses, self.element_bytes).astype(np.uint8)

    def memory(self) -> Bytes:
        """The storage itself."""
        memory = (ctypes.c_uint8 * self.n_bytes).from_address(self.address)
        return np.frombuffer(memoryview(memory).cast("B"), dtype=np.uint8)


@dataclass
class Plan:
    """Which part of the file holds what."""

    size: int = 0
    parts: dict[object, int] = field(default_factory=dict)

    def add(self, part: object, n_bytes: int, *, alignment: int = 64) -> int:
        """Reserves a part; the same part again is the same place."""
        if part not in self.parts:
            self.size = -(-self.size // alignment) * alignment
            self.parts[part] = self.size
            self.size += n_bytes
        return self.parts[part]


def storages(buffers: Sequence[Buffer]) -> list[int]:
    """For each buffer the number of its storage: views of one storage share it.

    Raises:
        ValueError: two storages overlap without being the same.
    """
    known: dict[tuple[int, int], int] = {}
    for buffer in buffers:
        known.setdefault((buffer.address, buffer.n_bytes), len(known))
    filled = sorted((address, n_bytes) for address, n_bytes in known if n_bytes)
    for (address, n_bytes), (next_address, _) in pairwise(filled):
        if next_address < address + n_bytes:
            raise ValueError("two buffers overlap and are not views of one storage: give whole storages")
    return [known[buffer.address, buffer.n_bytes] for buffer in buffers]
