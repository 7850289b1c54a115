"""Grades on this machine, in processes of our own.

    grade ──(a socket: a line of JSON each way)──► grader process × N ──fork──► workers, from its warm templates

A grader process runs no learner's code. If one dies all the same, its task comes back as lost, and another takes its
place. They end with the process that started them, however that ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import NoReturn, Self

import psutil

from gpuprep.classroom.executor import Finished, Task, grade
from gpuprep.errors import GraderFaultError
from gpuprep.grading.asking import DEFAULT_LIMIT_S
from gpuprep.grading.births import package_root
from gpuprep.grading.card import card_is_likely

READY_LIMIT_S = 180.0
"""Importing torch from a cold disk can take most of a minute, and the templates do it as well."""
HANG_FACTOR = 12
"""How many of a check's time limits a task may take for each of its seeds, until its grader counts as hanging. It is
asked for several of them: the counting worker has one for each case."""
END_LIMIT_S = 15.0
"""How long a grader may take to end by itself, with all its workers."""
MAX_STILLBORN = 3
"""Graders in a row that end before they are ready: then none will."""
_TICK_S = 0.5
_READ_BYTES = 2**18
_PR_SET_PDEATHSIG = 1
_BOOTSTRAP = (
    "import sys; sys.dont_write_bytecode = True; sys.path.append(sys.argv[1]);"
    "from gpuprep.classroom.local import main; main(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])"
)


class LocalExecutor:
    """Grader processes of this machine.

    Args:
        n_jobs: how many at a time.
        scratch: a folder for what they need while they run; it is theirs, and emptied.
        device: as in `grading.session.check`.
    """

    def __init__(self, n_jobs: int, scratch: Path, device: str = "cpu") -> None:
        self._n_jobs = n_jobs
        self._scratch = scratch
        self._device = device
        self._graders: list[_Grader] = []
        self._n_stillborn = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(self, tasks: Sequence[Task]) -> Iterator[Finished]:
        """Each task's end, as soon as it is known.

        Raises:
            GraderFaultError: no grader gets as far as being ready.
        """
        waiting = deque(tasks)
        while waiting or any(grader.task for grader in self._graders):
            while len(self._graders) < min(self._n_jobs, len(waiting) + sum(bool(g.task) for g in self._graders)):
                self._graders.append(_Grader(self._scratch, self._device))
            for grader in self._graders:
                if waiting and grader.is_ready and grader.task is None:
                    grader.begin(waiting.popleft())
            yield from self._hear()

    def close(self) -> None:
        """End the graders and all that they started."""
        for grader in self._graders:
            grader.ask_to_end()
        while self._graders:
            self._graders.pop().end()

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

    def __init__(self, scratch: Path, device: str) -> None:
        self.task: Task | None = None
        self.is_ready = False
        self._answer: Finished | None = None
        self._buffer = bytearray()
        self._folder = Path(tempfile.mkdtemp(prefix="grader-", dir=scratch))
        self.connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        environment = {
            **os.environ,
            "TMPDIR": str(self._folder),
            # A fork beside another thread could hang.
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        arguments = [str(package_root()), str(theirs.fileno()), str(os.getpid()), device]
        with theirs, (self._folder / "stderr").open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _BOOTSTRAP, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                pass_fds=(theirs.fileno(),),
                env=environment,
                cwd="/",
                # Ctrl-C is for us to pass on.
                start_new_session=True,
            )
        self._due = time.monotonic() + READY_LIMIT_S

    @property
    def is_overdue(self) -> bool:
        """True where it should have said something long ago."""
        return (self.task is not None or not self.is_ready) and time.monotonic() > self._due

    def begin(self, task: Task) -> None:
        """Have it grade something."""
        self.task = task
        limit_s = task.limit_s or DEFAULT_LIMIT_S["cuda" if card_is_likely() and task.device != "cpu" else "cpu"]
        self._due = time.monotonic() + READY_LIMIT_S + HANG_FACTOR * limit_s * task.n_checks
        with contextlib.suppress(OSError):
            # If it is gone, that shows when it is listened to.
            self.connection.sendall(task.to_json().encode() + b"\n")

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
                self.is_ready = True
            elif self.task is not None:
                self._answer, self.task = Finished.from_answer(self.task, line), None
                if line.get("is_unfit"):
                    return False
        return bool(data)

    def finished(self) -> Finished | None:
        """What became of its task, once."""
        answer, self._answer = self._answer, None
        return answer

    def why_lost(self, *, is_alive: bool) -> str:
        """In words."""
        if is_alive:
            return "the grader's process hung"
        self._process.poll()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        code = self._process.returncode
        said = (self._folder / "stderr").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended (exit code {code})"
        return f"the grader's process {how}{': ' + said[-1][:300] if said else ''}"

    def ask_to_end(self) -> None:
        """Have it end its workers and itself."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        self.connection.close()

    def end(self) -> None:
        """End it, by itself if it will, and remove its folder."""
        self.ask_to_end()
        try:
            self._process.wait(END_LIMIT_S)
        except subprocess.TimeoutExpired:
            _kill_tree(self._process.pid)
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


def _kill_tree(pid: int) -> None:
    """Kill a process and its descendants; stopped first, it starts no more of them."""
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(pid)
        root.suspend()
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                process.kill()


def main(descriptor: int, parent: int, device: str) -> NoReturn:
    """What a grader process does: get warm, say so, and grade what it is told, until nobody is there any more.

    Args:
        descriptor: an inherited socket.
        parent: the process that it ends with.
        device: what it will be asked to grade on.
    """
    signal.signal(signal.SIGTERM, _leave)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit()
    connection = socket.socket(fileno=descriptor)
    connection.set_inheritable(False)
    code = 0
    try:
        _serve(connection, device)
    except Exception:  # noqa: BLE001  whoever waits for it reads the last line
        traceback.print_exc()
        code = 1
    finally:
        folder = Path(tempfile.gettempdir())
        if os.getppid() != parent:
            # It was killed, and can't do it. The last of its graders removes what they shared.
            shutil.rmtree(folder, ignore_errors=True)
            with contextlib.suppress(OSError):
                folder.parent.rmdir()
        sys.stderr.flush()
        os._exit(code)


def _serve(connection: socket.socket, device: str) -> None:
    import torch

    from gpuprep.grading.pool import WarmPool

    torch.set_num_threads(1)
    with WarmPool() as pool:
        has_card = device != "cpu" and card_is_likely()
        pool.start("interpreted", "counting", *(("compiled", "trusted") if has_card else ()))
        pool.wait_until_warm()
        lines = connection.makefile("rb")
        with contextlib.suppress(OSError):
            connection.sendall(b'{"ready": true}\n')
            while line := lines.readline():
                answer = grade(Task.from_json(line), pool)
                connection.sendall(json.dumps(answer).encode() + b"\n")
                if answer.get("is_unfit"):
                    # Else it would fail in the next tasks as quickly, and so get most of them.
                    return


def _leave(_number: int, _frame: FrameType | None) -> None:
    # Once: while all is being cleared away, nothing may interrupt that.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit()
