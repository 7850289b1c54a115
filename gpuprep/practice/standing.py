"""Where a learner stands: every exercise with its best attempt, and the figures that follow from them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

from gpuprep.exercise import Exercise
from gpuprep.model import Outcome
from gpuprep.practice.abilities import AbilityStanding, AreaStanding, abilities, areas
from gpuprep.practice.plans import Schedule, schedule

if TYPE_CHECKING:
    from gpuprep.curriculum import Curriculum
    from gpuprep.progress import Progress


@dataclass(frozen=True)
class Standing:
    """One exercise and the attempt at it that counts (see `Progress.best`)."""

    exercise: Exercise
    outcome: Outcome | None
    """None before the first attempt."""
    attempts: int
    is_gold: bool
    is_stale: bool
    """Passed, but the exercise has changed since."""
    at: str | None
    """When the attempt that counts was made: ISO 8601, UTC."""
    solution_seen: bool = False
    """The solution was shown before a pass."""

    def __post_init__(self) -> None:
        if (self.outcome is None) != (self.attempts == 0) or (self.at is None) != (self.attempts == 0):
            raise ValueError(f"{self.exercise.id}: {self.attempts} attempts with {self.outcome} at {self.at}")
        if self.is_gold and self.outcome is not Outcome.PASSED:
            raise ValueError(f"{self.exercise.id}: gold without a pass")
        if self.is_stale and not self.is_done:
            raise ValueError(f"{self.exercise.id}: a stale pass without a pass")

    @property
    def is_done(self) -> bool:
        """True when the exercise was passed, provisionally or not."""
        return self.outcome is not None and self.outcome.is_pass

    @property
    def is_provisional(self) -> bool:
        """True when it was passed, and speed was not graded."""
        return self.outcome is Outcome.PROVISIONAL


@dataclass(frozen=True)
class Standings:
    """What `list` shows."""

    items: tuple[Standing, ...]


@dataclass(frozen=True)
class Tally:
    """How much of a module, a topic or the whole curriculum is done.

    `passed` and `provisional` exclude each other; `gold` are those of `passed` that reached it.
    """

    id: str
    title: str
    passed: int
    provisional: int
    gold: int
    total: int

    def __post_init__(self) -> None:
        if not 0 <= self.gold <= self.passed or not 0 <= self.passed + self.provisional <= self.total:
            raise ValueError(f"{self.id}: impossible counts")


@dataclass(frozen=True)
class Overview:
    """Everything that `progress` shows."""

    standings: tuple[Standing, ...]
    overall: Tally
    modules: tuple[Tally, ...]
    topics: tuple[Tally, ...]
    """In the order in which the curriculum first names them. An exercise counts in each of its topics."""
    current: Standing | None
    """None when all is done."""
    plan: str | None
    coming: tuple[str, ...]
    """Ids that the plan names and the curriculum doesn't have yet."""
    schedule: Schedule | None = None
    """The plan and the calendar."""
    areas: tuple[AreaStanding, ...] = ()
    """The roadmap."""
    checklist: tuple[AbilityStanding, ...] = ()


def standings(curriculum: Curriculum, progress: Progress) -> tuple[Standing, ...]:
    """Every exercise's standing, in curriculum order."""
    best, counts, seen = progress.best(), progress.counts(), progress.solutions_seen()

    def standing(exercise: Exercise) -> Standing:
        attempt = best.get(exercise.id)
        is_seen = exercise.id in seen
        if attempt is None:
            return Standing(exercise, None, 0, is_gold=False, is_stale=False, at=None, solution_seen=is_seen)
        return Standing(
            exercise,
            attempt.outcome,
            # Another process may have recorded the first attempt between the two questions.
            max(1, counts.get(exercise.id, 0)),
            is_gold=attempt.is_gold,
            is_stale=attempt.outcome.is_pass and attempt.exercise_hash != curriculum.exercise_hash(exercise),
            at=attempt.at,
            solution_seen=is_seen,
        )

    return tuple(standing(exercise) for exercise in curriculum.exercises)


def current(standings: Sequence[Standing], curriculum: Curriculum, plan_id: str | None) -> Standing | None:
    """The first exercise in plan order that is neither passed nor provisional; skips are passed over.

    Args:
        standings: as `standings()` returns them.
        curriculum: holds the plan.
        plan_id: None means curriculum order.

    Returns:
        None when everything that the plan names and the curriculum has is done.
    """
    by_id = {standing.exercise.id: standing for standing in standings}
    order = _planned(curriculum, plan_id) if plan_id is not None else by_id
    return next((by_id[key] for key in order if key in by_id and not by_id[key].is_done), None)


def overview(
    curriculum: Curriculum,
    progress: Progress,
    plan_id: str | None,
    *,
    started: date | None = None,
    today: date | None = None,
) -> Overview:
    """Counts by module and topic, the current exercise, what is due, and what the plan still waits for.

    Args:
        curriculum: holds the exercises, the plan, the roadmap and the checklist.
        progress: the record.
        plan_id: None means curriculum order.
        started: the day on which the plan was chosen.
        today: the day that it is, by the machine's clock where None.
    """
    items = standings(curriculum, progress)
    by_id = {item.exercise.id: item for item in items}
    today = today or datetime.now().astimezone().date()
    topics = dict.fromkeys(topic for item in items for topic in item.exercise.topics)
    planned = _planned(curriculum, plan_id) if plan_id is not None else ()
    return Overview(
        standings=items,
        overall=_tally("all", curriculum.title, items),
        modules=tuple(
            _tally(module.id, module.title, (item for item in items if item.exercise.id in module.exercise_ids))
            for module in curriculum.modules
        ),
        topics=tuple(_tally(topic, topic, (i for i in items if topic in i.exercise.topics)) for topic in topics),
        current=current(items, curriculum, plan_id),
        plan=plan_id,
        coming=tuple(key for key in planned if key not in by_id),
        schedule=schedule(curriculum.plan(plan_id), by_id, started=started, today=today) if plan_id else None,
        areas=areas(curriculum.roadmap, by_id),
        checklist=abilities(curriculum.checklist, by_id),
    )


def _planned(curriculum: Curriculum, plan_id: str) -> tuple[str, ...]:
    """The plan's ids in order, each once."""
    entries = curriculum.plan(plan_id).entries
    return tuple(dict.fromkeys(exercise_id for entry in entries for exercise_id in entry.exercises))


def _tally(tally_id: str, title: str, items: Iterable[Standing]) -> Tally:
    items = tuple(items)
    return Tally(
        tally_id,
        title,
        passed=sum(item.outcome is Outcome.PASSED for item in items),
        provisional=sum(item.outcome is Outcome.PROVISIONAL for item in items),
        gold=sum(item.is_gold for item in items),
        total=len(items),
    )
