"""Grades on this machine, in processes of our own.

    grade ──(a socket: a line of JSON each way)──► grader process × N ──fork──► workers, from warm templates

A grader process runs no learner's code. It is forked from a warm host (`classroom.grader_host`). If one dies all the
same, its task comes back as lost, and another takes its place. They end with the process that started them, however
that ends.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import selectors
import shutil
import signal
import socket
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gpuprep.classroom.executor import Executor, Finished, Task, grade
from gpuprep.classroom.grader_host import END_LIMIT_S, FOLDER_PREFIX, GraderHost, kill_tree
from gpuprep.errors import GraderFaultError
from gpuprep.grading import lease
from gpuprep.grading.asking import DEFAULT_LIMIT_S
from gpuprep.grading.card import card_is_likely

if TYPE_CHECKING:
    from gpuprep.grading.pool import WarmPool

READY_LIMIT_S = 180.0
"""Importing torch from a cold disk can take most of a minute, and the templates do it as well."""
HANG_FACTOR = 12
"""How many of a check's time limits a task may take for each of its seeds, until its grader counts as hanging. It is
asked for several of them: the counting worker has one for each case."""
MAX_STILLBORN = 3
"""Graders in a row that end before they are ready: then none will."""
_TICK_S = 0.5
_READ_BYTES = 2**18


class LocalExecutor(Executor):
    """Grader processes of this machine.

    Args:
        n_jobs: how many at a time.
        scratch: a folder for what they need while they run; if this process is killed, the last of them removes it.
        device: as in `grading.session.check`.
        cards: what they see of the machine's, in turn, as CUDA_VISIBLE_DEVICES; all of them where it is empty.
    """

    def __init__(self, n_jobs: int, scratch: Path, device: str = "cpu", cards: Sequence[str] = ()) -> None:
        self._n_jobs = n_jobs
        self._scratch = scratch
        self._device = device
        self._cards = cards
        self._graders: list[_Grader] = []
        self._hosts: dict[str | None, GraderHost] = {}
        """By the card that they see."""
        self._n_stillborn = 0

    def run(self, tasks: Sequence[Task]) -> Iterator[Finished]:
        """Each task's end, as soon as it is known.

        Raises:
            GraderFaultError: no grader gets as far as being ready.
        """
        waiting = deque(tasks)
        while waiting or any(grader.task for grader in self._graders):
            while len(self._graders) < min(self._n_jobs, len(waiting) + sum(bool(g.task) for g in self._graders)):
                self._graders.append(self._new_grader())
            for grader in self._graders:
                if waiting and grader.is_ready and grader.task is None:
                    grader.begin(waiting.popleft())
            yield from self._hear()

    def _new_grader(self) -> _Grader:
        card = self._next_card()
        host = self._hosts.get(card)
        if host is None or not host.is_alive:
            if host is not None:
                host.end()
            host = self._hosts[card] = GraderHost(self._scratch, self._device, card)
        return _Grader(host, card)

    def _next_card(self) -> str | None:
        """The one that the fewest graders have."""
        taken = [grader.card for grader in self._graders]
        return min(self._cards, key=taken.count, default=None)

    def close(self) -> None:
        """End the graders and all that they started."""
        for grader in self._graders:
            grader.ask_to_end()
        while self._graders:
            self._graders.pop().end()
        for host in self._hosts.values():
            host.ask_to_end()
        while self._hosts:
            self._hosts.popitem()[1].end()

    def _hear(self) -> Iterator[Finished]:
        with selectors.DefaultSelector() as events:
            for grader in self._graders:
                events.register(grader.connection, selectors.EVENT_READ, grader)
            ready = [key.data for key, _ in events.select(_TICK_S)]
        for grader in list(self._graders):
            is_alive = grader.hear() if grader in ready else True
            if (finished := grader.finished()) is not None:
                self._n_stillborn = 0
                yield finished
            if is_alive and not grader.is_overdue:
                continue
            self._graders.remove(grader)
            task, was_ready, why = grader.task, grader.is_ready, grader.why_lost(is_alive=is_alive)
            grader.end()
            if task is not None:
                yield Finished(task, fault=why)
            elif not was_ready:
                self._n_stillborn += 1
                if self._n_stillborn >= MAX_STILLBORN:
                    raise GraderFaultError(f"graders don't start: {why}", next_step="gpuprep doctor")


class _Grader:
    """This side of a grader process."""

    def __init__(self, host: GraderHost, card: str | None = None) -> None:
        self.card = card
        self.task: Task | None = None
        self.pid = 0
        """Once it is ready."""
        self._host = host
        self._handle = -1
        self._answer: Finished | None = None
        self._buffer = bytearray()
        self._folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir=host.folder))
        self.connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            host.fork(theirs, self._folder)
        self._due = time.monotonic() + READY_LIMIT_S

    @property
    def is_ready(self) -> bool:
        """True once it can be given something."""
        return self.pid > 0

    @property
    def is_overdue(self) -> bool:
        """True where it should have said something long ago."""
        return (self.task is not None or not self.is_ready) and time.monotonic() > self._due

    def begin(self, task: Task) -> None:
        """Have it grade something."""
        self.task = task
        self._start_clock(task)
        with contextlib.suppress(OSError):
            # If it is gone, that shows when it is listened to.
            self.connection.sendall(task.to_json().encode() + b"\n")

    def _start_clock(self, task: Task) -> None:
        limit_s = task.limit_s or DEFAULT_LIMIT_S["cuda" if card_is_likely() and task.device != "cpu" else "cpu"]
        self._due = time.monotonic() + READY_LIMIT_S + HANG_FACTOR * limit_s * task.n_checks

    def hear(self) -> bool:
        """Take in what it has said; False where it will say nothing more."""
        try:
            data = self.connection.recv(_READ_BYTES)
        except OSError:
            return False
        self._buffer += data
        while (end := self._buffer.find(b"\n")) >= 0:
            line = json.loads(self._buffer[:end])
            del self._buffer[: end + 1]
            if "ready" in line:
                self.pid = line["ready"]
                with contextlib.suppress(ProcessLookupError):
                    # Its number is its own: the host buries it when it has ended, and may have done so by now.
                    self._handle = os.pidfd_open(self.pid)
            elif "event" in line:
                self._note(line["event"])
            elif self.task is not None:
                self._answer, self.task = Finished.from_answer(self.task, line), None
                if line.get("is_unfit"):
                    return False
        return bool(data)

    def _note(self, event: str) -> None:
        if event.startswith(lease.WAITING):
            # For as long as others need the card: they have limits of their own.
            self._due = math.inf
        elif self.task is not None and self._due == math.inf:
            self._start_clock(self.task)

    def finished(self) -> Finished | None:
        """What became of its task, once."""
        answer, self._answer = self._answer, None
        return answer

    def why_lost(self, *, is_alive: bool) -> str:
        """In words."""
        if is_alive:
            return "the grader's process hung"
        said = self._errors.read_text(encoding="utf-8", errors="replace") if self._errors.is_file() else ""
        return self._host.how_ended(self.pid, said)

    @property
    def _errors(self) -> Path:
        return self._folder / "stderr"

    def ask_to_end(self) -> None:
        """Have it end its workers and itself."""
        self._signal(signal.SIGTERM)
        self.connection.close()

    def kill(self) -> None:
        """Kill it; its workers' guardians see it go."""
        self._signal(signal.SIGKILL)

    def end(self) -> None:
        """End it, by itself if it will, and remove its folder."""
        self.ask_to_end()
        if not self.is_ready:
            # The host hangs, or is no more.
            self._host.ask_to_end()
        elif self._handle >= 0:
            if not _is_over(self._handle, END_LIMIT_S):
                kill_tree(self.pid)
                _is_over(self._handle, END_LIMIT_S)
            os.close(self._handle)
            self._handle = -1
        shutil.rmtree(self._folder, ignore_errors=True)

    def _signal(self, number: signal.Signals) -> None:
        if self._handle >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, number)


def _is_over(handle: int, limit_s: float) -> bool:
    events = select.poll()
    events.register(handle, select.POLLIN)
    return bool(events.poll(limit_s * 1000))


def serve(connection: socket.socket, pool: WarmPool) -> None:
    """What a grader process does: grade what it is told, until nobody is there any more.

    Args:
        connection: where it is told.
        pool: its host's.
    """
    lines = connection.makefile("rb")
    with contextlib.suppress(OSError):
        connection.sendall(json.dumps({"ready": os.getpid()}).encode() + b"\n")
        while line := lines.readline():
            answer = grade(Task.from_json(line), pool, lambda event: _tell(connection, event))
            # With workers that start cold it would grade on, but slowly: another one gets new templates.
            answer["is_unfit"] = answer.get("is_unfit", False) or not pool.is_whole()
            connection.sendall(json.dumps(answer).encode() + b"\n")
            _settle(pool)
            if answer["is_unfit"]:
                # Where that is for its machine it would fail in the next tasks as quickly, and so get most of them.
                return


def _settle(pool: WarmPool) -> None:
    """Wait for the workers' ends, whoever asks for ours meanwhile."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        pool.settle()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _tell(connection: socket.socket, event: str) -> None:
    if event.startswith(lease.WAITING) or event == lease.GOING_ON:
        connection.sendall(json.dumps({"event": event}).encode() + b"\n")
