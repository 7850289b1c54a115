"""One process at a time grades into a folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from gpuprep.errors import UsageError


@contextlib.contextmanager
def locked(out: Path) -> Iterator[None]:
    """Keep everybody else from grading into a folder.

    Raises:
        UsageError: somebody does, or its file system knows no locks.
    """
    try:
        descriptor = os.open(out, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"{out} can't be used: {error.strerror}", next_step="name another folder") from error
    try:
        try:
            # It goes with this process, however that ends, and leaves no file.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"another gpuprep grades into {out} now", next_step="wait for it") from None
        except OSError as error:
            raise UsageError(
                f"{out} can't be locked: {error.strerror}", next_step="name a folder on a disk of this machine, not NFS"
            ) from error
        yield
    finally:
        os.close(descriptor)
