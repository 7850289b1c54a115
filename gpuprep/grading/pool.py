"""Warm templates: processes with torch and Triton imported, from which a worker is forked in some milliseconds.

Three kinds, in processes of their own, none of which ever runs a learner's code itself:

    interpreted   for learners' code in Triton's interpreter, without a card; and for the witness, which runs none of it
    compiled      for learners' code on a card; CUDA is initialised by the fork, never before
    trusted       for workers on a card that run our code only

What keeps a learner's code from a template is that it can't name the sockets: they are inherited ends of socket pairs,
bound to no path, and closed in every worker. What doesn't is the system's own power over processes of one user: it
may signal the template, and, where ptrace is allowed between any two of a user's processes, change it. The first makes
the next checks slower. The second is as open as it would be to change the grader itself.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from gpuprep.grading.births import (
    BIRTHS,
    LIVE,
    Ends,
    Forked,
    become_reaper,
    environment,
    package_root,
    reap_ended,
)
from gpuprep.grading.guarded import Bounds, send_request

if TYPE_CHECKING:
    from gpuprep.grading.process import WorkerProcess

WARM_LIMIT_S = 120.0
"""How long a template's imports may take, from a cold disk."""
BIRTH_LIMIT_S = 10.0
"""How long a warm template may take to fork. It takes milliseconds; one that takes longer was stopped or broken."""
MAX_STARTS = 4
"""Of one template: whoever keeps killing it gets cold workers in the end, not a machine that only imports torch."""

_BOOTSTRAP = (
    "import sys; sys.dont_write_bytecode = True; sys.path.append(sys.argv[1]);"
    "from gpuprep.worker.template import main;"
    "main(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))"
)
_KINDS = {"cpu": "interpreted", "cuda": "compiled", "witness": "interpreted"}
_DEVICES = {"interpreted": "cpu", "compiled": "cuda", "trusted": "cuda"}
_READ_AT_START = ("LD_LIBRARY_PATH", "LANG", "LC_ALL")
"""What a process takes from its environment when it starts, and a fork can't take in any more."""


class WarmPool:
    """Templates of all kinds, each started when it is first asked for. Leaving the context ends them.

    Workers that were forked from them go on: each has a guardian.
    """

    def __init__(self) -> None:
        self._templates: dict[str, _Template] = {}
        self._starts: dict[str, int] = {}
        self._lock = threading.Lock()
        self._is_lent = False
        self._is_early = False
        self._prepared: dict[str, WorkerProcess] = {}
        self._ends: list[Callable[[], None]] = []
        self._environment = {name: os.environ.get(name) for name in _READ_AT_START}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def fork(
        self, device: str, nonce: bytes, ends: Ends, *, is_trusted: bool = False, bounds: Bounds | None = None
    ) -> Forked | None:
        """Ask for a worker. The answer is awaited by `Forked.wait_until_born`; here nothing blocks.

        Args:
            device: as `WorkerProcess` knows it.
            nonce: of its channel.
            ends: what it is given.
            is_trusted: it will run no learner's code.
            bounds: how it is confined.

        Returns:
            None where it has to be started cold.
        """
        kind = "trusted" if is_trusted and device == "cuda" else _KINDS.get(device)
        if kind is None or any(os.environ.get(name) != value for name, value in self._environment.items()):
            return None
        template = self._template(kind)
        return template.fork(device, nonce, ends, bounds, is_early=self._is_early) if template else None

    def start(self, *kinds: str) -> None:
        """Start templates ahead of their first use."""
        for kind in kinds:
            self._template(kind)

    def wait_until_warm(self) -> bool:
        """Wait for the imports of all that were started. False where one died or hangs."""
        deadline = time.monotonic() + WARM_LIMIT_S
        return all(template.wait_until_warm(deadline) for template in self._templates.values())

    def lend(self) -> None:
        """To be called in a fork of the pool's owner: use its templates, and leave their lives to the owner."""
        self._is_lent = True
        for template in self._templates.values():
            template.lend()

    def prepare(self, device: str) -> None:
        """Ask for a worker before it is needed; `take` hands it out."""
        from gpuprep.grading.process import WorkerProcess

        self._is_early = True
        self._prepared[device] = WorkerProcess(device, self)
        self._is_early = False

    def take(self, device: str) -> WorkerProcess | None:
        """The worker that was prepared, if one was."""
        return self._prepared.pop(device, None)

    def defers(self, end: Callable[[], None]) -> bool:
        """True where the end of a worker may be waited for after the report was handed in: `settle` does."""
        if self._is_lent:
            self._ends.append(end)
        return self._is_lent

    def settle(self) -> None:
        """Wait for the ends that were deferred."""
        while self._ends:
            self._ends.pop()()

    def is_whole(self) -> bool:
        """False where a template has died."""
        return all(template.is_alive() for template in self._templates.values())

    def pids(self) -> dict[str, int]:
        """Process ids of the templates, by kind."""
        return {kind: template.pid for kind, template in self._templates.items()}

    def revive(self) -> None:
        """Start templates anew that have died."""
        self.start(*self._templates)

    def close(self) -> None:
        """End the templates."""
        with self._lock:
            for template in self._templates.values():
                template.end()
            self._templates.clear()

    def _template(self, kind: str) -> _Template | None:
        with self._lock:
            found = self._templates.get(kind)
            if found is not None and found.is_alive():
                return found
            if self._is_lent or self._starts.get(kind, 0) >= MAX_STARTS:
                return None
            if found is not None:
                found.end()
            self._starts[kind] = self._starts.get(kind, 0) + 1
            try:
                self._templates[kind] = _Template(kind)
            except OSError:
                # No process or descriptor left: a cold worker will say so better.
                self._templates.pop(kind, None)
            return self._templates.get(kind)


class _Template:
    """The owner's end of a template's process."""

    def __init__(self, kind: str) -> None:
        become_reaper()
        self._control, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._owner, owner = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        given = (control.fileno(), owner.fileno())
        with control, owner, BIRTHS:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", _BOOTSTRAP, str(package_root()), kind, *map(str, given)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=given,
                env=environment(_DEVICES[kind]),
                start_new_session=True,
            )
            LIVE.add(self.pid)
        # Names the process for good: a number could come to mean another one.
        self._handle = os.pidfd_open(self.pid)
        self._is_warm = False
        # A template that was stopped must not stop us, when its queue of requests is full.
        self._control.setblocking(False)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def is_alive(self) -> bool:
        """False when the process has ended."""
        return not _is_readable(self._handle, 0)

    def wait_until_warm(self, deadline: float) -> bool:
        """Wait for its imports; False when it died, the deadline passed, or it was lent: it tells its owner alone."""
        is_lent = self._owner.fileno() < 0
        if not self._is_warm and not is_lent and _is_readable(self._owner.fileno(), deadline - time.monotonic()):
            with contextlib.suppress(OSError):
                self._is_warm = self._owner.recv(16) == b"warm"
        return self._is_warm

    def fork(self, device: str, nonce: bytes, ends: Ends, bounds: Bounds | None, *, is_early: bool) -> Forked | None:
        """Ask for a worker; None where that fails at once. `is_early`: it has time to rehearse before it is needed."""
        lifeline, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # Still importing, it may have forked nothing yet.
        limit_s = BIRTH_LIMIT_S if self.wait_until_warm(time.monotonic()) else WARM_LIMIT_S
        try:
            with theirs:
                send_request(self._control, device, nonce, (theirs.fileno(), ends), bounds, is_early=is_early)
        except OSError:
            lifeline.close()
            return None
        return Forked(lifeline, limit_s, on_silence=self.kill)

    def kill(self) -> None:
        """Kill the process, whoever's it is."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    def lend(self) -> None:
        """Let go of the socket that tells the template that its owner lives."""
        self._owner.close()

    def end(self) -> None:
        """Kill the process and forget it."""
        self.kill()
        self._process.wait()
        os.close(self._handle)
        self._control.close()
        self._owner.close()
        with BIRTHS:
            LIVE.discard(self.pid)
            reap_ended()


def _is_readable(descriptor: int, timeout_s: float) -> bool:
    events = select.poll()
    events.register(descriptor, select.POLLIN)
    return bool(events.poll(max(0.0, timeout_s) * 1000))
