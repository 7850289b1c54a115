"""`assignment.yaml` → a validated `Assignment`: what is graded, how much it weighs, what is late."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from gpuprep.curriculum import Curriculum, targets_of
from gpuprep.errors import UnknownExerciseError
from gpuprep.exercise import Exercise, Target
from gpuprep.model import Scalar
from gpuprep.outcome import Tier
from gpuprep.yaml_nodes import Value, compose, read_text, suggestion

MAX_HIDDEN_SEEDS = 20
"""More than that proves nothing more, and costs a whole check each."""
MAX_SHAPES = 20
"""Of one exercise."""
DAY_S = 24 * 3600.0


@dataclass(frozen=True)
class Late:
    """What a late submission loses: a share of its score for each day that has begun, and all of it in the end."""

    per_day: float
    """From 0 to 1."""
    days: int | None = None
    """After so many days there is nothing left; None where only `per_day` takes away."""
    grace_s: float = 0.0
    """What counts as in time all the same."""

    def kept(self, n_days: int) -> float:
        """The share of the score that is left."""
        if self.days is not None and n_days > self.days:
            return 0.0
        return max(0.0, 1.0 - n_days * self.per_day)


@dataclass(frozen=True)
class HiddenShape:
    """A further case of an exercise, by what is other in it than in one of the grader's own."""

    shape: Mapping[str, Scalar]
    """`{"n": 12345, "dtype": "float16"}`."""
    line: int
    """Where it stands."""


@dataclass(frozen=True)
class Assigned:
    """One exercise of an assignment."""

    exercise: Exercise
    """With the assignment's own targets, where it has some."""
    weight: float = 1.0
    """Points for all of it."""
    tiers: tuple[Tier, ...] = tuple(Tier)
    """Those that count, of those that the exercise has."""
    shapes: tuple[HiddenShape, ...] = ()
    """What no student may know of."""

    @property
    def id(self) -> str:
        """The exercise's id."""
        return self.exercise.id


@dataclass(frozen=True)
class Assignment:
    """A file `assignment.yaml`, read and held against the curriculum."""

    title: str
    exercises: tuple[Assigned, ...]
    limit_s: float | None = None
    """How long a submission's code may run on each device; the graders' own limit where None."""
    n_hidden_seeds: int = 0
    """How often each file is graded once more, with inputs from another secret seed."""
    due: datetime | None = None
    late: Late | None = None

    @property
    def hash(self) -> str:
        """sha256 of all that it says: comments and the order of keys are no part of it."""
        said = asdict(self)
        for item, assigned in zip(said["exercises"], self.exercises, strict=True):
            # Title and hints may change without changing what is graded.
            item["exercise"] = [assigned.id, [asdict(target) for target in assigned.exercise.targets]]
            item["shapes"] = [dict(each.shape) for each in assigned.shapes]
        return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()

    @property
    def open_hash(self) -> str:
        """The same of what students may know: whoever had a hash of hidden shapes could try shapes until one fits."""
        return replace(self, exercises=tuple(replace(each, shapes=()) for each in self.exercises)).hash

    def n_checks(self, assigned: Assigned) -> int:
        """How often a file for one of its exercises is graded; all but the first time with what is hidden."""
        return 1 + max(self.n_hidden_seeds, 1 if assigned.shapes else 0)

    def days_late(self, submitted: datetime) -> int:
        """How many days after the due date have begun; 0 where it is in time, or nothing is due."""
        if self.due is None:
            return 0
        late_s = (submitted - self.due).total_seconds()
        grace_s = self.late.grace_s if self.late else 0.0
        return 0 if late_s <= grace_s else math.ceil(late_s / DAY_S)

    def kept(self, n_days: int) -> float:
        """The share of its score that a submission keeps which is so many days late."""
        return self.late.kept(n_days) if self.late and n_days else 1.0


def read(path: Path, curriculum: Curriculum) -> Assignment:
    """The assignment in a file.

    Raises:
        CurriculumError: it can't be read, or says something that it must not; the message starts `file:line`.
    """
    return parse(read_text(path), path, curriculum)


def parse(text: str, path: Path, curriculum: Curriculum) -> Assignment:
    """The assignment that a text describes; `path` is named in errors.

    Raises:
        CurriculumError: the text says something that it must not.
    """
    top = compose(text, path).fields(("title", "exercises"), ("limits", "hidden", "due", "late"))
    exercises: list[Assigned] = []
    for item in top["exercises"].items():
        assigned = _assigned(item, curriculum)
        if any(assigned.id == other.id for other in exercises):
            raise item.fault(f"{assigned.id} stands here twice")
        exercises.append(assigned)
    if not exercises:
        raise top["exercises"].fault("an assignment needs at least one exercise")
    if "late" in top and "due" not in top:
        raise top["late"].fault("nothing is late without a due date: add `due`")
    n_hidden_seeds, shapes = _hidden(top["hidden"], exercises) if "hidden" in top else (0, {})
    return Assignment(
        title=top["title"].text(),
        exercises=tuple(replace(each, shapes=shapes.get(each.id, ())) for each in exercises),
        limit_s=_limit(top["limits"]) if "limits" in top else None,
        n_hidden_seeds=n_hidden_seeds,
        due=_moment(top["due"]) if "due" in top else None,
        late=_late(top["late"]) if "late" in top else None,
    )


def _assigned(value: Value, curriculum: Curriculum) -> Assigned:
    if value.is_text:
        return Assigned(_exercise(value, curriculum))
    fields = value.fields(("id",), ("weight", "tiers", "targets"))
    exercise = _exercise(fields["id"], curriculum)
    weight = fields["weight"].number() if "weight" in fields else 1.0
    if weight <= 0:
        raise fields["weight"].fault(f"want a number above 0, have {weight:g}")
    tiers = _tiers(fields["tiers"]) if "tiers" in fields else tuple(Tier)
    if "targets" in fields:
        exercise = replace(exercise, targets=_targets(fields["targets"], exercise))
    return Assigned(exercise, weight, tiers)


def _exercise(value: Value, curriculum: Curriculum) -> Exercise:
    try:
        return curriculum.exercise(value.text())
    except UnknownExerciseError as error:
        raise value.fault(error.message) from error


def _tiers(value: Value) -> tuple[Tier, ...]:
    found = []
    for item in value.items():
        if item.text() not in tuple(Tier):
            raise item.fault(f"unknown tier {item.text()!r}; {suggestion(item.text(), map(str, Tier))}")
        found.append(Tier(item.text()))
    if not found:
        raise value.fault("name at least one tier, or leave the key out")
    return tuple(tier for tier in Tier if tier in found)


def _targets(value: Value, exercise: Exercise) -> tuple[Target, ...]:
    """The exercise's targets, with those that are named here in the place of its own."""
    own = {(target.of, target.figure): target for target in exercise.targets}
    named = {(target.of, target.figure): target for target in targets_of(value)}
    for of, figure in named:
        if (of, figure) not in own:
            known = ", ".join(f"{figure} of {of}" if of else figure for of, figure in own) or "none"
            raise value.fault(f"{exercise.id} has no target {figure}{f' of {of}' if of else ''}; it has: {known}")
    return tuple({**own, **named}.values())


def _limit(value: Value) -> float:
    seconds = value.fields(("seconds",))["seconds"]
    if seconds.number() <= 0:
        raise seconds.fault(f"want a number of seconds above 0, have {seconds.number():g}")
    return seconds.number()


def _hidden(value: Value, exercises: Sequence[Assigned]) -> tuple[int, dict[str, tuple[HiddenShape, ...]]]:
    fields = value.fields((), ("seeds", "shapes"))
    if not fields:
        raise value.fault("want `seeds`, `shapes` or both")
    n_seeds = fields["seeds"].integer() if "seeds" in fields else 0
    if not 0 <= n_seeds <= MAX_HIDDEN_SEEDS:
        raise fields["seeds"].fault(f"want a number from 0 to {MAX_HIDDEN_SEEDS}, have {n_seeds}")
    shapes: dict[str, tuple[HiddenShape, ...]] = {}
    known = [assigned.id for assigned in exercises]
    for key, items in fields["shapes"].entries() if "shapes" in fields else ():
        if key.text() not in known:
            raise key.fault(f"{key.text()!r} is not assigned; {suggestion(key.text(), known)}")
        found = tuple(_shape(item) for item in items.items())
        if not 0 < len(found) <= MAX_SHAPES:
            raise items.fault(f"want 1 to {MAX_SHAPES} shapes, have {len(found)}")
        shapes[key.text()] = found
    return n_seeds, shapes


def _shape(value: Value) -> HiddenShape:
    shape = {key.text(): _scalar(item) for key, item in value.entries()}
    if not shape:
        raise value.fault("name a size: {n: 12345}")
    return HiddenShape(shape, value.line)


def _scalar(value: Value) -> Scalar:
    if value.is_text:
        return value.text()
    return value.truth() if value.is_truth else value.integer() if value.is_integer else value.number()


def _late(value: Value) -> Late:
    fields = value.fields(("per_day",), ("days", "grace_minutes"))
    per_day = fields["per_day"].number()
    if not 0 <= per_day <= 1:
        raise fields["per_day"].fault(f"want the share of the score that a day costs, from 0 to 1, have {per_day:g}")
    days = fields["days"].integer() if "days" in fields else None
    if days is not None and days < 0:
        raise fields["days"].fault(f"want a number of days, have {days}")
    grace = fields["grace_minutes"].number() if "grace_minutes" in fields else 0.0
    if grace < 0:
        raise fields["grace_minutes"].fault(f"want a number of minutes, have {grace:g}")
    return Late(per_day, days, 60 * grace)


def _moment(value: Value) -> datetime:
    try:
        return moment(value.scalar())
    except ValueError as error:
        raise value.fault(str(error)) from None


def hash_of(curriculum: Curriculum, exercises: Iterable[Exercise]) -> str:
    """sha256 of the graders and stubs of what is assigned."""
    digest = hashlib.sha256()
    for exercise in exercises:
        digest.update(f"{exercise.id}\0{curriculum.exercise_hash(exercise)}\0".encode())
    return digest.hexdigest()


def moment(text: str) -> datetime:
    """A point in time as ISO 8601 writes it.

    Raises:
        ValueError: it is none, or it doesn't say of which place on earth its hours are.
    """
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"want a date and time like 2026-03-01T23:59+01:00, have {text!r}") from None
    if found.tzinfo is None:
        raise ValueError(f"{text!r} needs its offset from UTC, as in 2026-03-01T23:59+01:00, or Z for UTC")
    try:
        return found.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text!r} is beyond the calendar") from None
