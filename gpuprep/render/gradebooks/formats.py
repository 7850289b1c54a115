"""Which formats there are, of how many submissions each is, and a class as one of them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from gpuprep.classroom.record import ClassRecord
from gpuprep.errors import UsageError
from gpuprep.render.gradebooks import (
    autograding,
    classroom50,
    exercism,
    github,
    gradescope,
    junit,
    lms_csv,
    prairielearn,
)
from gpuprep.render.gradebooks.standing import Standing, dumps, standing

OF_THE_CLASS = ("junit", "csv")
"""Formats that hold every submission. All others are of one."""


def chosen(record: ClassRecord, format_name: str, submission: str | None) -> tuple[Standing, ...]:
    """The submissions that a format is to hold.

    Args:
        record: the class.
        format_name: one that `rendered` knows, or `github`.
        submission: the name of one; None for all, or for the only one.

    Raises:
        UsageError: there is none of that name, or the format is of one submission and it is left open which.
    """
    if submission is not None:
        return (standing(record, record.student(submission)),)
    if format_name not in OF_THE_CLASS and len(record.students) != 1:
        names = [student.noted.name for student in record.students]
        again = f"gpuprep classroom results {shlex.quote(str(record.folder))} --format {format_name}"
        raise UsageError(
            f"--format {format_name} is of one submission, and {record.folder} holds {len(names)}",
            next_step=f"{again} --submission {shlex.quote(names[0])}" if names else "grade at least one submission",
        )
    return tuple(standing(record, student) for student in record.students)


def rendered(
    record: ClassRecord, format_name: str, standings: Sequence[Standing], environment: Mapping[str, str]
) -> str:
    """The text of a format's one file.

    Args:
        record: the class.
        format_name: any but `github`, which has three.
        standings: what was `chosen`.
        environment: of this process: some gradebooks say there whose submission it is.

    Raises:
        UsageError: they don't.
    """
    if format_name == "junit":
        return junit.document(standings)
    if format_name == "csv":
        return lms_csv.document(record.assignment.title, standings)
    (only,) = standings
    if format_name == "classroom50":
        return dumps(classroom50.result(only, environment))
    of_one = {"gradescope": gradescope.results, "prairielearn": prairielearn.results, "exercism": exercism.results}
    return dumps(of_one[format_name](only))


def of_github(only: Standing, places: Mapping[str, str]) -> tuple[str, str, str]:
    """GitHub's three: commands for stdout, Markdown for the step's summary, a line for the step's outputs."""
    return github.commands(only, places), github.summary(only), f"result={autograding.encoded(only)}\n"
