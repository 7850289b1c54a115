"""Levels of confinement, and what a worker at one of them is given all the same."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import gpuprep


class Level(StrEnum):
    """How strongly a worker is confined."""

    NONE = "none"
    LANDLOCK = "landlock"
    """Landlock, seccomp and limits: it sees that files are there, and reads and writes only its own."""
    FULL = "full"
    """Namespaces of its own, seccomp and limits: nothing else is there for it."""


STRONGEST_FIRST = (Level.FULL, Level.LANDLOCK)

SYSTEM_TREES = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store")
"""Programs and libraries: what a compiler needs, and what Python's modules are linked to."""
SYSTEM_FILES = ("/etc/ld.so.cache", "/etc/localtime")
SYSTEM_LINKS = "/etc/alternatives"
"""Where Debian's `/usr/bin/c++` leads through."""
CPU_FACTS = ("/sys/devices/system/cpu", "/sys/devices/system/node")
PROC_FACTS = ("cpuinfo", "meminfo", "stat", "uptime", "version", "filesystems", "sys/kernel/osrelease")
"""Of /proc: the machine, and nothing of other processes."""
DEVICES = ("null", "zero", "full", "random", "urandom")
_CARD_FOLDERS = ("LD_LIBRARY_PATH", "CUDA_PATH", "CUDA_HOME")
"""Variables that name folders of CUDA's libraries and headers."""


@dataclass(frozen=True)
class Confinement:
    """A level, and what belongs to one check: paths are absolute."""

    level: Level
    device: str = "cpu"
    """`cuda` adds the card's device nodes and what its driver reads."""
    read: tuple[str, ...] = ()
    """Files."""
    write: tuple[str, ...] = ()
    """Folders."""
    hidden: tuple[str, ...] = ()
    """Folders that must not be read, even where they lie in a tree that may be."""
    links: tuple[tuple[str, str], ...] = ()
    """Places in its own folder, and the files that they lead to."""
    has_loopback: bool = False
    """It may open sockets, to processes of the same private network."""
    uid: int = 0
    """The user to become, where root starts it; 0 to stay who one is."""

    def as_dict(self) -> dict[str, Any]:
        """As it goes to a template."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Confinement:
        """The same again, from JSON."""
        return cls(**{**{key: _tuples(value) for key, value in fields.items()}, "level": Level(fields["level"])})


def trees() -> list[str]:
    """Folders that any worker may read and run programs from, none inside another."""
    found = [*SYSTEM_TREES, sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix]
    # A checkout is on the path too, and has the references in it; only its package is needed.
    found += [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    found.append(str(Path(gpuprep.__file__).resolve().parent))
    return list(_outermost(path for path in found if path not in ("", "/") and Path(path).is_dir()))


def card_trees(environment: Mapping[str, str]) -> list[str]:
    """Folders beside the system's own that CUDA's libraries and headers lie in."""
    named = [part for name in _CARD_FOLDERS for part in environment.get(name, "").split(":")]
    return [path for path in named if path.startswith("/") and path != "/" and Path(path).is_dir()]


def card_devices() -> list[str]:
    """The card's device nodes."""
    folder = Path("/dev")
    return sorted(str(path) for path in (*folder.glob("nvidia*"), *folder.glob("nvidia-caps/*")) if not path.is_dir())


def without(tree: str, hidden: Iterable[str]) -> tuple[list[str], list[str]]:
    """What of a tree may be read when some of it must not.

    Returns:
        Paths that may be read whole, and folders of which only the names may be: those that lead to what is hidden.
    """
    inside = [path for path in hidden if Path(path).is_relative_to(tree)]
    if not inside:
        return [tree], []
    if tree in inside:
        return [], []
    whole, names = [], [tree]
    for entry in os.scandir(tree):
        more, fewer = without(entry.path, inside) if entry.is_dir(follow_symlinks=False) else ([entry.path], [])
        whole += more
        names += fewer
    return whole, names


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _outermost(paths: Iterable[str]) -> Iterator[str]:
    kept: list[Path] = []
    for path in sorted(Path(path) for path in set(paths)):
        if not any(path.is_relative_to(other) for other in kept if not other.is_symlink()):
            kept.append(path)
            yield str(path)
