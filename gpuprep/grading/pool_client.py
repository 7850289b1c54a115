"""Finds a pool that runs in the background, and asks it. Light: this is what a one-shot check runs instead of torch.

A pool's folder and name (`pool_address`) keep other users out. They don't keep out this user's other programs: one
could listen there in a pool's place and answer as it likes, as it could also edit the record of attempts. A grade that
counts is therefore asked of no pool but the grader's own (`grading.pool`), which listens nowhere.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gpuprep
from gpuprep import errors
from gpuprep.curriculum import Curriculum
from gpuprep.errors import GpuprepError, WorkspaceError
from gpuprep.exercise import Exercise
from gpuprep.grading import pool_address
from gpuprep.grading.pool_line import Line, Message, dial
from gpuprep.grading.reports import report_from
from gpuprep.model import Report

IDLE_S = 600.0
"""A pool that was asked nothing for so long ends."""
_BOOTSTRAP = (
    "import os, sys; os.fork() and os._exit(0); sys.dont_write_bytecode = True; sys.path.append(sys.argv[1]);"
    "from gpuprep.grading.pool_server import main; main(float(sys.argv[2]))"
)


@dataclass(frozen=True)
class PoolStatus:
    """A pool that runs."""

    pid: int
    templates: dict[str, int]
    """Process ids, by kind."""
    idle_s: float
    """It ends when it was asked nothing for so long."""


def check(
    exercise: Exercise,
    curriculum: Curriculum,
    path: Path,
    *,
    device: str = "auto",
    timeout_s: float | None = None,
    on_event: Callable[[str], None] | None = None,
) -> Report | None:
    """What `session.check` does, done by a pool that runs; None where there is none, or none that works.

    Args:
        exercise: see `session.check`, as for all others.
        curriculum: of which only the root is used.
        path: the learner's file.
        device: auto, cpu or cuda.
        timeout_s: how long the learner's code may run.
        on_event: gets a few words whenever something starts.

    Raises:
        GpuprepError: what `session.check` raises.
    """
    wanted = (exercise, curriculum.root, path, device, timeout_s)
    with contextlib.suppress(OSError, ValueError), _asked(*wanted) as line:
        for answer in line.answers() if line else ():
            if "event" in answer and on_event:
                on_event(str(answer["event"]))
            if "error" in answer:
                raise _error(answer["error"])
            if "report" in answer:
                report = report_from(answer["report"])
                return report if (report.exercise_id, report.path) == (exercise.id, str(path)) else None
    return None


_begun: dict[tuple[Any, ...], Line] = {}


def begin(exercise: Exercise, root: Path, path: Path, device: str, timeout_s: float | None) -> None:
    """Ask for a check, if a pool runs; the `check` that follows, of the same, collects the answer.

    Whatever else was begun is dropped.
    """
    if (exercise, root, path, device, timeout_s) in _begun:
        return
    while _begun:
        with _begun.popitem()[1]:
            pass
    with contextlib.suppress(OSError, ValueError):
        if line := dial(is_for_check=True):
            _begun[exercise, root, path, device, timeout_s] = line
            question = {"root": str(root), "path": str(path), "device": device, "timeout_s": timeout_s}
            line.say({"do": "check", "exercise": asdict(exercise), **question})


@contextlib.contextmanager
def _asked(*wanted: Any) -> Iterator[Line | None]:
    if wanted not in _begun:
        begin(*wanted)
    # Hung up whatever happens, at Ctrl-C too: that is what makes the pool drop the check.
    with contextlib.ExitStack() as stack:
        line = _begun.pop(wanted, None)
        yield stack.enter_context(line) if line else None


def _error(content: Message) -> GpuprepError:
    kind = getattr(errors, str(content["kind"]), None)
    if not isinstance(kind, type) or not issubclass(kind, GpuprepError):
        kind = GpuprepError
    return kind(str(content["message"]), next_step=content["next_step"])


def status() -> PoolStatus | None:
    """The running pool that a check here would use, if there is one."""
    for answer in _told(None, "status"):
        with contextlib.suppress(KeyError, TypeError):
            return PoolStatus(**answer["status"])
    return None


def start(idle_s: float = IDLE_S) -> PoolStatus:
    """Start a pool in the background, if none runs, and wait until it is warm.

    Raises:
        WorkspaceError: it can't be started.
    """
    import subprocess

    if found := status():
        return found
    bootstrap = [sys.executable, "-P", "-c", _BOOTSTRAP, str(Path(gpuprep.__file__).resolve().parent.parent)]
    server = subprocess.Popen(
        [*bootstrap, str(idle_s)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        # The pool's own threads: a fork beside another one could hang. A check takes its asker's environment.
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        cwd="/",
        start_new_session=True,
    )
    # It goes its own way at once, and closes its stderr when it listens or ends.
    said = server.communicate()[1].decode("utf-8", errors="replace").strip().splitlines()
    if found := status():
        return found
    why = said[-1] if said else "gpuprep's own files changed meanwhile"
    raise WorkspaceError(f"no pool could be started: {why}", next_step="gpuprep pool start")


def stop() -> int:
    """Have all pools of this user end, those of other versions too. Checks that are running are finished first.

    Returns:
        How many there were.
    """
    with pool_address.opened_folder() as folder:
        names = pool_address.names(folder) if folder is not None else []
    return sum(any("stopped" in answer for answer in _told(name, "stop")) for name in names)


def _told(name: str | None, what: str) -> list[Message]:
    """All that a pool says to a short question; it hangs up when it has done what it was told."""
    with contextlib.suppress(OSError, ValueError):
        if line := dial(name):
            with line:
                line.say({"do": what})
                return list(line.answers())
    return []
