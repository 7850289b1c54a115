"""A pool of one's own: warm as long as its owner lives, with no name by which anybody else could find it.

    owner ──(an inherited socket: a connection for each check)──► server ──fork──► grader        see pool_server

It is what a command holds that checks again and again. However the owner ends, its end of the socket closes, and the
pool goes with all that it started.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import sys
from types import TracebackType
from typing import Self

import psutil

from gpuprep.grading import pool_line
from gpuprep.grading.births import package_root

_BOOTSTRAP = (
    "import sys; sys.dont_write_bytecode = True; sys.path.append(sys.argv[1]);"
    "from gpuprep.grading.pool_server import main_for_owner; main_for_owner(int(sys.argv[2]))"
)
WARM_LIMIT_S = 120.0
"""Importing torch from a cold disk can take most of a minute, and its template does it as well."""
END_LIMIT_S = 1.0
"""How long it may take to go by itself. One that still imports doesn't listen, and is killed then."""


class OwnPool:
    """The owner's end. Leaving its context ends the pool.

    Raises:
        OSError: it can't be started.
    """

    def __init__(self) -> None:
        self._end, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _BOOTSTRAP, str(package_root()), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                # The pool's own threads: a fork beside another one could hang. A check takes its asker's environment.
                env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
                cwd="/",
                start_new_session=True,
            )
        self._is_warm = False

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._process.pid

    @property
    def is_warm(self) -> bool:
        """True where its imports are done."""
        return self._is_warm or (_is_readable(self._end) and self.wait_until_warm())

    def wait_until_warm(self) -> bool:
        """Wait for its imports. False where it died, hangs or was closed meanwhile."""
        if not self._is_warm:
            with contextlib.suppress(OSError, ValueError):
                self._is_warm = _is_readable(self._end, WARM_LIMIT_S) and self._end.recv(16) == b"warm"
        return self._is_warm

    def call_ahead(self) -> bool:
        """Open a line for the check that comes next, which then goes to this pool. False where the pool is gone."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            try:
                socket.send_fds(self._end, [b"check"], [theirs.fileno()])
                pool_line.use(ours)
            except OSError:
                ours.close()
                return False
        return True

    def close(self) -> None:
        """End the pool, and all that it started."""
        is_listening = self._is_warm or _is_readable(self._end)
        with contextlib.suppress(OSError):
            # Wakes whoever waits in another thread, which closing alone doesn't.
            self._end.shutdown(socket.SHUT_RDWR)
        self._end.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_LIMIT_S if is_listening else 0)
        if self._process.returncode is None:
            _kill_tree(self._process.pid)
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _is_readable(end: socket.socket, timeout_s: float = 0.0) -> bool:
    events = select.poll()
    events.register(end, select.POLLIN)
    return bool(events.poll(timeout_s * 1000))


def _kill_tree(pid: int) -> None:
    """Kill a process with its descendants, and those that it starts meanwhile: stopped first, it starts none."""
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(pid)
        root.suspend()
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                process.kill()
