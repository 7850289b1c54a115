"""A class that was graded, made by hand: its record in memory, and in a folder as `gpuprep grade` leaves it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import sample_reports as samples

from gpuprep.classroom.assignment import Assigned, Assignment, Late
from gpuprep.classroom.journal import Grade, Identity, Journal, Noted
from gpuprep.classroom.record import ClassRecord, Student
from gpuprep.classroom.scoring import row
from gpuprep.model import Report, Tier

DUE = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = replace(samples.EXERCISE, id="ex_02", name="reduction", title="Reduction")
IDENTITY = Identity("a" * 64, "c" * 64, "0.1.0", "cpu", "full")
HOMEWORK = """
title: Homework 1
exercises: [{id: ex_01, weight: 2}, ex_02]
due: 2026-03-01T12:00Z
late: {per_day: 0.1}
"""
"""What `made_assignment` is read from."""
VERSIONS = {"gpuprep": "0.1.0", "python": "3.11.7", "torch": "2.13.0+cpu", "triton": "3.9.0"}

Handed = Mapping[str, Report | str | None]
"""By exercise: a report, the grader's fault as text; None for nothing handed in."""


def made_assignment(n_hidden_seeds: int = 0, title: str = "Homework 1") -> Assignment:
    """Two exercises, and a due date."""
    exercises = (Assigned(samples.EXERCISE, 2.0), Assigned(SECOND))
    return Assignment(title, exercises, due=DUE, late=Late(0.1), n_hidden_seeds=n_hidden_seeds)


def made_student(
    assignment: Assignment,
    name: str,
    handed: Handed,
    *,
    submitted: datetime = DUE,
    digest: str = "",
    refused: Mapping[str, str] | None = None,
) -> Student:
    """One submission and what became of it."""
    noted = Noted(name, digest or name.encode().hex()[:64].ljust(64, "0"), submitted, refused or {}, ())
    grades = {}
    for exercise_id, found in handed.items():
        if isinstance(found, str):
            grades[exercise_id] = Grade(name, exercise_id, tuple(Tier), None, found)
        elif found is not None:
            report = replace(found, exercise_id=exercise_id, versions=VERSIONS, sandbox="full")
            grades[exercise_id] = Grade(name, exercise_id, tuple(Tier), report)
    return Student(noted, grades, row(assignment, noted, grades))


def made_record(folder: Path, assignment: Assignment, *students: Student) -> ClassRecord:
    """A class of these students; of three of them, if none are named."""
    found = students or (
        made_student(assignment, "ada", {"ex_01": samples.provisional(), "ex_02": samples.timed()}),
        made_student(assignment, "bob", {"ex_01": samples.wrong_values()}, submitted=DUE.replace(day=2)),
        made_student(assignment, "Émile Čapek", {"ex_01": "it died"}, refused={"ex_02": "two files"}),
    )
    return ClassRecord(folder, assignment, IDENTITY, tuple(found))


def write_record(record: ClassRecord, homework: str) -> None:
    """Its folder, with a journal that has come to its end."""
    record.folder.mkdir(parents=True, exist_ok=True)
    with Journal(record.folder) as journal:
        journal.begin(record.identity, [student.noted for student in record.students], homework)
        for student in record.students:
            for grade in student.grades.values():
                journal.record(grade)
        journal.finish()
