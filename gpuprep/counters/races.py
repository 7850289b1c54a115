"""Who touched which element in one launch. Programs run one after another here, so plain results hide a race."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gpuprep.counters.accesses import Access
from gpuprep.counters.extents import Lanes

Index = slice | npt.NDArray[np.int64]
Marks = npt.NDArray[np.int32]

# How an element was last written; kept in the two low bits of its mark, the program's number above them.
PLAIN = 1
ATOMIC = 2
SYNCED = 3
"""A plain store by a program that had done an atomic before: its author ordered it by hand."""

_MANY = -1
"""More than one program has read the element."""


@dataclass(frozen=True)
class Conflict:
    """Lanes that touch what another program touched, without an atomic that would order the two."""

    lanes: Lanes
    other: int
    """Number of the other program at the first such lane; -1 where several have read it."""
    did: str
    """What the other program did: `stored`, `loaded`, `updated atomically`."""


class Shadow:
    """For each element between two addresses: which program wrote it last and how, and which has read it.

    Programs are numbered from 1. Arrays come with the first access that needs them; np.zeros costs no memory until
    its pages are touched.
    """

    def __init__(self, low: int, high: int, granule: int) -> None:
        self._low = low
        self._granule = granule
        self._n_elements = -(-(high - low) // granule)
        self._writer: Marks | None = None
        self._reader: Marks | None = None

    def index(self, access: Access) -> Index | None:
        """Where these lanes are kept; None for accesses that don't fit the elements, which go unchecked."""
        if access.width != self._granule:
            return None
        if access.is_run:
            start = (access.low - self._low) // access.width
            return slice(start, start + access.addresses.size)
        return ((access.addresses - np.uint64(self._low)) // np.uint64(access.width)).astype(np.int64)

    def load(self, index: Index, program: int, is_synced: bool) -> Conflict | None:
        """Notes a plain load; the conflict, if another program stored there."""
        conflict = None
        if self._writer is not None and not is_synced:
            marks = self._writer[index]
            lanes = (marks != 0) & (marks >> 2 != program) & (marks & 3 != ATOMIC)
            conflict = _conflict(lanes, marks >> 2, "stored")
        if self._reader is None:
            self._reader = np.zeros(self._n_elements, dtype=np.int32)
        readers = self._reader[index]
        self._reader[index] = np.where((readers == 0) | (readers == program), np.int32(program), np.int32(_MANY))
        return conflict

    def store(self, index: Index, program: int, is_synced: bool) -> list[Conflict]:
        """Notes a plain store; the conflicts, which are benign where the stored value changes nothing."""
        if self._writer is None:
            self._writer = np.zeros(self._n_elements, dtype=np.int32)
        conflicts: list[Conflict | None] = []
        if not is_synced:
            marks = self._writer[index]
            others = (marks != 0) & (marks >> 2 != program)
            is_atomic = marks & 3 == ATOMIC
            conflicts.append(_conflict(others & ~is_atomic, marks >> 2, "stored"))
            conflicts.append(_conflict(others & is_atomic, marks >> 2, "updated atomically"))
            if self._reader is not None:
                readers = self._reader[index]
                conflicts.append(_conflict((readers != 0) & (readers != program), readers, "loaded"))
        self._writer[index] = program << 2 | (SYNCED if is_synced else PLAIN)
        return [conflict for conflict in conflicts if conflict is not None]

    def atomic(self, index: Index, program: int, is_synced: bool) -> Conflict | None:
        """Notes an atomic; the conflict, if another program stored there plainly and unordered."""
        if self._writer is None:
            self._writer = np.zeros(self._n_elements, dtype=np.int32)
        marks = self._writer[index]
        is_plain = marks & 3 == PLAIN
        # A plain store stays on record: the program that initialises an accumulator often adds to it next.
        self._writer[index] = np.where(is_plain, marks, np.int32(program << 2 | ATOMIC))
        return None if is_synced else _conflict(is_plain & (marks >> 2 != program), marks >> 2, "stored")


def _conflict(lanes: Lanes, programs: Marks, did: str) -> Conflict | None:
    return Conflict(lanes, int(programs[lanes.argmax()]), did) if lanes.any() else None
