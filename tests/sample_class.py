"""A class made by hand: one submission of each kind, and one that would break out of every format if it could."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sample_reports as samples

from gpuprep.classroom.assignment import Assigned, Assignment, Late
from gpuprep.classroom.journal import Grade, Identity, Noted
from gpuprep.classroom.record import ClassRecord, Student
from gpuprep.classroom.scoring import row
from gpuprep.model import Case, CaseResult, Outcome, Report, SourceLine, Tier, TierResult

DUE = datetime(2026, 3, 1, tzinfo=UTC)
SECOND = replace(samples.EXERCISE, id="ex_02", title="Reduction", name="reduction")
ASSIGNMENT = Assignment(
    "Homework 1", (Assigned(samples.EXERCISE, 2.0), Assigned(SECOND)), due=DUE, late=Late(0.1, days=3)
)
IDENTITY = Identity("a" * 64, "c" * 64, "0.1.0", "cpu", "full")

NASTY = (
    '=HYPERLINK("http://x")\n::error::owned\n##[error]owned\r\n]]>--></script><img src=x onerror=alert(1)>'
    "\x1b[31mred\x1b[0m\x00\x07\u202eevil\ud800 \uffff ```\n````\n| a | b |\n@everyone "
    "%0A::set-output name=x::y,z:1 'q' \"q\" 💥"
)
NASTY_NAME = "=cmd|' /C calc'!A0\n::error::\x1b[31m</script>\"'&,;%0Aé💥 | `x` @all"
BIG = "A💥\x1b[1m" * 250_000


def broken(message: str = NASTY, stdout: str = NASTY) -> Report:
    """A check that failed with words of the student's own."""
    where = SourceLine(f"/srv/hw1/graded/x/{Path(samples.PATH).name}", 31, f"raise ValueError({message!r:.300})")
    said = f"ValueError: {message}"
    case = CaseResult(Case({"n": 1025, "dtype": "float32"}), "cpu", Outcome.RAISED, said, where=where)
    tiers = (TierResult(Tier.CORRECT, Outcome.RAISED),)
    return Report(
        "ex_01", Outcome.RAISED, tiers, (case,), path=where.path, stdout=stdout, elapsed_s=1.25, seed=987654321
    )


def made_student(
    name: str,
    reports: Mapping[str, Report | str],
    assignment: Assignment = ASSIGNMENT,
    days_late: float = 0,
    refused: Mapping[str, str] | None = None,
) -> Student:
    """A submission; text in place of a report is the grader's fault."""
    noted = Noted(name, "f" * 64, DUE + timedelta(days=days_late or -1), refused or {}, ())
    grades = {
        exercise_id: Grade(
            name,
            exercise_id,
            tuple(Tier),
            None if isinstance(found, str) else replace(found, exercise_id=exercise_id),
            found if isinstance(found, str) else "",
        )
        for exercise_id, found in reports.items()
    }
    return Student(noted, grades, row(assignment, noted, grades))


def made_class(*students: Student, assignment: Assignment = ASSIGNMENT) -> ClassRecord:
    """A class of these."""
    return ClassRecord(Path("hw1"), assignment, IDENTITY, students)


def every_kind(assignment: Assignment = ASSIGNMENT) -> ClassRecord:
    """A class with one of each kind."""
    return made_class(
        made_student("gold", {"ex_01": samples.timed(), "ex_02": samples.timed()}, assignment),
        made_student("pending", {"ex_01": samples.provisional(), "ex_02": samples.provisional()}, assignment),
        made_student("late", {"ex_01": samples.provisional(), "ex_02": samples.timed(0.5)}, assignment, days_late=1.5),
        made_student("wrong", {"ex_01": samples.wrong_values(), "ex_02": samples.too_much_work()}, assignment),
        made_student("rerun", {"ex_01": "Traceback: /srv/grader", "ex_02": samples.timed(0.80)}, assignment),
        made_student("lost", {"ex_01": "the process hung", "ex_02": "the process hung"}, assignment),
        made_student("absent", {}, assignment, refused={"ex_02": "two files: a/ex_02.py, b/ex_02.py"}),
        made_student("uncompiled", {"ex_01": samples.compile_failed(), "ex_02": samples.compile_failed()}, assignment),
        made_student("stub", {"ex_01": samples.without_cases(Outcome.NOT_STARTED)}, assignment),
        made_student(NASTY_NAME, {"ex_01": broken(), "ex_02": broken(BIG, BIG)}, assignment, days_late=9),
        assignment=assignment,
    )
