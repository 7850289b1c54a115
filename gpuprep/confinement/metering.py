"""How much memory and disk a worker takes, with all that came of it. Its guardian looks, several times a second.

The kernel limits each process and each file (`confinement.rights`), and not what they take together. A cgroup would,
but most who may not make namespaces may not make one either; so whoever is found above the limit is killed.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

INTERVAL_S = 0.2
"""Between two looks. A core writes half a GiB in that time."""
MAX_MEMORY_BYTES = {"cpu": 4 * 2**30, "cuda": 32 * 2**30}
"""Of all of a worker's processes together; no more than half of the machine's."""
MAX_STORED_BYTES = {"cpu": 4 * 2**30, "cuda": 16 * 2**30}
"""Of the files in a folder on the disk."""
MAX_ENTRIES = 50_000
"""Of files and folders there."""
_LOOKS_A_FOLDER = 5
"""A folder is looked through every so many times."""
_BLOCK_BYTES = 512
_KIB = 1024


class Meter:
    """Looks at all descendants of this process.

    Args:
        device: `cpu` or `cuda`.
        folder: on the disk, that only they write to; "" where they have none.
    """

    def __init__(self, device: str, folder: str) -> None:
        kind = "cuda" if device == "cuda" else "cpu"
        self._most_memory = min(MAX_MEMORY_BYTES[kind], machine_bytes() // 2)
        self._most_stored = MAX_STORED_BYTES[kind]
        self._folder = folder
        self._n_looks = 0

    def excess(self) -> str:
        """What there is too much of, in words that follow "it"; empty where all is within its limits."""
        self._n_looks += 1
        pids = list(descendants(os.getpid()))
        # Pages that a fork shares with its template are no memory of its own, but take long to tell apart.
        if all(sum(map(count, pids)) + hidden_files(pids) > self._most_memory for count in (_roughly, _exactly)):
            return f"took more than {_gib(self._most_memory)} of memory"
        if self._folder and self._n_looks % _LOOKS_A_FOLDER == 0:
            n_entries, n_bytes = stored(self._folder)
            if n_bytes > self._most_stored:
                return f"wrote more than {_gib(self._most_stored)}"
            if n_entries > MAX_ENTRIES:
                return f"made more than {MAX_ENTRIES} files"
        return ""


def machine_bytes() -> int:
    """The machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def descendants(pid: int) -> Iterator[int]:
    """Process ids of all that came of a process and is still there."""
    # No recursion: a chain of forks may be longer than that can go.
    todo = _children(pid)
    while todo:
        yield (child := todo.pop())
        todo += _children(child)


def hidden_files(pids: list[int]) -> int:
    """Bytes of files that have no name any more, or never had one, such as memory files."""
    found: dict[tuple[int, int], int] = {}
    for pid in pids:
        for folder in _all(Path(f"/proc/{pid}/task")):
            for descriptor in _all(folder / "fd"):
                with contextlib.suppress(OSError):
                    status = descriptor.stat()
                    if stat.S_ISREG(status.st_mode) and not status.st_nlink:
                        found[status.st_dev, status.st_ino] = status.st_blocks * _BLOCK_BYTES
    return sum(found.values())


def stored(folder: str) -> tuple[int, int]:
    """Files and folders in a folder, and the bytes that they take; it stops counting at what is too many anyway."""
    n_entries, n_bytes, todo = 0, 0, [folder]
    while todo and n_entries <= MAX_ENTRIES:
        with contextlib.suppress(OSError), os.scandir(todo.pop()) as entries:
            for entry in entries:
                n_entries += 1
                with contextlib.suppress(OSError):
                    n_bytes += entry.stat(follow_symlinks=False).st_blocks * _BLOCK_BYTES
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
    return n_entries, n_bytes


def _all(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        # It ended meanwhile.
        return []


def _children(pid: int) -> list[int]:
    found = []
    for task in _all(Path(f"/proc/{pid}/task")):
        with contextlib.suppress(OSError):
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def _roughly(pid: int) -> int:
    """Memory of a process, pages that it shares with others counted in full."""
    return _fields(f"/proc/{pid}/status", ("RssAnon", "RssShmem"))


def _exactly(pid: int) -> int:
    """The same, of each such page only its share."""
    return _fields(f"/proc/{pid}/smaps_rollup", ("Pss_Anon", "Pss_Shmem"))


def _fields(path: str, names: tuple[str, ...]) -> int:
    total = 0
    with contextlib.suppress(OSError):
        for line in Path(path).read_text().splitlines():
            name, _, value = line.partition(":")
            if name in names:
                total += int(value.split()[0]) * _KIB
    return total


def _gib(n_bytes: int) -> str:
    return f"{n_bytes / 2**30:.3g} GiB"
