"""What a learner has done and measured, as `gpuprep report` tells it: frozen, and nothing in it is estimated.

Whatever was not measured is absent here, with a sentence in `missing` that says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from gpuprep.exercise import Exercise
from gpuprep.model import Budget, Case, Measurement, Outcome, Roof, Timing, Work

LEAST_BYTES = "share_of_least_bytes"
"""A curve's figure beside those of `exercise.FIGURES`: the least bytes that a case moves ÷ those that were counted."""


@dataclass(frozen=True)
class Step:
    """One attempt at an exercise."""

    number: int
    """From 1, in the order in which they were made."""
    at: str
    """ISO 8601, UTC."""
    outcome: Outcome
    is_gold: bool
    device: str
    cause: str = ""
    """The id of what the deciding case was diagnosed with."""


@dataclass(frozen=True)
class Measured:
    """One timed operation of one attempt."""

    number: int
    timing: Timing


@dataclass(frozen=True)
class Counted:
    """The counted work of one case of one attempt."""

    number: int
    case: Case
    work: Work
    budgets: tuple[Budget, ...]
    figures: tuple[Measurement, ...] = ()
    """How good what was computed is, where there are targets for that."""


@dataclass(frozen=True)
class Point:
    """One attempt on a curve: the value and its interval."""

    number: int
    value: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.value <= self.high:
            raise ValueError(f"attempt {self.number}: {self.value} lies outside [{self.low}, {self.high}]")


@dataclass(frozen=True)
class Curve:
    """One figure over the attempts that measured it on one device."""

    figure: str
    """One of `exercise.FIGURES`, or LEAST_BYTES."""
    op: str
    device: str
    points: tuple[Point, ...]
    pass_at: float | None = None
    gold_at: float | None = None


@dataclass(frozen=True)
class TimedChange:
    """The first and the best time of one operation on one card, on inputs of about the same size."""

    before: Measured | None
    """None where there is no other to compare with, or where the first is still the best."""
    after: Measured

    @property
    def sizes_differ_by(self) -> float:
        """How far apart the sizes of both inputs are; every check draws them anew."""
        return differ_by(self.before.timing.case, self.after.timing.case) if self.before else 0.0


@dataclass(frozen=True)
class CountedChange:
    """The first and the least work that was counted on one case."""

    before: Counted | None
    """None where the first is still the least."""
    after: Counted


@dataclass(frozen=True)
class RoofPoint:
    """A learner's best time of one operation, on a roofline."""

    exercise_id: str
    op: str
    number: int
    roof: Roof
    median_ms: float

    @property
    def flop_per_byte(self) -> float:
        """How much is computed with each byte that must be moved."""
        return self.roof.flops / self.roof.bytes

    @property
    def tflop_per_s(self) -> float:
        """What the learner's code computed."""
        return self.roof.flops / 1e12 / (self.median_ms / 1e3)


@dataclass(frozen=True)
class Roofline:
    """What one card can do, and a module's points below it."""

    device: str
    copy_gb_per_s: float
    matmul_tflop_per_s: Mapping[str, float]
    """By the operands' dtype."""
    points: tuple[RoofPoint, ...]


@dataclass(frozen=True)
class ExerciseStory:
    """One exercise that was tried: how it went, and what was measured."""

    exercise: Exercise
    outcome: Outcome
    """Of the attempt that counts."""
    is_gold: bool
    is_stale: bool
    solution_seen: bool
    steps: tuple[Step, ...]
    curves: tuple[Curve, ...] = ()
    timed: tuple[TimedChange, ...] = ()
    counted: tuple[CountedChange, ...] = ()
    settings: tuple[str, ...] = ()
    """What the times above were measured on."""
    missing: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.steps:
            raise ValueError(f"{self.exercise.id}: a story without an attempt")


@dataclass(frozen=True)
class ModuleStory:
    """A module: what was tried of it, and what was not."""

    id: str
    title: str
    passed: int
    provisional: int
    gold: int
    total: int
    stories: tuple[ExerciseStory, ...]
    untried: tuple[Exercise, ...]
    rooflines: tuple[Roofline, ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Portfolio:
    """Everything that the report shows."""

    title: str
    made_at: str
    """ISO 8601, UTC."""
    version: str
    """gpuprep's."""
    modules: tuple[ModuleStory, ...]
    missing: tuple[str, ...] = ()

    @property
    def stories(self) -> tuple[ExerciseStory, ...]:
        """Of all modules, in the curriculum's order."""
        return tuple(story for module in self.modules for story in module.stories)

    @property
    def n_attempts(self) -> int:
        """All that were made."""
        return sum(len(story.steps) for story in self.stories)

    @property
    def n_timed(self) -> int:
        """Operations that have a time on a card."""
        return sum(len(story.timed) for story in self.stories)


def differ_by(one: Case, other: Case) -> float:
    """The largest relative difference of two cases' sizes; infinite where anything else tells them apart."""
    if one.params.keys() != other.params.keys():
        return math.inf
    furthest = 0.0
    for key, value in one.params.items():
        another = other.params[key]
        if type(value) is int and type(another) is int and value > 0 and another > 0:
            furthest = max(furthest, abs(value - another) / max(value, another))
        elif value != another:
            return math.inf
    return furthest
