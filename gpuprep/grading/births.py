"""How a worker's process comes into the world, and how it leaves with everything that came of it.

Two ways in: `Spawned` starts an interpreter of its own; `Forked` is the other end of a fork that a warm template made
(`grading.pool`, `worker.template`), watched over by a guardian process that stands between template and worker. A
worker that is to be confined has such a guardian without a template too (`grading.guarded`).
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psutil

import gpuprep
from gpuprep.errors import GraderFaultError

_BOOTSTRAP = (
    "import sys; sys.dont_write_bytecode = True; sys.path.append(sys.argv[1]);"
    "from gpuprep.worker.main import main;"
    "main(int(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5]), int(sys.argv[6]))"
)
_ENVIRONMENT = (
    "HOME",
    "PATH",
    "TMPDIR",
    "LANG",
    "LC_ALL",
    "CUDA_VISIBLE_DEVICES",
    "LD_LIBRARY_PATH",
    "TRITON_CACHE_DIR",
    # Where compiled CUDA kernels are kept, and where CuPy finds the headers.
    "XDG_CACHE_HOME",
    "CUPY_CACHE_DIR",
    "CUDA_PATH",
)
"""All that a worker inherits. In particular no PYTHON*, no LD_PRELOAD, no tokens."""

REAP_LIMIT_S = 1.0
END_LIMIT_S = 8.0
"""How long a guardian may take to end its worker; longer than it gives itself."""
_PR_SET_CHILD_SUBREAPER = 36
_MESSAGE_BYTES = 4096


@dataclass(frozen=True)
class Ends:
    """The descriptors that a worker is given: its end of the channel, its stdout, the file for its stacks."""

    channel: int
    output: int
    stacks: int


class Birth(Protocol):
    """A worker's process, however it was started."""

    @property
    def pid(self) -> int: ...

    def show_stack(self) -> None: ...

    def kill(self) -> None: ...

    def wait(self, timeout: float) -> int | None: ...

    def end(self) -> None: ...


class Spawned:
    """A worker started as an interpreter of its own.

    Raises:
        GraderFaultError: it could not be started.
    """

    def __init__(self, device: str, nonce: bytes, ends: Ends) -> None:
        become_reaper()
        arguments = [str(package_root()), str(ends.channel), nonce.hex(), device, str(os.getpid()), str(ends.stacks)]
        with BIRTHS:
            # Children that were here before are none of this worker's descendants.
            self._known = children()
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-c", _BOOTSTRAP, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=ends.output,
                    stderr=subprocess.STDOUT,
                    pass_fds=(ends.channel, ends.stacks),
                    env=environment(device),
                    start_new_session=True,
                )
            except OSError as error:
                raise GraderFaultError(f"the worker could not be started: {error}") from error
            LIVE.add(self._process.pid)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def show_stack(self) -> None:
        """Make its fault handler write where it is."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGUSR1)

    def kill(self) -> None:
        """Kill its process group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def wait(self, timeout: float) -> int | None:
        """How it ended, as in `Popen.returncode`; None when it has not within `timeout` seconds."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout)
        return None

    def end(self) -> None:
        """Kill it and every process that came of it."""
        pid = self._process.pid
        if pid not in LIVE:
            return
        doomed: set[int] = set()
        with contextlib.suppress(psutil.NoSuchProcess):
            doomed.update(child.pid for child in psutil.Process(pid).children(recursive=True))
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()
        _kill(doomed)
        with BIRTHS:
            LIVE.discard(pid)
            kill_orphans(self._known)


class Forked:
    """A worker forked from a warm template. Its guardian speaks over `lifeline`, and ends it when that closes.

    Closing, by whatever end of this process, is what the guardian waits for: a worker never outlives its check, and a
    learner's endless loop has no say in it.

    Args:
        lifeline: an end of a socket pair; the guardian has the other one.
        limit_s: how long the template may take to fork.
        on_silence: called when it did not, and gave no reason.
    """

    def __init__(self, lifeline: socket.socket, limit_s: float, on_silence: Callable[[], None]) -> None:
        become_reaper()
        self._known = children()
        self._lifeline = lifeline
        self._born_by = time.monotonic() + limit_s
        self._on_silence = on_silence
        self._pid = 0
        self._guardian = (0, -1)
        self._code: int | None = None
        self._is_clean = False
        self.why_not = ""
        """Why the template made no fork, where it said so."""
        self.excess = ""
        """What it took too much of, where it was killed for that."""

    @property
    def pid(self) -> int:
        """The process id; 0 before it is born."""
        return self._pid

    def wait_until_born(self) -> bool:
        """False when the template did not fork: it is gone, it hangs, or it says that a fork would not be safe."""
        while not self._pid and self._hear(self._born_by):
            pass
        if not self._pid and not self.why_not:
            self._on_silence()
        return self._pid > 0

    def show_stack(self) -> None:
        """Make its fault handler write where it is."""
        self._tell("stack")

    def kill(self) -> None:
        """Kill its process group."""
        self._tell("kill")

    def wait(self, timeout: float) -> int | None:
        """How it ended, as in `Popen.returncode`; None when it has not within `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while self._code is None:
            if not self._hear(deadline):
                # Without its guardian it is killed.
                return None if time.monotonic() >= deadline else -signal.SIGKILL
        return self._code

    def release(self) -> None:
        """Have it and every process that came of it killed."""
        with contextlib.suppress(OSError):
            self._lifeline.shutdown(socket.SHUT_WR)

    def end(self) -> None:
        """Have it and every process that came of it killed, and wait until they are gone."""
        if self._lifeline.fileno() < 0:
            return
        self.release()
        deadline = time.monotonic() + END_LIMIT_S
        while not self._is_clean and self._hear(deadline):
            pass
        self._lifeline.close()
        guardian, descriptor = self._guardian
        if descriptor >= 0:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if not self._is_clean:
                    # Its worker follows it; what else it watched over is now the template's to end, or ours.
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            os.close(descriptor)
        with BIRTHS:
            LIVE.discard(guardian)
            ENDED.add(guardian)
            if not self._is_clean:
                kill_orphans(self._known)

    def _tell(self, what: str) -> None:
        with contextlib.suppress(OSError):
            self._lifeline.send(json.dumps({"do": what}).encode())

    def _hear(self, deadline: float) -> bool:
        """Take in one message; False when none came or none will."""
        left = deadline - time.monotonic()
        if left <= 0 or self._lifeline.fileno() < 0:
            return False
        self._lifeline.settimeout(left)
        try:
            data, descriptors, _, _ = socket.recv_fds(self._lifeline, _MESSAGE_BYTES, 1, flags=socket.MSG_CMSG_CLOEXEC)
            message: Mapping[str, Any] = json.loads(data) if data else {}
        except (OSError, ValueError):
            return False
        if "born" in message and descriptors:
            self._pid, guardian = (int(pid) for pid in message["born"])
            self._guardian = guardian, descriptors.pop()
            LIVE.add(guardian)
        for descriptor in descriptors:
            os.close(descriptor)
        if "ended" in message:
            self._code = int(message["ended"])
            self.excess = str(message.get("excess", ""))
        self._is_clean |= "clean" in message
        self.why_not = str(message.get("refused", self.why_not))
        return bool(message) and not self.why_not


LIVE: set[int] = set()
"""Workers, templates and guardians that are running now; their processes are nobody's orphans."""
ENDED: set[int] = set()
"""Guardians that have done their work. Those that their template hasn't reaped come to us when it ends."""
BIRTHS = threading.Lock()
"""Held while a worker starts and while orphans are looked for, so that no newborn is taken for one."""
_GENERATIONS = 20
"""How often orphans are looked for: each round's victims may have had children of their own."""


def kill_orphans(known: set[int]) -> None:
    """Kill this process's children other than `known` and LIVE, and theirs. To be called with BIRTHS held.

    Descendants that left the session are handed to us when their parents die: we are their reaper.
    """
    for _ in range(_GENERATIONS):
        orphans = children() - known - LIVE
        if not orphans:
            return
        _kill(orphans)


def reap_ended() -> None:
    """Let go of guardians that outlived their template. To be called with BIRTHS held."""
    deadline = time.monotonic() + REAP_LIMIT_S
    for pid in ENDED:
        with contextlib.suppress(ChildProcessError):
            # Their last word is said; what is left is to exit.
            while os.waitpid(pid, os.WNOHANG) == (0, 0) and time.monotonic() < deadline:
                time.sleep(0.001)
    ENDED.clear()


def children() -> set[int]:
    """The process ids of this process's children, adopted ones among them."""
    try:
        return {int(pid) for path in _tasks() for pid in path.read_text().split()}
    except OSError:
        # A kernel without that file, or a thread that ended meanwhile.
        return {child.pid for child in psutil.Process().children()}


def _tasks() -> Iterator[Path]:
    return Path("/proc/self/task").glob("*/children")


def become_reaper() -> None:
    """Have descendants handed to this process when their parents die."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def package_root() -> Path:
    """The folder that `gpuprep` is imported from."""
    return Path(gpuprep.__file__).resolve().parent.parent


def environment(device: str) -> dict[str, str]:
    """The environment of a worker."""
    kept = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    # One thread a worker: counts don't depend on it, and two checks at once don't fight over the cores.
    kept.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    if device != "cuda":
        kept["CUDA_VISIBLE_DEVICES"] = ""
    if device not in ("cuda", "compiler"):
        kept["TRITON_INTERPRET"] = "1"
    return kept


def _kill(pids: set[int]) -> None:
    killed = set()
    for pid in pids:
        # What may not be killed (it runs as somebody else) may not be waited for either: that could take for ever.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
    for pid in killed:
        with contextlib.suppress(ChildProcessError):
            # Ours by adoption: reaped here, or it would stay a zombie. Others are their own parents' business.
            os.waitpid(pid, 0)
