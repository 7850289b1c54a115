"""A class that was graded, read back from its folder: what scores, gradebooks, feedback and signatures are made of."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from gpuprep.classroom import assignment as assignments
from gpuprep.classroom.assignment import Assignment
from gpuprep.classroom.journal import FILE_NAME, Grade, Identity, Journal, Noted
from gpuprep.classroom.scoring import Row, row
from gpuprep.curriculum import Curriculum
from gpuprep.errors import UsageError


@dataclass(frozen=True)
class Student:
    """One submission, and all that is known of it."""

    noted: Noted
    """Its name, its hash, and when it was handed in."""
    grades: dict[str, Grade]
    """By exercise."""
    row: Row
    """Its points."""


@dataclass(frozen=True)
class ClassRecord:
    """A class that was graded to the end."""

    folder: Path
    assignment: Assignment
    identity: Identity
    """What was graded with: hashes, version, device, sandbox."""
    students: tuple[Student, ...]
    """In the order in which they were found."""

    def student(self, name: str) -> Student:
        """The submission of that name.

        Raises:
            UsageError: there is none.
        """
        for each in self.students:
            if each.noted.name == name:
                return each
        raise UsageError(
            f"{self.folder} has no submission {name!r}",
            next_step=f"gpuprep classroom list {shlex.quote(str(self.folder))}",
        )


def read_class(folder: Path, curriculum: Curriculum) -> ClassRecord:
    """What a folder that `gpuprep grade` wrote says.

    Args:
        folder: its `--out`.
        curriculum: that the class was graded with; its assignment is held against it again.

    Raises:
        UsageError: the folder holds no grading, or one that has not come to its end.
        CurriculumError: the assignment names what this curriculum doesn't have.
        ProgressError: the journal can't be read.
    """
    if not (folder / FILE_NAME).is_file():
        raise UsageError(
            f"{folder} holds no grading", next_step="gpuprep grade SUBMISSIONS --assignment FILE --out DIR"
        )
    with Journal(folder) as journal:
        if not journal.is_finished:
            raise UsageError(
                f"{folder} holds a grading that has not come to its end",
                next_step="run its gpuprep grade once more, with --resume",
            )
        assignment = assignments.parse(journal.assignment(), folder / "assignment.yaml", curriculum)
        grades: dict[str, dict[str, Grade]] = {}
        for grade in journal.grades():
            grades.setdefault(grade.submission, {})[grade.exercise_id] = grade
        students = tuple(
            Student(noted, grades.get(noted.name, {}), row(assignment, noted, grades.get(noted.name, {})))
            for noted in journal.submissions()
        )
        return ClassRecord(folder, assignment, journal.identity(), students)
