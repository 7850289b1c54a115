"""Where a pool that runs in the background is found: a socket in a folder that only its user may enter.

Its name is made from everything that a pool and its askers must agree on: versions, paths, and the files of gpuprep.
Both ends look at each other's user as well. That keeps other users out, and stale pools unused.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import importlib.util
import json
import os
import socket
import stat
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import gpuprep

_AGREED_VARIABLES = ("LD_LIBRARY_PATH", "LANG", "LC_ALL", "PYTHONPATH")
"""What a process takes from its environment when it starts, so that a fork can't follow the asker's."""
_SUFFIX = ".sock"
_BACKLOG = 64
_CREDENTIALS = struct.Struct("3i")
"""pid, user, group: what SO_PEERCRED gives."""


def key() -> str:
    """The name that a pool of this version, for this interpreter and environment, goes by."""
    package = Path(gpuprep.__file__).resolve().parent
    sources = [(str(path.relative_to(package)), *_stamp(path)) for path in sorted(package.rglob("*.py"))]
    libraries = [_stamp(origin) for origin in map(_origin, ("torch", "triton", "numpy")) if origin]
    variables = [os.environ.get(name) for name in _AGREED_VARIABLES]
    agreed = [gpuprep.__version__, str(package), sources, libraries, sys.version, sys.prefix, os.getuid(), variables]
    return hashlib.sha256(json.dumps(agreed).encode()).hexdigest()[:24]


def _stamp(path: Path) -> tuple[str, int, int]:
    found = path.stat()
    return str(path), found.st_size, found.st_mtime_ns


def _origin(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    return Path(spec.origin) if spec and spec.origin else None


@contextlib.contextmanager
def opened_folder(*, is_new: bool = False) -> Iterator[int | None]:
    """A descriptor of the folder of sockets; None where there is none, or one that others may enter.

    Args:
        is_new: make it where it is missing.
    """
    path = _folder()
    if is_new:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    try:
        found = os.fstat(descriptor)
        is_private = found.st_uid == os.getuid() and stat.S_IMODE(found.st_mode) & 0o077 == 0
        yield descriptor if is_private else None
    finally:
        os.close(descriptor)


def _folder() -> Path:
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(runtime) / "gpuprep"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gpuprep" / "run"


def names(folder: int) -> list[str]:
    """The pools that are, or were, in the folder."""
    return [entry.name.removesuffix(_SUFFIX) for entry in os.scandir(folder) if entry.name.endswith(_SUFFIX)]


def connect(folder: int, name: str) -> socket.socket | None:
    """A connection to the pool of that name; None where nobody of this user listens.

    What a pool left behind that was killed is removed.
    """
    end, error = _try(folder, name)
    if error == errno.ECONNREFUSED:
        with _alone(folder):
            # Another pool may have taken the place meanwhile.
            end, error = _try(folder, name)
            if error == errno.ECONNREFUSED:
                remove(folder, name)
    return end


def listen(folder: int, name: str) -> socket.socket | None:
    """A listening socket of that name; None where a pool listens there already."""
    with _alone(folder):
        found, _ = _try(folder, name)
        if found is not None:
            found.close()
            return None
        remove(folder, name)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(_place(folder, name))
        listener.listen(_BACKLOG)
        return listener


def remove(folder: int, name: str) -> None:
    """Remove a pool's name, if it is there."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name + _SUFFIX, dir_fd=folder)


def is_own(end: socket.socket) -> bool:
    """True when the process at the other end runs as this user."""
    _, user, _ = _CREDENTIALS.unpack(end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return bool(user == os.getuid())


def _try(folder: int, name: str) -> tuple[socket.socket | None, int]:
    end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    error = end.connect_ex(_place(folder, name))
    if not error and is_own(end):
        return end, 0
    end.close()
    return None, error


def _place(folder: int, name: str) -> str:
    # By descriptor: a socket's path may have 107 bytes at most, a home folder's may have more.
    return f"/proc/self/fd/{folder}/{name}{_SUFFIX}"


@contextlib.contextmanager
def _alone(folder: int) -> Iterator[None]:
    """Nobody else removes or takes a name meanwhile."""
    fcntl.flock(folder, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(folder, fcntl.LOCK_UN)
