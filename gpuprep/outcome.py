"""What can become of a check, and which of several things that are wrong comes first."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """What became of a check. The order is the precedence: of several that apply, the first one wins."""

    GRADER_FAULT = "GRADER_FAULT"
    COMPILE_FAILED = "COMPILE_FAILED"
    WRONG_SIGNATURE = "WRONG_SIGNATURE"
    RAISED = "RAISED"
    CRASHED = "CRASHED"
    DEADLOCK = "DEADLOCK"
    TIMED_OUT = "TIMED_OUT"
    OUT_OF_BOUNDS = "OUT_OF_BOUNDS"
    MISALIGNED = "MISALIGNED"
    BAD_SYNC = "BAD_SYNC"
    RACE = "RACE"
    WRONG_SHAPE = "WRONG_SHAPE"
    WRONG_DTYPE = "WRONG_DTYPE"
    WRONG_STRIDES = "WRONG_STRIDES"
    ALIASED_INPUT = "ALIASED_INPUT"
    MUTATED_INPUT = "MUTATED_INPUT"
    BANNED_CALL = "BANNED_CALL"
    WRONG_VALUES = "WRONG_VALUES"
    # Where one of several functions is still to be written, what is wrong with the others comes first.
    NOT_STARTED = "NOT_STARTED"
    TOO_MUCH_WORK = "TOO_MUCH_WORK"
    INVALID = "INVALID"
    TOO_SLOW = "TOO_SLOW"
    INCONCLUSIVE = "INCONCLUSIVE"
    SKIPPED = "SKIPPED"
    PROVISIONAL = "PROVISIONAL"
    PASSED = "PASSED"

    @property
    def precedence(self) -> int:
        """0 for the outcome that hides all others."""
        return _PRECEDENCE[self]

    @property
    def is_pass(self) -> bool:
        """True for PASSED and PROVISIONAL, which alone let a learner go on."""
        return self in (Outcome.PASSED, Outcome.PROVISIONAL)

    @property
    def is_failure(self) -> bool:
        """True where the learner's code was judged and found wanting."""
        return not self.is_pass and self not in (Outcome.SKIPPED, Outcome.INCONCLUSIVE, Outcome.GRADER_FAULT)


_PRECEDENCE = {outcome: place for place, outcome in enumerate(Outcome)}


class Tier(StrEnum):
    """The three questions of a verdict."""

    CORRECT = "correct"
    WORK = "work"
    SPEED = "speed"
