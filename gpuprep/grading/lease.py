"""Who may use a card now: checks that only judge what comes out share it, and whoever times has it alone.

A lease is a lock (`flock`) on a file that is named after the card's UUID. The kernel lets go of it with the process
that holds it, however that ends, so there is nothing that could be left stale. Whoever waits to time holds a second
one, the gate, which all pass on their way in: so a stream of checks that share a card keeps no timing waiting for ever.

The files lie in one folder for all users of a machine, since the card is one, too. What a user can do there, like
holding a lease for no reason, she can do on the card itself; and whoever uses the card without a lease is seen through
the driver (`grading.machine`). Only the trusted side holds leases: in a sandbox the files can't be opened.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from pathlib import Path

from gpuprep.errors import GpuprepError

FOLDER = Path("/tmp/gpuprep-cards")  # noqa: S108  not TMPDIR, which every process may have another of
WAITING = "waiting for the card: "
TO_USE = f"{WAITING}another check times on it"
TO_TIME = f"{WAITING}another check runs on it"
GOING_ON = "the card is free"
PASSING_S = 0.1

Tell = Callable[[str], None]

_FOLDER_MODE = 0o1777
_FILE_MODE = 0o644
_holds_one: ContextVar[bool] = ContextVar("holds_one", default=False)


def using(uuids: Sequence[str], tell: Tell, folder: Path = FOLDER) -> AbstractContextManager[None]:
    """Share cards for as long as the block lasts: nobody times on them meanwhile. Arguments are those of `timing`."""
    return _held(uuids, fcntl.LOCK_SH, TO_USE, tell, folder)


def timing(uuids: Sequence[str], tell: Tell, folder: Path = FOLDER) -> AbstractContextManager[None]:
    """Have cards alone for as long as the block lasts.

    Args:
        uuids: the cards'.
        tell: gets a few words where that has to be waited for, and when it is over.
        folder: where the locks are.

    Raises:
        GpuprepError: the locks can't be had.
    """
    return _held(uuids, fcntl.LOCK_EX, TO_TIME, tell, folder)


@contextlib.contextmanager
def _held(uuids: Sequence[str], how: int, why: str, tell: Tell, folder: Path) -> Iterator[None]:
    if _holds_one.get():
        raise RuntimeError("a lease within a lease would wait for itself")
    token = _holds_one.set(True)
    try:
        with contextlib.ExitStack() as stack:
            waiter = _Waiter(why, tell)
            # All in one order: so no two wait for each other.
            for uuid in sorted({_plain(each) for each in uuids}):
                with waiter.locked(folder, f"{uuid}.gate", fcntl.LOCK_EX):
                    stack.enter_context(waiter.locked(folder, uuid, how))
            waiter.is_over()
            yield
    finally:
        _holds_one.reset(token)


class _Waiter:
    """Takes locks, and says once that it has to wait, and once that it no longer does."""

    def __init__(self, why: str, tell: Tell) -> None:
        self._why = why
        self._tell = tell
        self._has_waited = False

    @contextlib.contextmanager
    def locked(self, folder: Path, name: str, how: int) -> Iterator[None]:
        descriptor = self._lock(folder, name, how)
        try:
            yield
        finally:
            # By name, too: a process that was forked meanwhile could still have it open.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    def is_over(self) -> None:
        if self._has_waited:
            self._tell(GOING_ON)

    def _lock(self, folder: Path, name: str, how: int) -> int:
        while True:
            descriptor = _opened(folder, name)
            try:
                if not _is_locked_soon(descriptor, how):
                    if not self._has_waited:
                        self._has_waited = True
                        self._tell(self._why)
                    fcntl.flock(descriptor, how)
                if _is_still(descriptor, folder / name):
                    return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            # Somebody tidied up: a lock on a file that nobody finds any more keeps nobody out.
            os.close(descriptor)


def _is_locked_soon(descriptor: int, how: int) -> bool:
    """True where the lock was to be had: somebody on the way through the gate is nobody to wait for."""
    deadline = time.monotonic() + PASSING_S
    while True:
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(PASSING_S / 20)
        else:
            return True


def _plain(uuid: str) -> str:
    """As torch writes it; the driver puts the kind of card before it."""
    plain = uuid.removeprefix("GPU-").removeprefix("MIG-")
    return "".join(char for char in plain if char.isalnum() or char == "-") or "unnamed"


def _opened(folder: Path, name: str) -> int:
    try:
        if not folder.is_dir():
            with contextlib.suppress(FileExistsError):
                folder.mkdir(parents=True)
                # Whoever made it, for all, gives back what the umask took, and nobody else: in somebody's place may by
                # now be a link to somewhere.
                folder.chmod(_FOLDER_MODE)
        while True:
            # To lock it, reading will do. And in a folder of all users the kernel may refuse to open another's file
            # with O_CREAT, even where it is there.
            with contextlib.suppress(FileNotFoundError):
                descriptor = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
                if stat.S_ISREG(os.fstat(descriptor).st_mode):
                    return descriptor
                os.close(descriptor)
                raise GpuprepError(f"{folder / name} is no file", next_step=f"remove {folder / name}")
            with contextlib.suppress(FileExistsError):
                flags = os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                descriptor = os.open(folder / name, flags, _FILE_MODE)
                # For all to read, whatever the umask.
                os.fchmod(descriptor, _FILE_MODE)
                return descriptor
    except OSError as error:
        raise GpuprepError(
            f"{folder}: the locks that keep two checks from timing at once can't be had ({error.strerror})",
            next_step=f"ls -ld {folder}: all users must be able to write there, as in /tmp",
        ) from error


def _is_still(descriptor: int, path: Path) -> bool:
    try:
        found = path.stat(follow_symlinks=False)
    except FileNotFoundError:
        return False
    ours = os.fstat(descriptor)
    return (found.st_dev, found.st_ino) == (ours.st_dev, ours.st_ino)
