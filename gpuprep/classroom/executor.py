"""Where checks run. One small interface, so that a class may be graded here or on machines elsewhere.

An executor grades tasks in any order and says what became of each. It never decides: a task whose machine was lost
comes back as lost, and whoever asked may ask again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

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
    """With how many secret seeds."""

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
        return cls(**{**fields, "exercise": exercise_from(fields["exercise"])})


@dataclass(frozen=True)
class Finished:
    """What became of a task: a report, or the grader's own fault."""

    task: Task
    report: Report | None = None
    tiers: tuple[Tier, ...] = ()
    """That the exercise has."""
    fault: str = ""

    @classmethod
    def from_answer(cls, task: Task, answer: Mapping[str, Any]) -> Finished:
        """From what a grader's process says.

        Raises:
            ValueError: no grader says that.
        """
        if fault := answer.get("fault"):
            return cls(task, fault=str(fault))
        return cls(task, report_from(answer["report"]), tuple(map(Tier, answer["tiers"])))


class Executor(Protocol):
    """Grades tasks. Leaving its context ends all that it started."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def run(self, tasks: Sequence[Task]) -> Iterator[Finished]:
        """Each task's end, as soon as it is known. May be called again, for some of them or others."""
        ...


def grade(task: Task, pool: Any) -> dict[str, Any]:
    """What a grader's process does with a task, wherever it runs.

    Args:
        task: what to grade.
        pool: a `WarmPool`, or None.

    Returns:
        What `Finished.from_answer` reads, as JSON knows it.
    """
    import random

    from gpuprep.curriculum import Curriculum
    from gpuprep.errors import GpuprepError, UsageError
    from gpuprep.grading.loading import load_grader
    from gpuprep.grading.session import check

    curriculum = Curriculum(Path(task.curriculum), title="", modules=(), exercises=(task.exercise,), plans=())
    try:
        cases = load_grader(curriculum, task.exercise).cases(random.Random(0))  # noqa: S311  which tiers there are
        reports: list[Report] = []
        while len(reports) < task.n_checks and not any(report.outcome.is_failure for report in reports):
            report = check(
                task.exercise,
                curriculum,
                Path(task.path),
                device=task.device,
                timeout_s=task.limit_s,
                pool=pool,
                witnessed=task.exercise.language != "distributed",
                sandbox=task.sandbox,
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
    worst = min(reports, key=lambda report: report.outcome.precedence)
    return {"report": worst.as_dict(), "tiers": [tier for tier in Tier if tier in found]}
