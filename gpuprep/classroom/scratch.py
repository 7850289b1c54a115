"""A folder for what graders need while they run, and the removal of those that killed ones left.

Whoever is killed can't clear away. If all processes of a grading are killed at once, the next grading does it: each
keeps a shared lock on its folder, which the kernel lets go with the last of them, so that a folder whose lock can be
had is nobody's.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

PREFIX = "gpuprep-grade-"


@contextlib.contextmanager
def own_folder() -> Iterator[Path]:
    """A folder that goes with this grading, or, if that is killed, with the next one."""
    clear_left()
    folder, lock = _made()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def hold(folder: Path) -> int:
    """Say that a folder is in use, for as long as this process, and its forks, live.

    Returns:
        The descriptor that says so, until it is closed.

    Raises:
        OSError: it is not there.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    # Whoever has it alone holds it for the moment that a removal takes.
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def clear_left() -> tuple[Path, ...]:
    """Remove the folders of gradings that were killed, and end what still runs in them.

    Returns:
        The folders.
    """
    return tuple(path for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*") if _is_cleared(path))


def _made() -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        # Before the lock is had, another grading may have taken it for one that was left.
        with contextlib.suppress(OSError):
            descriptor = hold(folder)
            if folder.is_dir() and os.path.samestat(folder.stat(), os.fstat(descriptor)):
                return folder, descriptor
            os.close(descriptor)


def _is_cleared(folder: Path) -> bool:
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        # Another user's, or gone by now.
        return False
    try:
        if os.fstat(descriptor).st_uid != os.geteuid():
            return False
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        _end_all_in(folder)
        shutil.rmtree(folder, ignore_errors=True)
        return not folder.exists()
    finally:
        os.close(descriptor)


def _end_all_in(folder: Path) -> None:
    """Kill what was started with that folder for its files, or is in there: a submission's process may be left."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            places = (process.cwd(), process.environ().get("TMPDIR", "/"))
            if any(Path(place).is_relative_to(folder) for place in places):
                process.kill()
