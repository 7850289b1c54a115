"""A class made by hand: one submission of each kind, and one that would break out of every format if it could."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import sample_reports as samples
from sample_record import DUE, Handed, made_assignment, made_record, made_student

from gpuprep.classroom.assignment import Assignment
from gpuprep.classroom.record import ClassRecord, Student
from gpuprep.model import Case, CaseResult, Outcome, Report, SourceLine, Tier, TierResult

ASSIGNMENT = made_assignment()
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


def handed_in(name: str, handed: Handed, assignment: Assignment = ASSIGNMENT, days_late: float = 0) -> Student:
    """A submission, so many days late, or a day early."""
    return made_student(assignment, name, handed, submitted=DUE + timedelta(days=days_late or -1))


def made_class(*students: Student, assignment: Assignment = ASSIGNMENT) -> ClassRecord:
    """A class of these."""
    return made_record(Path("hw1"), assignment, *students)


def every_kind(assignment: Assignment = ASSIGNMENT) -> ClassRecord:
    """A class with one of each kind."""
    return made_class(
        handed_in("gold", {"ex_01": samples.timed(), "ex_02": samples.timed()}, assignment),
        handed_in("pending", {"ex_01": samples.provisional(), "ex_02": samples.provisional()}, assignment),
        handed_in("late", {"ex_01": samples.provisional(), "ex_02": samples.timed(0.5)}, assignment, days_late=1.5),
        handed_in("wrong", {"ex_01": samples.wrong_values(), "ex_02": samples.too_much_work()}, assignment),
        handed_in("rerun", {"ex_01": "Traceback: /srv/grader", "ex_02": samples.timed(0.80)}, assignment),
        handed_in("lost", {"ex_01": "the process hung", "ex_02": "the process hung"}, assignment),
        made_student(assignment, "absent", {}, refused={"ex_02": "two files: a/ex_02.py, b/ex_02.py"}),
        handed_in("uncompiled", {"ex_01": samples.compile_failed(), "ex_02": samples.compile_failed()}, assignment),
        handed_in("stub", {"ex_01": samples.without_cases(Outcome.NOT_STARTED)}, assignment),
        handed_in(NASTY_NAME, {"ex_01": broken(), "ex_02": broken(BIG, BIG)}, assignment, days_late=9),
        assignment=assignment,
    )
