"""Asks the workers, and says whose fault it is when no sensible answer comes."""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpuprep.curriculum import Curriculum
from gpuprep.errors import GpuprepError, GraderFaultError
from gpuprep.exercise import Exercise
from gpuprep.grading.process import WorkerDiedError, WorkerProcess, WorkerTimeoutError
from gpuprep.grading.verdict import Stop
from gpuprep.model import Outcome, SourceLine

DEFAULT_LIMIT_S = {"cpu": 30.0, "cuda": 180.0, "witness": 30.0}
"""How long a learner's code may run in all, by device; on a card with its compiling, and again for each case that is
timed; as `witness` each time."""


class StopGradingError(Exception):
    """The learner's process can't go on: it died, hung, or never loaded."""

    def __init__(self, outcome: Outcome, message: str, where: SourceLine | None = None) -> None:
        super().__init__(message)
        self.stop = Stop(outcome, message, where)


@dataclass(frozen=True)
class Asking:
    """One check's way of asking.

    Args:
        exercise: names the grader.
        curriculum: where that lies.
        path: the learner's file.
        timeout_s: how long the learner's code may run; DEFAULT_LIMIT_S where None.
    """

    exercise: Exercise
    curriculum: Curriculum
    path: Path
    timeout_s: float | None = None

    def deadline(self, kind: str) -> float:
        """When a worker of this kind has had its time, if that begins now."""
        return time.monotonic() + self.limit_s(kind)

    def ask(self, worker: WorkerProcess, request: dict[str, Any], deadline: float, when: str) -> dict[str, Any]:
        """The worker's answer.

        Raises:
            StopGradingError: it died, or was still running at the deadline.
        """
        try:
            return worker.ask(request, deadline=deadline)
        except WorkerTimeoutError:
            raise StopGradingError(
                Outcome.TIMED_OUT,
                f"still running after {self.limit_s(worker.device):g} s {when}",
                worker.last_line(self.path),
            ) from None
        except WorkerDiedError as error:
            raise StopGradingError(
                Outcome.CRASHED, f"the process ended {when}: {error.how}", worker.last_line(self.path)
            ) from error

    @contextlib.contextmanager
    def making_sense_of(self, where: str) -> Iterator[None]:
        """Turns an exception into the fault of whom it comes from: the grader, or the worker that answered nonsense."""
        try:
            yield
        except (StopGradingError, GpuprepError):
            raise
        except Exception as error:
            if _is_from_grader(error, self.curriculum.grader_path(self.exercise)):
                raise self.grader_fault(where, error) from error
            what = f"{type(error).__name__}: {error}"
            raise StopGradingError(
                Outcome.CRASHED, f"the worker's answer to {where} makes no sense ({what})"
            ) from error

    def grader_fault(self, where: str, error: Exception) -> GraderFaultError:
        """What an exception of the grader's own code comes to."""
        path = self.curriculum.grader_path(self.exercise)
        return GraderFaultError(
            f"{path}: {where}: {type(error).__name__}: {error}", next_step=f"gpuprep dev check {self.exercise.id}"
        )

    def limit_s(self, kind: str) -> float:
        return self.timeout_s or DEFAULT_LIMIT_S[kind]


def _is_from_grader(error: BaseException, path: Path) -> bool:
    frames = traceback.walk_tb(error.__traceback__)
    return any(Path(frame.f_code.co_filename).resolve() == path.resolve() for frame, _ in frames)
