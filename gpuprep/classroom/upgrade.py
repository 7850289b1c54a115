"""`gpuprep grade --upgrade`: what a machine without a card could not grade, graded on one that has it.

The folder is all that is needed: the journal has the assignment, and `graded/` the files, which must be those that were
handed in. Only files that have something pending or to be graded again are touched, and of their tiers only these can
change: what was won or lost stays so. One thing is stronger: a file that is wrong on the card is wrong.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from gpuprep import __version__
from gpuprep.classroom import assignment as assignments
from gpuprep.classroom.assignment import Assignment
from gpuprep.classroom.executor import Executor, Task
from gpuprep.classroom.grade import FILES, Settings, executor_for, sandbox_for, tasks_of
from gpuprep.classroom.journal import FILE_NAME, Journal, Noted
from gpuprep.classroom.locking import locked
from gpuprep.classroom.record import graded_with
from gpuprep.classroom.run import SCORES, Graded, Run, Tell
from gpuprep.classroom.scoring import Fate, fates, scores_csv
from gpuprep.classroom.submissions import Submission
from gpuprep.curriculum import Curriculum
from gpuprep.errors import UsageError
from gpuprep.exercise import Exercise
from gpuprep.grading.card import card_is_likely, visible_cards
from gpuprep.workspace import write_atomically

DEVICE = "cuda"


@dataclass(frozen=True)
class _Folder:
    """A folder that was graded, held against what is installed here."""

    path: Path
    assignment: Assignment
    curriculum: Curriculum

    def submission(self, noted: Noted) -> Submission:
        """What was graded of a submission, read again.

        Raises:
            UsageError: it is not what was handed in.
        """
        empty = Submission(noted.name, refused=noted.refused)
        files: dict[str, Mapping[str, bytes]] = {}
        for assigned in self.assignment.exercises:
            found = self._files(self.path / FILES / empty.folder / assigned.id, assigned.exercise)
            if found:
                files[assigned.id] = found
        read = replace(empty, files=files)
        if read.hash != noted.hash:
            raise UsageError(
                f"{self.path / FILES / empty.folder} is not what {noted.name!r} handed in: something changed it",
                next_step="copy the whole folder again from the machine that graded it",
            )
        return read

    def _files(self, folder: Path, exercise: Exercise) -> dict[str, bytes]:
        names = [path.name for path in self.curriculum.sources(self.curriculum.stub_path(exercise))]
        paths = [folder / name for name in names]
        return {path.name: path.read_bytes() for path in paths if path.is_file() and not path.is_symlink()}


def upgrade_class(
    folder: Path,
    curriculum: Curriculum | None,
    settings: Settings,
    *,
    on_standing: Tell | None = None,
    executor: Executor | None = None,
) -> Graded:
    """Complete the records of a class that was graded, and write its scores anew.

    Args:
        folder: its `--out`.
        curriculum: the one that it was graded with; None where that is where it was then.
        settings: how; the folder, the device and `is_resumed` in them mean nothing here.
        on_standing: told whenever something is done, when it is on the disk.
        executor: where checks run; on this machine by default.

    Raises:
        UsageError: there is no card, the folder holds no finished class, or something is not as it was then.
        CurriculumError: the assignment names what this curriculum doesn't have.
        ProgressError: the journal can't be read or written.
        GraderFaultError: no grader starts.
    """
    started = time.monotonic()
    folder = folder.resolve()
    if not (folder / FILE_NAME).is_file():
        raise UsageError(f"{folder} holds no grading to upgrade", next_step="gpuprep grade --help")
    sandbox = sandbox_for(settings)
    with locked(folder), Journal(folder) as journal:
        curriculum = curriculum or graded_with(journal)
        assignment = _assignment(journal, folder, curriculum)
        held = _Folder(folder, assignment, curriculum)
        run = Run(assignment, journal, on_standing or (lambda _: None))
        tasks = [
            task
            for submission in [held.submission(noted) for noted in journal.submissions()]
            for task in tasks_of(submission, assignment, curriculum, folder, device=DEVICE, sandbox=sandbox)
        ]
        open_ones = [task for task in tasks if _is_open(task, run, assignment)]
        n_before = len(tasks) - len(open_ones)
        if open_ones and not settings.is_elsewhere and not card_is_likely():
            raise UsageError(
                "--upgrade: no CUDA device found, and all that can be graded without one was",
                next_step=f"copy {folder} to a machine with a GPU: gpuprep grade --upgrade {shlex.quote(folder.name)}",
            )
        if open_ones:
            names = sorted({card.name for card in visible_cards()}) or [DEVICE]
            upgrade = journal.begin_upgrade(", ".join(names), sandbox)
            run.upgrade = upgrade.number
            done = {
                (grade.submission, grade.exercise_id) for grade in journal.history() if grade.upgrade == run.upgrade
            }
            left = [task for task in open_ones if task.key not in done]
            n_before = len(tasks) - len(left)
            with executor_for(executor, replace(settings, device=DEVICE), assignment, sandbox) as graders:
                run.through(graders, left, n_before)
            journal.finish_upgrade(upgrade)
        rows = run.rows()
        write_atomically(folder / SCORES, scores_csv(assignment, rows))
    n_graded = len(tasks) - n_before
    elapsed_s = time.monotonic() - started
    return Graded(assignment, rows, folder, sandbox, n_graded, n_before, elapsed_s, run.n_failed_again)


def _is_open(task: Task, run: Run, assignment: Assignment) -> bool:
    """True where something of it is still to be graded."""
    grade = run.grades.get(task.submission, {}).get(task.exercise.id)
    assigned = next(each for each in assignment.exercises if each.id == task.exercise.id)
    return grade is not None and not {Fate.PENDING, Fate.RERUN}.isdisjoint(fates(assigned, grade).values())


def _assignment(journal: Journal, folder: Path, curriculum: Curriculum) -> Assignment:
    """What was graded, if that is what would be graded now.

    Raises:
        UsageError: it is not.
    """
    if not journal.is_finished:
        raise UsageError(
            f"{folder} holds a grading that has not come to its end",
            next_step="run its gpuprep grade once more, with --resume",
        )
    assignment = assignments.parse(journal.assignment(), folder / "assignment.yaml", curriculum)
    before = journal.identity()
    differs = []
    if before.gpuprep != __version__:
        differs.append(f"gpuprep was {before.gpuprep}, and is {__version__}")
    if before.assignment != assignment.hash:
        differs.append("the curriculum's targets of the assignment have changed")
    if before.curriculum != assignments.hash_of(curriculum, [each.exercise for each in assignment.exercises]):
        differs.append("a grader or a stub has changed, or --curriculum names another folder now")
    if differs:
        raise UsageError(
            f"{folder} can't be upgraded: {'; '.join(differs)}",
            next_step="install here what it was graded with, or grade it anew",
        )
    return assignment
