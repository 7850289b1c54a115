"""A class that was graded, read back from its folder: what scores, gradebooks, feedback and signatures are made of."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gpuprep import curriculum as curricula
from gpuprep.classroom import assignment as assignments
from gpuprep.classroom.assignment import Assignment
from gpuprep.classroom.journal import FILE_NAME, Grade, Identity, Journal, Noted
from gpuprep.classroom.locking import locked
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
    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By exercise, the names of what is handed in."""

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


def graded_with(journal: Journal) -> Curriculum:
    """The curriculum that a class was graded with.

    Raises:
        UsageError: it is not where it was then.
        CurriculumError: it can't be read any more.
    """
    root = journal.curriculum_root()
    if root is not None and not (root / curricula.FILE_NAME).is_file():
        raise UsageError(
            f"{journal.path.parent} was graded with the curriculum {root}, which is not here",
            next_step="say where it is now: --curriculum DIR",
        )
    return curricula.load(root)


def read_class(folder: Path, curriculum: Curriculum | None = None) -> ClassRecord:
    """What a folder that `gpuprep grade` wrote says.

    Args:
        folder: its `--out`.
        curriculum: that the class was graded with, where that is not where it was then; its assignment is held against
            it again.

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
            with locked(folder):
                raise UsageError(
                    f"{folder} holds a grading that has not come to its end",
                    next_step="run its gpuprep grade once more, with --resume",
                )
        curriculum = curriculum or graded_with(journal)
        assignment = assignments.parse(journal.assignment(), folder / "assignment.yaml", curriculum)
        grades: dict[str, dict[str, Grade]] = {}
        for grade in journal.grades():
            grades.setdefault(grade.submission, {})[grade.exercise_id] = grade
        students = tuple(
            Student(noted, grades.get(noted.name, {}), row(assignment, noted, grades.get(noted.name, {})))
            for noted in journal.submissions()
        )
        stubs = {each.id: curriculum.stub_path(each.exercise) for each in assignment.exercises}
        files = {own: tuple(path.name for path in curriculum.sources(stub)) for own, stub in stubs.items()}
        return ClassRecord(folder, assignment, journal.identity(), students, files)
