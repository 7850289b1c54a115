"""Finds a pool that runs in the background, and asks it. Light: this is what a one-shot check runs instead of torch.

A pool's folder and name (`pool_address`) keep other users out. They don't keep out this user's other programs: one
could listen there in a pool's place and answer as it likes, as it could also edit the record of attempts. A grade that
counts is therefore asked of no pool but the grader's own (`grading.pool`), which listens nowhere.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gpuprep
from gpuprep import errors
from gpuprep.curriculum import Curriculum
from gpuprep.errors import GpuprepError, WorkspaceError
from gpuprep.grading import pool_address
from gpuprep.grading.reports import report_from
from gpuprep.model import Exercise, Report

IDLE_S = 600.0
"""A pool that was asked nothing for so long ends."""
ANSWER_LIMIT_S = 5.0
"""How long a pool may take to say that it is there. It takes milliseconds."""
_BOOTSTRAP = (
    "import sys; sys.dont_write_bytecode = True; sys.path.append(sys.argv[1]);"
    "from gpuprep.grading.pool_server import main; main(float(sys.argv[2]))"
)

Message = dict[str, Any]


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
    with contextlib.suppress(OSError, ValueError):
        request = {
            "do": "check",
            "exercise": asdict(exercise),
            "root": str(curriculum.root),
            "path": str(path),
            "device": device,
            "timeout_s": timeout_s,
            "environment": dict(os.environ),
            "folder": str(Path.cwd()),
        }
        return _report(_ask(pool_address.key(), request), exercise, path, on_event or (lambda _: None))
    return None


def _report(
    answers: Generator[Message, None, None], exercise: Exercise, path: Path, on_event: Callable[[str], None]
) -> Report | None:
    # Closed whatever happens, Ctrl-C too: that is what makes the pool drop the check.
    with contextlib.closing(answers):
        for answer in answers:
            if "event" in answer:
                on_event(str(answer["event"]))
            elif "error" in answer:
                raise _error(answer["error"])
            elif "report" in answer:
                report = report_from(answer["report"])
                return report if (report.exercise_id, report.path) == (exercise.id, str(path)) else None
    return None


def _error(content: Message) -> GpuprepError:
    kind = getattr(errors, str(content["kind"]), None)
    if not isinstance(kind, type) or not issubclass(kind, GpuprepError):
        kind = GpuprepError
    return kind(str(content["message"]), next_step=content["next_step"])


def status() -> PoolStatus | None:
    """The running pool that a check here would use, if there is one."""
    with (
        contextlib.suppress(OSError, ValueError, TypeError),
        contextlib.closing(_ask(pool_address.key(), {"do": "status"})) as answers,
    ):
        return next((PoolStatus(**answer["status"]) for answer in answers if "status" in answer), None)
    return None


def start(idle_s: float = IDLE_S) -> PoolStatus:
    """Start a pool in the background, if none runs, and wait until it is warm.

    Raises:
        WorkspaceError: it can't be started.
    """
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
    assert server.stderr is not None  # noqa: S101  PIPE above
    # It closes its stderr once it listens, or at its end.
    said = server.stderr.read().decode("utf-8", errors="replace").strip().splitlines()
    server.stderr.close()
    if found := status():
        return found
    server.kill()
    server.wait()
    raise WorkspaceError(f"no pool could be started: {said[-1] if said else 'it did not say why'}")


def stop() -> int:
    """Have all pools of this user end, those of other versions too. Checks that are running are finished first.

    Returns:
        How many there were.
    """
    with pool_address.opened_folder() as folder:
        names = pool_address.names(folder) if folder is not None else []
    return sum(_is_stopped(name) for name in names)


def _is_stopped(name: str) -> bool:
    with contextlib.suppress(OSError, ValueError), contextlib.closing(_ask(name, {"do": "stop"})) as answers:
        # To the end, which comes when it listens no more.
        return any(["stopped" in answer for answer in answers])  # noqa: C419
    return False


def _ask(name: str, request: Message) -> Generator[Message, None, None]:
    """The answers of the pool with that name; none where none runs.

    Raises:
        OSError: it went away, or says nothing.
        ValueError: it answers in another language.
    """
    with pool_address.opened_folder() as folder:
        end = pool_address.connect(folder, name) if folder is not None else None
    if end is None:
        return
    with end, end.makefile("rwb") as line:
        end.settimeout(ANSWER_LIMIT_S)
        line.write(json.dumps({**request, "name": name}).encode() + b"\n")
        line.flush()
        while data := line.readline():
            # It is there; from here on it takes as long as a check takes.
            end.settimeout(None)
            answer = json.loads(data)
            if not isinstance(answer, dict):
                raise ValueError(f"{type(answer).__name__} in place of an answer")  # noqa: TRY004
            yield answer
