"""Fewer and larger pages for a process that is going to be forked often.

A fork copies the table of its parent's pages, entry by entry, and its end goes through it again: 40 000 entries once
torch and Triton are imported, and most forks here are guardians that use next to nothing of it. Where the kernel can,
it joins 512 pages to one; a fork that writes to one of those gets its own copy of the 4 KiB alone, as before.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path

HUGE_BYTES = 2 * 2**20
_MADV_COLLAPSE = 25
"""Of Linux 6.1, whatever the system's setting is for huge pages."""


def collapse() -> None:
    """Join this process's own pages where they can be. An older kernel leaves them as they are."""
    madvise = ctypes.CDLL(None).madvise
    for low, high in _own_memory():
        first, last = -(-low // HUGE_BYTES) * HUGE_BYTES, high // HUGE_BYTES * HUGE_BYTES
        if first < last:
            madvise(ctypes.c_void_p(first), ctypes.c_size_t(last - first), _MADV_COLLAPSE)


def _own_memory() -> Iterator[tuple[int, int]]:
    """From where to where this process's heap and its memory without a file reach."""
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        place, rights, _, _, inode, *name = line.split(maxsplit=5)
        if rights == "rw-p" and inode == "0" and (not name or name[0] == "[heap]"):
            low, high = place.split("-")
            yield int(low, 16), int(high, 16)
