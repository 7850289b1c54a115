"""What can go wrong outside a learner's own code. Outcomes of grading are values, never exceptions."""

from __future__ import annotations

INTERRUPTED = 130
"""The exit code that shells report for a process that Ctrl-C ended."""


class GpuprepError(Exception):
    """Something is set up wrong, and a person can mend it.

    `cli` catches this type once and prints `message`, then `next_step`; every other exception is our own bug.

    Args:
        message: what failed, with the path or id it failed on.
        next_step: the command to type, or the line to change, next.
    """

    exit_code = 2

    def __init__(self, message: str, *, next_step: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step


class UsageError(GpuprepError):
    """The command was asked for something that makes no sense together."""


class CurriculumError(GpuprepError):
    """`curriculum.yaml` can't be read or says something it must not."""


class UnknownExerciseError(GpuprepError):
    """No exercise answers to what was typed, or more than one does."""


class WorkspaceError(GpuprepError):
    """There is no workspace here, or its files can't be read or written."""


class ProgressError(GpuprepError):
    """The record of attempts can't be read or written."""


class UnsupportedTritonError(GpuprepError):
    """The installed Triton has an interpreter that the counters don't know."""


class GraderFaultError(GpuprepError):
    """A grader, or the grading machinery, is broken. The learner's code is not to blame."""

    exit_code = 3
