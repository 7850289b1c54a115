"""Starts a process at its level: forked where that is enough, with namespaces of its own where it takes those."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import struct
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from gpuprep.confinement import kernel, namespaces, rights
from gpuprep.confinement.kernel import RefusedError
from gpuprep.confinement.permits import Confinement, Level

_MESSAGE_BYTES = 4096
_CREDENTIALS, _DESCRIPTOR = struct.Struct("3i"), struct.Struct("i")
_SCM_CREDENTIALS = 2
_HERE = b"here"


@dataclass(frozen=True)
class Started:
    """A process that was started, as the one that watches over it sees it."""

    pid: int
    """Whom to wait for: the worker, or the init of its namespace. When that has ended, so has all that is in there."""
    worker: int
    """The worker's process id."""
    handle: int
    """A descriptor of the worker."""
    _said: socket.socket | None = None

    @property
    def descriptors(self) -> set[int]:
        """What has to stay open until it has ended."""
        return {self.handle, self._said.fileno()} if self._said is not None else {self.handle}

    def interrupt(self, number: signal.Signals) -> None:
        """Send the worker a signal."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.handle, number)

    def exit_code(self) -> int:
        """How the worker ended, as in `Popen.returncode`. To be asked once `pid` has ended; that stays a zombie."""
        if self._said is not None:
            with contextlib.suppress(OSError, ValueError):
                return int(self._said.recv(_MESSAGE_BYTES, socket.MSG_DONTWAIT))
        result = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        assert result is not None  # noqa: S101  WNOHANG was not asked for
        return result.si_status if result.si_code == os.CLD_EXITED else -result.si_status


def start(confinement: Confinement | None, network: tuple[int, int] | None, work: Callable[[], None]) -> Started:
    """Fork a process that does some work, in namespaces of its own at FULL.

    What a process takes from itself (`lockdown.confine`) is the work's to do.

    Raises:
        RefusedError: the kernel makes no such namespaces.
    """
    if confinement is None or confinement.level is not Level.FULL:
        pid = os.fork() or finish(lambda: _first_to_go(work))
        return Started(pid, pid, os.pidfd_open(pid))
    namespaces.leave_processes(confinement, network)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    # The kernel says who a message is from, by the number that the process has out here.
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)

    def be_init() -> None:
        ours.close()
        _be_init(confinement, network, theirs, work)

    pid = os.fork() or finish(lambda: _first_to_go(be_init))
    theirs.close()
    room = socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(_DESCRIPTOR.size)
    said, ancillary, _, _ = ours.recvmsg(_MESSAGE_BYTES, room, socket.MSG_CMSG_CLOEXEC)
    if said != _HERE:
        ours.close()
        os.waitpid(pid, 0)
        raise RefusedError(0, said.decode(errors="replace") or "its namespaces could not be made")
    came = {kind: data for _, kind, data in ancillary}
    worker = _CREDENTIALS.unpack(came[_SCM_CREDENTIALS][: _CREDENTIALS.size])[0]
    handle = _DESCRIPTOR.unpack(came[socket.SCM_RIGHTS][: _DESCRIPTOR.size])[0]
    return Started(pid, worker, handle, ours)


def _first_to_go(work: Callable[[], None]) -> None:
    rights.be_first_to_go()
    work()


def finish(work: Callable[[], None]) -> NoReturn:
    """What a forked process does, and its end: it never returns into the one that it was forked from."""
    try:
        work()
    except BaseException:  # noqa: BLE001  nobody else is there to report it
        traceback.print_exc()
    finally:
        os._exit(1)


def close_all_but(kept: set[int]) -> None:
    """Close every descriptor but these and the three standard ones."""
    for descriptor in {int(path.name) for path in Path("/proc/self/fd").iterdir()} - kept - {0, 1, 2}:
        # The listing's own is closed by now.
        with contextlib.suppress(OSError):
            os.close(descriptor)


def _be_init(
    confinement: Confinement, network: tuple[int, int] | None, theirs: socket.socket, work: Callable[[], None]
) -> None:
    try:
        namespaces.enter(confinement, network)
    except OSError as error:
        theirs.send(str(error.strerror or error).encode())
        os._exit(1)

    def be_worker() -> None:
        # Its handle comes from itself: from its number nobody could make one any more, once it has ended and init,
        # which may be quicker than the one out there, has buried it.
        handle = os.pidfd_open(os.getpid())
        socket.send_fds(theirs, [_HERE], [handle])
        os.close(handle)
        theirs.close()
        work()

    worker = os.fork() or finish(be_worker)
    close_all_but({theirs.fileno()})
    # It only waits from here on, and whoever is in here with it has nothing to gain from it.
    rights.become(confinement.uid)
    kernel.set_dumpable(False)
    kernel.die_with_parent()
    if _is_alone(theirs):
        # The guardian died before the line above. What is in here dies with its init.
        os._exit(1)
    pid, status = 0, 0
    while pid != worker:
        pid, status = os.wait()
    theirs.send(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _is_alone(end: socket.socket) -> bool:
    """True where nobody has the other end any more."""
    events = select.poll()
    events.register(end, 0)
    return bool(events.poll(0))
