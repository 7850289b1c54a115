"""What a watch takes in, what it wants done, and what it shows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from gpuprep.exercise import Exercise
from gpuprep.model import Report

if TYPE_CHECKING:
    from gpuprep.practice.hints import HintShown
    from gpuprep.practice.picking import Picking
    from gpuprep.practice.solutions import SolutionShown
    from gpuprep.practice.standing import Overview, Standing


class Mode(StrEnum):
    """What the screen shows."""

    EXERCISE = "exercise"
    LIST = "list"
    SOLUTION = "solution"
    ROUND = "round"
    """Every exercise, checked one after the other."""


@dataclass(frozen=True)
class Pressed:
    """A key."""

    key: str


@dataclass(frozen=True)
class Touched:
    """Files may have changed."""

    paths: tuple[Path, ...]


@dataclass(frozen=True)
class Check:
    """To be done: start this check; its end comes back as an event."""

    exercise: Exercise


@dataclass(frozen=True)
class Prepare:
    """To be done: get ready for a check, which is likely to follow at once."""


@dataclass(frozen=True)
class Bench:
    """To be done: hand the terminal to `gpuprep bench` of this exercise."""

    exercise: Exercise


@dataclass(frozen=True)
class Quit:
    """To be done: leave."""

    is_interrupted: bool = False


Action = Check | Prepare | Bench | Quit


@dataclass(frozen=True)
class Offer:
    """A key that does something now."""

    key: str
    label: str


@dataclass(frozen=True)
class Round:
    """A check of everything."""

    total: int
    graded: tuple[tuple[Exercise, Report], ...] = ()
    is_over: bool = False

    def with_report(self, exercise: Exercise, report: Report) -> Round:
        """The round after one more check."""
        others = tuple(pair for pair in self.graded if pair[0].id != exercise.id)
        return replace(self, graded=(*others, (exercise, report)))


@dataclass(frozen=True)
class View:
    """All that a screen shows."""

    mode: Mode
    exercise: Exercise
    path: Path
    overview: Overview
    standing: Standing
    following: Exercise | None
    """Where `n` leads, if anywhere."""
    report: Report | None
    """The last check's; None where there is none to show."""
    hint: HintShown | None
    solution: SolutionShown | None
    picking: Picking | None
    round: Round | None
    busy: str
    """What the running check is doing; empty while none runs."""
    is_missing: bool
    notice: str
    """A remark that goes with the next event."""
    offers: tuple[Offer, ...]
