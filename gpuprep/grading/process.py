"""Starts a worker, talks to it, and leaves nothing of it behind."""

from __future__ import annotations

import contextlib
import linecache
import os
import re
import secrets
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self

import psutil

from gpuprep.channel import NONCE_BYTES, Channel, ChannelClosedError, ChannelError
from gpuprep.confinement.permits import Level
from gpuprep.errors import GraderFaultError
from gpuprep.grading.births import Birth, Ends, Forked, Spawned
from gpuprep.grading.guarded import Bounds, Guarded
from gpuprep.model import SourceLine

if TYPE_CHECKING:
    from gpuprep.grading.pool import WarmPool

START_LIMIT_S = 120.0
"""Importing torch from a cold disk can take most of a minute."""
STACK_S = 0.1
"""What a fault handler needs to write where a process is."""
OUTPUT_KEPT_BYTES = 16 * 1024
_ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(\x07|\x1b\\)?|.)?|[\x00-\x08\x0b-\x1f\x7f\x80-\x9f]")


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
        pool: has warm templates to fork the worker from; where there is none, or none that works, it is started cold.
        is_trusted: it will run no learner's code, and so comes from a template of its own.
        bounds: how it is confined; None where it is not.
    """

    def __init__(
        self,
        device: str,
        pool: WarmPool | None = None,
        *,
        is_trusted: bool = False,
        bounds: Bounds | None = None,
    ) -> None:
        self.device = device
        self._bounds = bounds
        self.versions: Mapping[str, str] = {}
        self.can_count = False
        self.why_not = ""
        self.was_given_up = False
        """True once it was killed for its silence."""
        self.was_busy = False
        """True where it was computing then, and not waiting for something."""
        self._pool = pool
        self._begin(
            lambda nonce, ends: pool.fork(device, nonce, ends, is_trusted=is_trusted, bounds=bounds) if pool else None
        )

    def _begin(self, fork: Callable[[bytes, Ends], Forked | None]) -> None:
        nonce = secrets.token_bytes(NONCE_BYTES)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        reading, writing = os.pipe()
        self._stacks = os.memfd_create("gpuprep-stacks", os.MFD_CLOEXEC)
        self._channel = Channel(ours, nonce)
        self._is_over = False
        ends = Ends(theirs.fileno(), writing, self._stacks)
        with theirs:
            try:
                self._birth: Birth = fork(nonce, ends) or self._started_cold(nonce, ends)
            except GraderFaultError:
                ours.close()
                os.close(reading)
                os.close(self._stacks)
                raise
            finally:
                os.close(writing)
        self._drain = _Drain(os.fdopen(reading, "rb", buffering=0))

    def _started_cold(self, nonce: bytes, ends: Ends) -> Birth:
        if self._bounds is None:
            return Spawned(self.device, nonce, ends)
        return Guarded(self.device, nonce, ends, self._bounds, START_LIMIT_S)

    def wait_until_ready(self) -> None:
        """Wait for the worker's imports.

        Raises:
            GraderFaultError: it died or hung before any learner's code was loaded.
        """
        try:
            hello = self._hello()
        except (WorkerDiedError, WorkerTimeoutError) as error:
            said = self.output().strip().splitlines() or [why for why in [self._why_not_born()] if why]
            raise GraderFaultError(
                f"the worker did not start: {said[-1] if said else error}", next_step="gpuprep doctor"
            ) from error
        level = self._bounds.confinement.level if self._bounds else Level.NONE
        if hello["confined"] != level:
            raise GraderFaultError(f"the worker is confined as {hello['confined']!r}, and should be {level}")
        self.versions = hello["versions"]
        self.can_count = hello["counting"]
        self.why_not = hello["why"]

    def _hello(self) -> dict[str, Any]:
        deadline = time.monotonic() + START_LIMIT_S
        if isinstance(self._birth, Forked) and not isinstance(self._birth, Guarded):
            # No learner's code has run in it yet: whatever goes wrong now, a cold one may still go right.
            with contextlib.suppress(WorkerDiedError, WorkerTimeoutError):
                if self._birth.wait_until_born():
                    return self._answer(deadline)
            self._clear_away()
            self._begin(lambda _nonce, _ends: None)
        if isinstance(self._birth, Guarded) and not self._birth.wait_until_born():
            raise WorkerDiedError(self._why_not_born() or "its guardian ended")
        return self._answer(deadline)

    def _why_not_born(self) -> str:
        return self._birth.why_not if isinstance(self._birth, Forked) else ""

    def ask(self, request: Mapping[str, Any], *, deadline: float) -> dict[str, Any]:
        """Send a request and wait for its answer.

        Raises:
            WorkerTimeoutError: nothing came until `deadline` (a `time.monotonic()` value).
            WorkerDiedError: the process ended, or sent something that no worker sends.
            GraderFaultError: the request holds something that can't be sent.
        """
        try:
            self._channel.send(request)
        except ChannelClosedError:
            raise WorkerDiedError(self._how_it_ended()) from None
        except ChannelError as error:
            raise GraderFaultError(f"the worker can't be asked: {error}") from error
        return self._answer(deadline)

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self._birth.pid

    def output(self) -> str:
        """The end of what was printed, without escape sequences and control characters."""
        return clean(self._drain.kept())

    def stop(self, *, is_awaited: bool = False) -> None:
        """Kill the worker and every process that came of it. Stopping twice is once.

        Args:
            is_awaited: return when they are gone, even where a pool would see to that later.
        """
        if self._is_over:
            return
        self._is_over = True
        if isinstance(self._birth, Forked):
            self._birth.release()
            if not is_awaited and self._pool is not None and self._pool.defers(self._clear_away):
                return
        self._clear_away()

    def give_up_on(self) -> None:
        """Have it write where it is, then kill it: whoever waits for its answer is told that it died."""
        self.was_given_up = True
        with contextlib.suppress(psutil.Error):
            self.was_busy = psutil.Process(self.pid).status() == psutil.STATUS_RUNNING
        self._birth.show_stack()
        time.sleep(STACK_S)
        self._birth.kill()

    def _clear_away(self) -> None:
        self._birth.end()
        self._channel.close()
        self._drain.close()
        os.close(self._stacks)

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
            self.give_up_on()
            raise WorkerTimeoutError from None
        except ChannelClosedError:
            raise WorkerDiedError(self._how_it_ended()) from None
        except ChannelError as error:
            self._birth.kill()
            raise WorkerDiedError(f"it answered with something unreadable ({error})") from error

    def last_line(self, path: Path) -> SourceLine | None:
        """The learner's line in the stack that the worker's fault handler wrote, if it wrote one."""
        stack = os.pread(self._stacks, OUTPUT_KEPT_BYTES, 0).decode("utf-8", errors="replace")
        found = re.findall(rf'File "{re.escape(str(path.resolve()))}", line (\d+)', stack)
        if not found:
            return None
        number = int(found[0])
        return SourceLine(str(path), number, linecache.getline(str(path), number).strip())

    def _how_it_ended(self) -> str:
        code = self._birth.wait(timeout=5)
        if code is None:
            self._birth.kill()
            return "it closed the grader's channel"
        if isinstance(self._birth, Forked) and self._birth.excess:
            return f"it {self._birth.excess}, and was killed"
        if code < 0:
            # Real-time signals have no names but the first and the last.
            known = {-known.value: known.name for known in signal.Signals}
            return f"killed by {known.get(code, f'signal {-code}')}"
        return f"it ended by itself (exit code {code}) before returning a result"


class _Drain:
    """Reads a pipe to its end so that the writer never blocks, and keeps the last part."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._tail = b""
        self._lock = threading.Lock()
        os.set_blocking(pipe.fileno(), False)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def kept(self) -> bytes:
        # What is in the pipe now belongs to it too; but somebody may be writing without end.
        for _ in range(_LAST_READS):
            if self._pipe.closed or not self._take():
                break
        return self._tail

    def close(self) -> None:
        # A process that escaped with the pipe open would keep the thread waiting; it holds nothing else, so leave it.
        self._thread.join(timeout=0.5)
        if not self._thread.is_alive():
            self._pipe.close()

    def _run(self) -> None:
        readable = select.poll()
        readable.register(self._pipe, select.POLLIN)
        while readable.poll() and self._take() != b"":
            pass

    def _take(self) -> bytes | None:
        """Keep what is in the pipe; None where that is nothing, b"" at its end."""
        with self._lock:
            try:
                chunk = os.read(self._pipe.fileno(), 1 << 16)
            except BlockingIOError:
                return None
            self._tail = (self._tail + chunk)[-OUTPUT_KEPT_BYTES:]
            return chunk


_LAST_READS = 64


def clean(data: bytes) -> str:
    """Text that is safe to show: no escape sequences, no control characters but newline and tab."""
    return _ESCAPES.sub("", data.decode("utf-8", errors="replace"))
