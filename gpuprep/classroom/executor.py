"""Where checks run. One small interface, so that a class may be graded here or on machines elsewhere.

An executor grades tasks in any order and says what became of each. It never decides: a task whose machine was lost
comes back as lost, and whoever asked may ask again.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gpuprep.exercise import Exercise
from gpuprep.grading.reports import exercise_from, report_from
from gpuprep.model import Report
from gpuprep.outcome import Tier


@dataclass(frozen=True)
class Task:
    """One submission's file for one exercise, and how to grade it: text and numbers, so that it can travel."""

    submission: str
    exercise: Exercise
    path: str
    file_hash: str
    """Of the files at `path`, as a report has it: what is graded must be what was collected."""
    curriculum: str
    """The curriculum's folder."""
    device: str = "cpu"
    sandbox: str = "none"
    limit_s: float | None = None
    n_checks: int = 1
    """With how many secret seeds; all but the first are hidden checks."""
    shapes: tuple[dict[str, Any], ...] = ()
    """Of further cases in hidden checks."""

    @property
    def key(self) -> tuple[str, str]:
        """Names it among all."""
        return self.submission, self.exercise.id

    def to_json(self) -> str:
        """As it goes to another process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> Task:
        """The same again.

        Raises:
            ValueError: it is none.
        """
        fields = json.loads(text)
        shapes = tuple(fields["shapes"])
        return cls(**{**fields, "exercise": exercise_from(fields["exercise"]), "shapes": shapes})


@dataclass(frozen=True)
class Finished:
    """What became of a task: a report, or the grader's own fault."""

    task: Task
    report: Report | None = None
    tiers: tuple[Tier, ...] = ()
    """That the exercise has."""
    fault: str = ""
    is_unfit: bool = False
    """The fault is the machine's: another one may be able to."""
    hidden: tuple[Report, ...] = ()
    """Of the hidden checks, whole: for the instructor alone."""

    @classmethod
    def from_answer(cls, task: Task, answer: Mapping[str, Any]) -> Finished:
        """From what a grader's process says.

        Raises:
            ValueError: no grader says that.
        """
        if fault := answer.get("fault"):
            return cls(task, fault=str(fault), is_unfit=bool(answer.get("is_unfit")))
        hidden = tuple(map(report_from, answer.get("hidden", ())))
        return cls(task, report_from(answer["report"]), tuple(map(Tier, answer["tiers"])), hidden=hidden)

    def as_answer(self) -> dict[str, Any]:
        """What `from_answer` reads, as JSON knows it."""
        if self.report is None:
            return {"fault": self.fault, "is_unfit": self.is_unfit}
        hidden = [report.as_dict() for report in self.hidden]
        return {"report": self.report.as_dict(), "tiers": list(self.tiers), "hidden": hidden}


class Executor(ABC):
    """Grades tasks. Leaving its context closes it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def run(self, tasks: Sequence[Task]) -> Iterator[Finished]:
        """Each task's end, as soon as it is known. May be called again, for some of them or others."""

    @abstractmethod
    def close(self) -> None:
        """End all that it started."""


def grade(task: Task, pool: Any, on_event: Callable[[str], None] | None = None) -> dict[str, Any]:
    """What a grader's process does with a task, wherever it runs.

    Args:
        task: what to grade.
        pool: a `WarmPool`, or None.
        on_event: gets a few words whenever something starts.

    Returns:
        What `Finished.from_answer` reads, as JSON knows it.
    """
    import random

    from gpuprep.classroom.hidden import is_worth_hidden_checks, told
    from gpuprep.curriculum import Curriculum
    from gpuprep.errors import GpuprepError, UsageError
    from gpuprep.grading.loading import load_grader
    from gpuprep.grading.session import check

    curriculum = Curriculum(Path(task.curriculum), title="", modules=(), exercises=(task.exercise,), plans=())
    try:
        cases = load_grader(curriculum, task.exercise).cases(random.Random(0))  # noqa: S311  which tiers there are
        reports: list[Report] = []
        while len(reports) < task.n_checks and all(map(is_worth_hidden_checks, reports)):
            report = check(
                task.exercise,
                curriculum,
                Path(task.path),
                device=task.device,
                timeout_s=task.limit_s,
                on_event=on_event,
                pool=pool,
                witnessed=task.exercise.language != "distributed",
                sandbox=task.sandbox,
                hidden=task.shapes if reports else None,
            )
            if report.file_hash != task.file_hash:
                return {"fault": f"{task.path} is not what was handed in: something changed it"}
            reports.append(report)
    except UsageError as error:
        # What this process thinks of its machine: another one may find it otherwise.
        return {"fault": error.message, "is_unfit": True}
    except GpuprepError as error:
        return {"fault": error.message}
    except Exception as error:  # noqa: BLE001  a fault of ours in one task must not end the others
        return {"fault": f"{type(error).__name__}: {error}"}
    found = {Tier.CORRECT, *(case.tier for case in cases)}
    opened, *hidden = reports
    tiers = tuple(tier for tier in Tier if tier in found)
    return Finished(task, told(opened, hidden), tiers, hidden=tuple(hidden)).as_answer()
