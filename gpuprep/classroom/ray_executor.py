"""Grades on a Ray cluster, or on a Ray of its own on this machine.

    grade ──(a socket: a line of JSON each way)──► conductor ──Ray──► actor × N ──► grader process (classroom.local)

The conductor (`classroom.ray_conductor`) is Ray's driver, in a process of its own: what Ray prints, the signals that
it handles and the variables that it sets stay there. It ends with the process that started it, however that ends, and
takes with it every process that it started, and their folder.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from gpuprep.classroom.executor import Executor, Finished, Task
from gpuprep.classroom.grader_host import kill_tree
from gpuprep.classroom.local import MAX_STILLBORN
from gpuprep.classroom.parcels import Kit, Parcel
from gpuprep.errors import GraderFaultError, UsageError
from gpuprep.grading.births import package_root

ADDRESS_VARIABLE = "RAY_ADDRESS"
FOLDER_PREFIX = "gpuprep-ray-"
AHEAD = 2
"""Parcels that the conductor has for each grader: one that is graded and one that is next."""
END_LIMIT_S = 45.0
"""How long the conductor may take to end Ray and all that came of it."""
_FOLDER_CHARACTERS = 40
"""Ray's sockets lie deep in its folder, and a socket's path may have 107 bytes at most."""
_READ_BYTES = 2**20
_BOOTSTRAP = (
    "import sys; sys.dont_write_bytecode = True; sys.path.append(sys.argv[1]);"
    "from gpuprep.classroom.ray_conductor import main; main(int(sys.argv[2]), sys.argv[3])"
)


@dataclass(frozen=True)
class RayOptions:
    """Which Ray, and what of it a grader gets."""

    n_jobs: int | None = None
    """Graders at a time; None for as many as the cluster has GPUs, or cores where none is used."""
    device: str = "cpu"
    address: str | None = None
    """`auto`, or `host:port`, of a Ray that runs; None for one of our own."""
    accelerator: str | None = None
    """The type of GPU that each grader needs, as Ray calls it."""

    def environment(self, folder: Path) -> dict[str, str]:
        """The conductor's variables, and those of a Ray of our own."""
        found = {
            **os.environ,
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        }
        found.pop(ADDRESS_VARIABLE, None)
        if self.address is None:
            found |= {
                "TMPDIR": str(folder),
                # Its ports are open to every user of this machine, and whoever may talk to it may run anything.
                "RAY_AUTH_MODE": "token",
                "RAY_AUTH_TOKEN": secrets.token_hex(32),
            }
        return found


class RayExecutor(Executor):
    """Graders in Ray's actors. Ray is started, or connected to, when there is something to grade.

    Args:
        options: which Ray, and what of it.

    Raises:
        UsageError: Ray is not installed.
    """

    def __init__(self, options: RayOptions) -> None:
        if importlib.util.find_spec("ray") is None:
            raise UsageError("--executor ray needs Ray, which is not installed", next_step="pip install 'gpuprep[ray]'")
        self._options = options
        self._conductor: _Conductor | None = None
        self._n_asked = 0
        self._n_lost = 0

    def run(self, tasks: Sequence[Task]) -> Iterator[Finished]:
        """Each task's end, as soon as it is known.

        Raises:
            UsageError: there is no such cluster.
            GraderFaultError: Ray doesn't start, or no machine can grade.
        """
        waiting = deque(tasks)
        asked: dict[int, Task] = {}
        while waiting or asked:
            while waiting and (self._conductor is None or len(asked) < self._conductor.n_wanted):
                task = waiting.popleft()
                try:
                    parcel = Parcel.packed(task)
                except (OSError, ValueError) as error:
                    yield Finished(task, fault=str(error))
                    continue
                self._n_asked += 1
                asked[self._n_asked] = task
                self._conductor = self._conductor or self._started(Path(task.curriculum))
                self._conductor.send(self._n_asked, parcel)
            if self._conductor is not None and asked:
                yield from self._hear(self._conductor, asked)

    def close(self) -> None:
        """End Ray, if it is ours, and all that was started."""
        if self._conductor is not None:
            self._conductor.end()
            self._conductor = None

    def _started(self, curriculum: Path) -> _Conductor:
        kit = Kit.packed(curriculum, self._options.device, is_elsewhere=self._options.address is not None)
        return _Conductor(self._options, kit)

    def _hear(self, conductor: _Conductor, asked: dict[int, Task]) -> Iterator[Finished]:
        for said in conductor.hear():
            if "error" in said:
                kind = UsageError if said.get("is_usage") else GraderFaultError
                raise kind(str(said["error"]), next_step=said.get("next_step"))
            task = asked.pop(said.get("n", 0), None)
            if task is not None:
                self._n_lost = 0
                yield finished_from(task, said)
        if conductor.is_lost:
            why = conductor.why_lost()
            self.close()
            self._n_lost += 1
            if self._n_lost >= MAX_STILLBORN:
                raise GraderFaultError(f"Ray doesn't stay: {why}", next_step="gpuprep grade … --executor local")
            for task in asked.values():
                yield Finished(task, fault=why)
            asked.clear()


def finished_from(task: Task, answer: Mapping[str, Any]) -> Finished:
    """What became of a task, from what another machine says; nonsense is a fault of that machine."""
    try:
        return Finished.from_answer(task, answer)
    except (KeyError, TypeError, ValueError) as error:
        return Finished(task, fault=f"a grader's answer makes no sense: {error}")


class _Conductor:
    """This side of the conductor's process."""

    def __init__(self, options: RayOptions, kit: Kit) -> None:
        self.is_lost = False
        self.n_wanted = AHEAD * (options.n_jobs or 1)
        self._buffer = bytearray()
        self._folder = _short_folder()
        self._connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        arguments = [str(package_root()), str(theirs.fileno()), str(self._folder)]
        with theirs, (self._folder / "said").open("wb") as said:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _BOOTSTRAP, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                pass_fds=(theirs.fileno(),),
                env=options.environment(self._folder),
                # Ray adds it to the path of its workers, who need gpuprep; where we were started, anybody's files lie.
                cwd=package_root(),
                # Ctrl-C is for us to pass on.
                start_new_session=True,
            )
        self._tell({**asdict(options), "kit": kit.to_json()})

    def send(self, number: int, parcel: Parcel) -> None:
        """Have it graded."""
        asked = {"n": number, "limit_s": parcel.task.limit_s, "n_checks": parcel.task.n_checks}
        self._tell({**asked, "parcel": parcel.to_json()})

    def hear(self) -> Iterator[dict[str, Any]]:
        """Wait until it says something, and give all of that."""
        try:
            data = self._connection.recv(_READ_BYTES)
        except OSError:
            data = b""
        self.is_lost = not data
        self._buffer += data
        while (end := self._buffer.find(b"\n")) >= 0:
            line = json.loads(self._buffer[:end])
            del self._buffer[: end + 1]
            if "n_jobs" in line:
                self.n_wanted = AHEAD * line["n_jobs"]
            yield line

    def why_lost(self) -> str:
        """In words."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_LIMIT_S)
        code = self._process.returncode
        said = (self._folder / "said").read_text(errors="replace").strip().splitlines() if self._folder.is_dir() else []
        how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended (exit code {code})"
        return f"the process that leads Ray {how}{': ' + said[-1][:300] if said else ''}"

    def end(self) -> None:
        """Have it end Ray and itself; then nothing of it is left."""
        self._connection.close()
        try:
            self._process.wait(END_LIMIT_S)
        except subprocess.TimeoutExpired:
            kill_tree(self._process.pid)
            self._process.wait()
        if self._process.returncode:
            _kill_strays(self._process.pid)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _tell(self, what: Mapping[str, Any]) -> None:
        with contextlib.suppress(OSError):
            # If it is gone, that shows when it is listened to.
            self._connection.sendall(json.dumps(what).encode() + b"\n")


def _kill_strays(session: int) -> None:
    """Kill what is left of a session: Ray's own agents take a minute to see that Ray is gone."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getsid(process.pid) == session:
                process.kill()


def _short_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))
    if len(os.fsencode(folder)) > _FOLDER_CHARACTERS:
        folder.rmdir()
        folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir="/tmp"))
    return folder
