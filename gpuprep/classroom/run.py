"""What `gpuprep grade` does with tasks: each is graded, once more where that came to nothing, and recorded once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gpuprep.classroom.assignment import Assignment
from gpuprep.classroom.executor import Executor, Finished, Task
from gpuprep.classroom.journal import Grade, Journal, Noted
from gpuprep.classroom.scoring import Fate, Row, fates, row
from gpuprep.confinement.permits import Level
from gpuprep.model import Outcome

SCORES = "scores.csv"
N_TRIES = 2
"""Of a task that the grader itself failed in, whose machine was lost, or whose time could not be measured."""


@dataclass(frozen=True)
class Standing:
    """How far it has come."""

    n_done: int
    """Files graded, those of an earlier run among them."""
    n_files: int
    row: Row | None = None
    """A submission of which all has been graded just now."""


Tell = Callable[[Standing], None]


@dataclass(frozen=True)
class Graded:
    """A class that has been graded."""

    assignment: Assignment
    rows: tuple[Row, ...]
    out: Path
    sandbox: Level
    n_graded: int
    """Files that were graded by this run."""
    n_before: int
    """Files that an earlier run had graded."""
    elapsed_s: float
    n_failed_again: int = 0
    """Files that were to be upgraded, and that the grader failed in: they are as they were before."""
    left_out: tuple[str, ...] = ()
    """What lay among the submissions and was none."""

    @property
    def scores_path(self) -> Path:
        """Where the scores are."""
        return self.out / SCORES

    @property
    def outcomes(self) -> dict[str, int]:
        """How often each outcome was reached, over all exercises."""
        found: dict[str, int] = {}
        for each in self.rows:
            for score in each.scores:
                found[score.outcome] = found.get(score.outcome, 0) + 1
        return found

    @property
    def n_faults(self) -> int:
        """Files that the grader failed in."""
        return self.outcomes.get(Outcome.GRADER_FAULT, 0) + self.n_failed_again

    @property
    def to_rerun(self) -> tuple[Row, ...]:
        """Submissions that are to be graded again, at least in part."""
        return tuple(each for each in self.rows if each.named(Fate.RERUN))


@dataclass
class Run:
    """What is being graded.

    Args:
        assignment: with which weights.
        journal: where it is recorded.
        tell: told whenever something is done, when it is on the disk.
        upgrade: the number of the upgrade that this is; 0 for the first grading.
    """

    assignment: Assignment
    journal: Journal
    tell: Tell
    upgrade: int = 0
    grades: dict[str, dict[str, Grade]] = field(default_factory=dict)
    """The newest, by submission and exercise."""
    n_files: int = 0
    n_done: int = 0
    n_failed_again: int = 0
    names: dict[str, Noted] = field(default_factory=dict)
    due: dict[str, set[str]] = field(default_factory=dict)
    """Which exercises of each submission are still to be graded."""

    def __post_init__(self) -> None:
        self.names = {noted.name: noted for noted in self.journal.submissions()}
        for grade in self.journal.grades():
            self.grades.setdefault(grade.submission, {})[grade.exercise_id] = grade

    def row(self, noted: Noted) -> Row:
        """A submission's points, as far as they are known."""
        return row(self.assignment, noted, self.grades.get(noted.name, {}))

    def rows(self) -> tuple[Row, ...]:
        """Everybody's."""
        return tuple(map(self.row, self.journal.submissions()))

    def through(self, executor: Executor, tasks: Sequence[Task], n_before: int = 0) -> None:
        """Grade them all, and once more those that came to nothing the first time.

        Args:
            executor: where.
            tasks: that no run has finished.
            n_before: how many others are finished.
        """
        self.n_done, self.n_files = n_before, n_before + len(tasks)
        waiting = {task.key: task for task in tasks}
        for task in tasks:
            self.due.setdefault(task.submission, set()).add(task.exercise.id)
        self.tell(Standing(self.n_done, self.n_files))
        for name, noted in self.names.items():
            if name not in self.due and name not in self.grades:
                # Nothing of it can be graded, so nothing below comes to its row.
                self.tell(Standing(self.n_done, self.n_files, self.row(noted)))
        spoilt: dict[tuple[str, str], Finished] = {}
        for n_try in range(1, N_TRIES + 1):
            is_last = n_try == N_TRIES
            for finished in executor.run(list(waiting.values())) if waiting else ():
                key = finished.task.key
                if key not in waiting or (key in spoilt and n_try == 1):
                    # A cluster may run a task twice, and tell of both.
                    continue
                if not self._is_final(finished) and not is_last:
                    spoilt[key] = finished
                    continue
                del waiting[key]
                # A measurement that was spoilt says more than a grader that failed.
                self._take(spoilt[key] if finished.fault and key in spoilt else finished)
        for key, task in waiting.items():
            self._take(spoilt.get(key) or Finished(task, fault="nobody said what became of it"))

    def _is_final(self, finished: Finished) -> bool:
        """False where the grader failed, the card was busy, hot or contradicted itself, or a time lies on the edge."""
        if finished.fault:
            return False
        assigned = {each.id: each for each in self.assignment.exercises}[finished.task.exercise.id]
        return Fate.RERUN not in fates(assigned, self._grade(finished)).values()

    def _grade(self, finished: Finished) -> Grade:
        task = finished.task
        return Grade(
            submission=task.submission,
            exercise_id=task.exercise.id,
            tiers=finished.tiers,
            report=finished.report,
            fault=finished.fault,
            n_checks=task.n_checks,
            hidden=finished.hidden,
            upgrade=self.upgrade,
            earlier=self.grades.get(task.submission, {}).get(task.exercise.id),
        )

    def _take(self, finished: Finished) -> None:
        name, exercise_id = finished.task.key
        grade = self._grade(finished)
        self.journal.record(grade)
        if grade.report is None and grade.earlier is not None and grade.earlier.report is not None:
            self.n_failed_again += 1
        else:
            self.grades.setdefault(name, {})[exercise_id] = grade
        self.n_done += 1
        self.due[name].discard(exercise_id)
        is_whole = not self.due[name]
        self.tell(Standing(self.n_done, self.n_files, self.row(self.names[name]) if is_whole else None))
