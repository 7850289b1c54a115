"""A pool that runs in the background: it has all of the trusted side imported, and forks a grader for each check.

    gpuprep check ──(socket: a line of JSON each way)──► server ── fork ──► grader ──► workers, from the templates
                                                           └─ starts, and watches over, the templates

The server runs no check itself, has one thread, and leaves CUDA alone, as a template does. A grader is a process of its
own for one check: it takes over its asker's environment and folder, so that the check is the one that the asker would
have made, and dies with its asker.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Protocol

from gpuprep.curriculum import Curriculum
from gpuprep.errors import GpuprepError
from gpuprep.grading import pool_address
from gpuprep.grading.births import BIRTHS, become_reaper, kill_orphans
from gpuprep.grading.card import card_is_likely, open_card
from gpuprep.grading.pool import WarmPool
from gpuprep.grading.pool_line import OWNED
from gpuprep.grading.reports import exercise_from
from gpuprep.grading.session import check

REQUEST_BYTES = 2**24
NEVER_S = 7 * 24 * 3600.0
"""How long an owner's pool waits for its next check: it ends with its owner."""


def main(idle_s: float) -> NoReturn:
    """Get warm, listen, and serve until nothing was asked for `idle_s` seconds.

    Whoever started it waits for its stderr to close.
    """
    become_reaper()
    name = pool_address.key()
    with WarmPool() as pool:
        pool.start("interpreted", *(("compiled", "trusted") if card_is_likely() else ()))
        _get_ready()
        if not pool.wait_until_warm():
            sys.exit("a template did not start; gpuprep doctor may say why")
        with pool_address.opened_folder(is_new=True) as folder:
            if folder is None:
                sys.exit("the folder of the pools' sockets is open to others")
            if listener := pool_address.listen(folder, name):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, sys.stderr.fileno())
                _Server(name, listener, pool, idle_s).run(lambda: pool_address.remove(folder, name))
    os._exit(0)


def main_for_owner(owner: int) -> NoReturn:
    """Get warm, say so, and serve one process alone, as long as that lives. No name, and nobody else, leads here.

    Args:
        owner: an inherited socket, on which a connection arrives for each check; it closes when the owner ends.
    """
    become_reaper()
    with WarmPool() as pool, socket.socket(fileno=owner) as end:
        pool.start("interpreted", *(("compiled", "trusted") if card_is_likely() else ()))
        _get_ready()
        if pool.wait_until_warm():
            end.send(b"warm")
            _Server(OWNED, Handed(end), pool, NEVER_S).run(lambda: None)
    os._exit(0)


class _Listener(Protocol):
    """Where connections come from."""

    def fileno(self) -> int: ...

    def accept(self) -> tuple[socket.socket, Any]: ...

    def close(self) -> None: ...


class Handed:
    """Connections that an owner hands over, one a message."""

    def __init__(self, owner: socket.socket) -> None:
        self._owner = owner
        self.fileno = owner.fileno
        self.close = owner.close

    def accept(self) -> tuple[socket.socket, None]:
        """The next connection.

        Raises:
            OSError: a message without one.
        """
        _, descriptors, _, _ = socket.recv_fds(self._owner, 16, 1, flags=socket.MSG_CMSG_CLOEXEC)
        if not descriptors:
            raise ConnectionAbortedError("nothing was handed over")
        return socket.socket(fileno=descriptors[0]), None


@dataclass(frozen=True)
class _Grader:
    pid: int
    handle: int
    """A descriptor of the process, readable when it has ended."""
    connection: socket.socket


class _Server:
    def __init__(self, name: str, listener: _Listener, pool: WarmPool, idle_s: float) -> None:
        self._name = name
        self._listener = listener
        self._pool = pool
        self._idle_s = idle_s
        self._events = select.poll()
        self._graders: dict[int, _Grader] = {}
        """By each of their descriptors."""

    def run(self, stop_listening: Callable[[], None]) -> None:
        """Serve until it is idle for too long, or gets a SIGTERM; then finish what is being graded."""
        woken, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake)
        signal.signal(signal.SIGTERM, lambda *_: None)
        for descriptor in (woken, self._listener.fileno()):
            self._events.register(descriptor, select.POLLIN)
        is_listening = True
        while is_listening or self._graders:
            ready = dict(self._events.poll(None if self._graders else self._idle_s * 1000))
            # An owner hangs up by going away; a listening socket never does.
            is_disowned = bool(is_listening and ready.get(self._listener.fileno(), 0) & select.POLLHUP)
            # First of all, so that whoever has asked for the end, and sees his grader gone, finds nobody listening.
            if is_listening and (not ready or woken in ready or is_disowned):
                is_listening = False
                for descriptor in (woken, self._listener.fileno()):
                    self._events.unregister(descriptor)
                stop_listening()
                self._listener.close()
            if is_disowned:
                for grader in set(self._graders.values()):
                    self._look_after(grader, grader.connection.fileno())
            for descriptor in ready:
                if descriptor in self._graders:
                    self._look_after(self._graders[descriptor], descriptor)
                elif is_listening and descriptor == self._listener.fileno():
                    self._accept()

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        if not pool_address.is_own(connection) or not _may_fork():
            connection.close()
            return
        self._pool.revive()
        pid = os.fork() or self._grade(connection)
        grader = _Grader(pid, os.pidfd_open(pid), connection)
        for descriptor, event in ((grader.handle, select.POLLIN), (connection.fileno(), select.POLLRDHUP)):
            self._graders[descriptor] = grader
            self._events.register(descriptor, event)

    def _look_after(self, grader: _Grader, descriptor: int) -> None:
        if descriptor != grader.handle:
            # Nobody waits for its verdict. Its workers' guardians see it go.
            signal.pidfd_send_signal(grader.handle, signal.SIGTERM)
            self._events.unregister(self._forget(descriptor))
            return
        os.waitpid(grader.pid, 0)
        for known in (grader.handle, grader.connection.fileno()):
            if known in self._graders:
                self._events.unregister(self._forget(known))
        os.close(grader.handle)
        grader.connection.close()
        if not self._graders:
            # What a killed grader left, or a worker that had killed its guardian and its template.
            with BIRTHS:
                kill_orphans(set())

    def _forget(self, descriptor: int) -> int:
        del self._graders[descriptor]
        return descriptor

    def _grade(self, connection: socket.socket) -> NoReturn:
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            self._listener.close()
            for other in set(self._graders.values()):
                # Or an asker would not see that its own grader has ended.
                other.connection.close()
            self._pool.lend()
            self._answer(connection)
        except BaseException:  # noqa: BLE001  the asker, who hears nothing, does it himself and sees for himself
            traceback.print_exc()
        finally:
            os._exit(0)

    def _answer(self, connection: socket.socket) -> None:
        lines = connection.makefile("rb")
        greeting = json.loads(lines.readline(REQUEST_BYTES))
        if greeting["name"] != self._name:
            _tell(connection, {"refused": "another version"})
            return
        if greeting["is_for_check"]:
            os.environ.clear()
            os.environ.update(greeting["environment"])
            os.chdir(greeting["folder"])
            self._pool.prepare("cpu")
            if greeting["is_for_card"] and card_is_likely():
                open_card()
                self._pool.prepare("cuda")
        request = json.loads(lines.readline(REQUEST_BYTES))
        if request["do"] == "status":
            status = {"pid": os.getppid(), "templates": self._pool.pids(), "idle_s": self._idle_s}
            _tell(connection, {"status": status})
        elif request["do"] == "stop":
            os.kill(os.getppid(), signal.SIGTERM)
            _tell(connection, {"stopped": os.getppid()})
        else:
            _check(connection, request, self._pool)
            # It hangs up now, and that is to end this process no more before all is cleared away.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            self._pool.settle()


def _check(connection: socket.socket, request: Mapping[str, Any], pool: WarmPool) -> None:
    import torch

    # The server had to do with one.
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    exercise = exercise_from(request["exercise"])
    curriculum = Curriculum(Path(request["root"]), title="", modules=(), exercises=(exercise,), plans=())
    try:
        report = check(
            exercise,
            curriculum,
            Path(request["path"]),
            device=request["device"],
            timeout_s=request["timeout_s"],
            on_event=lambda event: _tell(connection, {"event": event}),
            pool=pool,
        )
    except GpuprepError as error:
        kind = type(error).__name__
        _tell(connection, {"error": {"kind": kind, "message": error.message, "next_step": error.next_step}})
    else:
        _tell(connection, {"report": report.as_dict()})


def _tell(connection: socket.socket, message: Mapping[str, Any]) -> None:
    connection.sendall(json.dumps(message).encode() + b"\n")


def _may_fork() -> bool:
    import torch

    return sum(1 for _ in Path("/proc/self/task").iterdir()) == 1 and not torch.cuda.is_initialized()  # type: ignore[no-untyped-call]


def _get_ready() -> None:
    """Import what a check imports when it comes to it."""
    for module in ("torch", "gpuprep.grading.speed"):
        importlib.import_module(module)
    # What is there now is never collected, so that forks share its memory.
    gc.collect()
    gc.freeze()
