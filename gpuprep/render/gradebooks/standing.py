"""One submission as every format has it: its findings, and its points in words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gpuprep.classroom.record import ClassRecord, Student
from gpuprep.classroom.scoring import Fate, Row, points
from gpuprep.render.findings import Finding, findings, plain
from gpuprep.render.layout import counted

MAX_NAME = 200
"""Characters of a submission's name that are shown."""


@dataclass(frozen=True)
class Standing:
    """A submission, and what its student may read of it."""

    record: ClassRecord
    student: Student
    findings: tuple[Finding, ...]

    @property
    def row(self) -> Row:
        """Its points."""
        return self.student.row

    @property
    def name(self) -> str:
        """The submission's name in one line that does nothing but be read."""
        return one_line(self.row.submission)

    @property
    def title(self) -> str:
        """The assignment's."""
        return one_line(self.record.assignment.title)

    @property
    def points(self) -> float:
        """What was won, before what being late costs."""
        return sum(score.points for score in self.row.scores)

    @property
    def max_points(self) -> float:
        """What could be had of what was graded."""
        return self.row.max_score

    @property
    def graded(self) -> tuple[Finding, ...]:
        """What was won or lost."""
        return tuple(each for each in self.findings if each.fate in (Fate.WON, Fate.LOST))

    @property
    def elapsed_s(self) -> float:
        """How long its checks took."""
        return sum(grade.report.elapsed_s for grade in self.student.grades.values() if grade.report)

    def notes(self, *, has_penalty: bool = True) -> list[str]:
        """What must not be missed beside the points: what is pending, what is graded again, what is late.

        Args:
            has_penalty: what being late costs has been taken from the points; else the gradebook does that itself.
        """
        told = []
        if self.row.named(Fate.PENDING):
            told.append(f"Not graded yet, and in neither number: {self.row.named(Fate.PENDING)}.")
        if self.row.named(Fate.RERUN):
            told.append(
                f"To be graded again through no fault of the student's, and in neither number: "
                f"{self.row.named(Fate.RERUN)}."
            )
        if self.row.n_days_late:
            late = f"{counted(self.row.n_days_late, 'day')} late".replace("\u00a0", " ")
            share = f": {self.row.kept:.0%} of the points count" if self.row.kept < 1 else ""
            told.append(f"{late}{share}." if has_penalty else f"{late}; these points are before any penalty for it.")
        told += [plain(note, MAX_NAME) for note in self.row.notes]
        return told

    def extra(self) -> dict[str, Any]:
        """The same for a machine, where a format has a place for more."""
        identity = self.record.identity
        return {
            "submission": self.row.submission,
            "submission_hash": self.student.noted.hash,
            "points": rounded(self.points),
            "max_points": rounded(self.max_points),
            "pending_points": rounded(self.row.pending_points),
            "pending": self.row.named(Fate.PENDING),
            "rerun": self.row.named(Fate.RERUN),
            "days_late": self.row.n_days_late,
            "kept": rounded(self.row.kept),
            "gpuprep": identity.gpuprep,
            "sandbox": identity.sandbox,
            "curriculum": identity.curriculum,
        }


def standing(record: ClassRecord, student: Student) -> Standing:
    """A submission of a class."""
    return Standing(record, student, findings(student, record.assignment))


def of_points(won: float, possible: float) -> str:
    """`2.5 of 3 points`."""
    return f"{points(won)} of {points(possible)} points"


def rounded(value: float) -> float:
    """Six decimals: thirds add up, and no digit is noise."""
    return round(value, 6)


def one_line(text: str, limit: int = MAX_NAME) -> str:
    """Text in one line, without control characters."""
    return " ".join(plain(text, limit).split()) or "?"


def dumps(content: Mapping[str, Any]) -> str:
    """A document as JSON: ASCII alone, and none of the numbers that JSON lacks."""
    return json.dumps(content, indent=2, allow_nan=False) + "\n"
