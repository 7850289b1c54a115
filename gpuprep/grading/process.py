"""Starts a worker, talks to it, and leaves nothing of it behind."""

from __future__ import annotations

import contextlib
import ctypes
import linecache
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import psutil

import gpuprep
from gpuprep.channel import NONCE_BYTES, Channel, ChannelClosedError, ChannelError
from gpuprep.errors import GraderFaultError
from gpuprep.model import SourceLine

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
)
"""All that a worker inherits. In particular no PYTHON*, no LD_PRELOAD, no tokens."""

START_LIMIT_S = 120.0
"""Importing torch from a cold disk can take most of a minute."""
OUTPUT_KEPT_BYTES = 16 * 1024
_PR_SET_CHILD_SUBREAPER = 36
_ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|.)?|[\x00-\x08\x0b-\x1f\x7f\x80-\x9f]")


class WorkerDiedError(Exception):
    """The worker's process ended before it answered."""

    def __init__(self, how: str) -> None:
        super().__init__(how)
        self.how = how


class WorkerTimeoutError(Exception):
    """The worker did not answer in time, and was killed."""


class WorkerProcess:
    """A worker in a session of its own. Use it as a context manager: leaving it kills whatever is left.

    Args:
        device: `cpu`, where Triton kernels run in the interpreter, or `cuda`.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self.versions: Mapping[str, str] = {}
        self.can_count = False
        self.why_not = ""
        _become_reaper()
        nonce = secrets.token_bytes(NONCE_BYTES)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        arguments = [str(_package_root()), str(theirs.fileno()), nonce.hex(), device, str(os.getpid())]
        self._stacks = os.memfd_create("gpuprep-stacks", os.MFD_CLOEXEC)
        arguments.append(str(self._stacks))
        with _BIRTHS, theirs:
            # Children that were here before are none of this worker's descendants.
            self._known = {child.pid for child in psutil.Process().children()}
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-c", _BOOTSTRAP, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    pass_fds=(theirs.fileno(), self._stacks),
                    env=_environment(device),
                    start_new_session=True,
                )
            except OSError as error:
                ours.close()
                os.close(self._stacks)
                raise GraderFaultError(f"the worker could not be started: {error}") from error
            _LIVE.add(self._process.pid)
        self._channel = Channel(ours, nonce)
        assert self._process.stdout is not None  # noqa: S101  PIPE above
        self._drain = _Drain(self._process.stdout)

    def wait_until_ready(self) -> None:
        """Wait for the worker's imports.

        Raises:
            GraderFaultError: it died or hung before any learner's code was loaded.
        """
        try:
            hello = self._answer(time.monotonic() + START_LIMIT_S)
        except (WorkerDiedError, WorkerTimeoutError) as error:
            said = self.output().strip().splitlines()
            raise GraderFaultError(
                f"the worker did not start: {said[-1] if said else error}", next_step="gpuprep doctor"
            ) from error
        self.versions = hello["versions"]
        self.can_count = hello["counting"]
        self.why_not = hello["why"]

    def ask(self, request: Mapping[str, Any], *, deadline: float, share_cuda: bool = False) -> dict[str, Any]:
        """Send a request and wait for its answer. `share_cuda`: see `Channel.send`.

        Raises:
            WorkerTimeoutError: nothing came until `deadline` (a `time.monotonic()` value).
            WorkerDiedError: the process ended, or sent something that no worker sends.
        """
        try:
            self._channel.send(request, share_cuda=share_cuda)
        except ChannelClosedError:
            raise WorkerDiedError(self._how_it_ended()) from None
        return self._answer(deadline)

    def output(self) -> str:
        """The end of what was printed, without escape sequences and control characters."""
        return clean(self._drain.kept())

    def stop(self) -> None:
        """Kill the worker and every process that came of it. Stopping twice is once."""
        if self._process.pid not in _LIVE:
            return
        doomed = {self._process.pid}
        with contextlib.suppress(psutil.NoSuchProcess):
            doomed.update(child.pid for child in psutil.Process(self._process.pid).children(recursive=True))
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._channel.close()
        self._process.kill()
        self._process.wait()
        _kill(doomed - {self._process.pid})
        with _BIRTHS:
            _LIVE.discard(self._process.pid)
            self._kill_orphans()
        self._drain.close()
        os.close(self._stacks)

    def _kill_orphans(self) -> None:
        # Descendants that left the session were handed to us when their parents died: we are their reaper.
        for _ in range(_GENERATIONS):
            orphans = {child.pid for child in psutil.Process().children()} - self._known - _LIVE
            if not orphans:
                return
            _kill(orphans)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _answer(self, deadline: float) -> dict[str, Any]:
        try:
            return self._channel.receive(deadline=deadline)
        except TimeoutError:
            # Its fault handler prints where it is, even from an endless loop.
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGUSR1)
            time.sleep(0.1)
            self._kill_now()
            raise WorkerTimeoutError from None
        except ChannelClosedError:
            raise WorkerDiedError(self._how_it_ended()) from None
        except ChannelError as error:
            self._kill_now()
            raise WorkerDiedError(f"it answered with something unreadable ({error})") from error

    def last_line(self, path: Path) -> SourceLine | None:
        """The learner's line in the stack that the worker's fault handler wrote, if it wrote one."""
        stack = os.pread(self._stacks, OUTPUT_KEPT_BYTES, 0).decode("utf-8", errors="replace")
        found = re.findall(rf'File "{re.escape(str(path.resolve()))}", line (\d+)', stack)
        if not found:
            return None
        number = int(found[0])
        return SourceLine(str(path), number, linecache.getline(str(path), number).strip())

    def _kill_now(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _how_it_ended(self) -> str:
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._kill_now()
            return "it closed the grader's channel"
        if code < 0:
            return f"killed by {signal.Signals(-code).name}"
        return f"it ended by itself (exit code {code}) before returning a result"


_LIVE: set[int] = set()
"""Workers that are running now; their processes are nobody's orphans."""
_BIRTHS = threading.Lock()
"""Held while a worker starts and while orphans are looked for, so that no newborn is taken for one."""
_GENERATIONS = 20
"""How often orphans are looked for: each round's victims may have had children of their own."""


class _Drain:
    """Reads a pipe to its end so that the writer never blocks, and keeps the last part."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._tail = b""
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def kept(self) -> bytes:
        self._thread.join(timeout=0.05)
        with self._lock:
            return self._tail

    def close(self) -> None:
        # A process that escaped with the pipe open would keep the thread waiting; it holds nothing else, so leave it.
        self._thread.join(timeout=0.5)
        if not self._thread.is_alive():
            self._pipe.close()

    def _run(self) -> None:
        descriptor = self._pipe.fileno()
        while chunk := os.read(descriptor, 1 << 16):
            with self._lock:
                self._tail = (self._tail + chunk)[-OUTPUT_KEPT_BYTES:]


def clean(data: bytes) -> str:
    """Text that is safe to show: no escape sequences, no control characters but newline and tab."""
    return _ESCAPES.sub("", data.decode("utf-8", errors="replace"))


def _kill(pids: set[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            # Ours by adoption: reaped here, or it would stay a zombie. Others are their own parents' business.
            os.waitpid(pid, 0)


def _become_reaper() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _package_root() -> Path:
    return Path(gpuprep.__file__).resolve().parent.parent


def _environment(device: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    # One thread a worker: counts don't depend on it, and two checks at once don't fight over the cores.
    kept.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    if device == "cpu":
        kept["TRITON_INTERPRET"] = "1"
        kept["CUDA_VISIBLE_DEVICES"] = ""
    return kept
