"""What `gpuprep history` and `compare` tell of attempts: frozen, and nothing in it is estimated."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gpuprep.exercise import Exercise
from gpuprep.model import Measurement, Outcome, Timing
from gpuprep.portfolio import Counted

RIGHT = "right"
"""A series' figure: the share of an attempt's graded cases whose results were right."""
WORK = "work"
"""A series' figure: the least that the task needs ÷ what was counted, of the figure where that is worst."""


@dataclass(frozen=True)
class Tried:
    """One attempt, as its record tells it."""

    number: int
    """From 1, in the order in which they were made."""
    at: str
    """ISO 8601, UTC."""
    outcome: Outcome
    is_gold: bool
    device: str
    """A card's name, or `cpu`."""
    n_right: int
    n_graded: int
    """Cases that ask for right results; 0 where the check ended before any of them ran."""
    file_hash: str
    exercise_hash: str
    cause: str = ""
    """The id of what the deciding case was diagnosed with."""
    timings: tuple[Timing, ...] = ()
    """Those that hold: where the card was slowed down or shared, there is none."""
    counted: tuple[Counted, ...] = ()
    evidence: str = ""
    """Who counted."""
    qualities: tuple[Measurement, ...] = ()
    files: tuple[str, ...] = ()
    """Names of the sources that the record has of it."""
    unkept: str = ""
    """Why it has none."""

    def __post_init__(self) -> None:
        if not 0 <= self.n_right <= self.n_graded:
            raise ValueError(f"attempt {self.number}: {self.n_right} of {self.n_graded} cases right")
        if bool(self.files) == bool(self.unkept):
            raise ValueError(f"attempt {self.number}: sources {self.files}, unkept because {self.unkept!r}")

    @property
    def figures(self) -> tuple[tuple[Measurement, str], ...]:
        """Everything that was held against a target, each with the device that it holds for."""
        timed = [(figure, timing.device) for timing in self.timings for figure in timing.figures]
        return (*timed, *((figure, "") for figure in self.qualities))

    @property
    def share_right(self) -> float | None:
        """The share of the graded cases that were right."""
        return self.n_right / self.n_graded if self.n_graded else None

    @property
    def share_of_work(self) -> float | None:
        """1.0 where nothing more was done than the task needs; None where no work was counted against a least.

        Nor where a result was wrong: how much work it took to get there says nothing.
        """
        if self.n_right < self.n_graded:
            return None
        shares = [
            min(1.0, budget.least / used)
            for counted in self.counted
            for budget in counted.budgets
            if budget.least > 0 and (used := budget.used(counted.work)) > 0
        ]
        return min(shares, default=None)


@dataclass(frozen=True)
class Series:
    """One figure over all attempts; None where an attempt has none."""

    figure: str
    """RIGHT, WORK, or one of `exercise.FIGURES`."""
    values: tuple[float | None, ...]
    op: str = ""
    device: str = ""
    """The card, for what was timed: times on two cards are two series."""
    pass_at: float | None = None
    gold_at: float | None = None

    def __post_init__(self) -> None:
        if all(value is None for value in self.values):
            raise ValueError(f"{self.figure}: a series without a value")

    @property
    def known(self) -> tuple[tuple[int, float], ...]:
        """The values that are there, each behind its attempt's number."""
        return tuple((number, value) for number, value in enumerate(self.values, start=1) if value is not None)

    @property
    def best(self) -> tuple[int, float]:
        """The personal best: the first attempt that reached it, and the value."""
        return max(self.known, key=lambda pair: (pair[1], -pair[0]))

    @property
    def last(self) -> tuple[int, float]:
        """The latest attempt that has a value, and the value."""
        return self.known[-1]


class Gain(StrEnum):
    """In what an attempt was better than the best before it, the most telling first."""

    FASTER = "faster"
    LESS_WORK = "less work"
    RIGHT = "right"


@dataclass(frozen=True)
class Step:
    """An attempt that was better than any before it, and the one that was best until then."""

    gain: Gain
    before: int
    after: int
    factor: float = 1.0
    """How many times as fast it is, or how many times less work it does."""
    op: str = ""
    device: str = ""
    """The card that it was timed on."""

    def __post_init__(self) -> None:
        if not 1 <= self.before < self.after or self.factor < 1:
            raise ValueError(f"no step: {self.before} to {self.after}, {self.factor} times")


@dataclass(frozen=True)
class FileDiff:
    """What changed in one file, as a unified diff."""

    name: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class History:
    """All attempts at one exercise."""

    exercise: Exercise
    attempts: tuple[Tried, ...]
    counts: int | None
    """The number of the attempt that counts (see `Progress.best`)."""
    series: tuple[Series, ...] = ()
    steps: tuple[Step, ...] = ()
    """In the order in which they were taken."""
    told: Step | None = None
    """The step that tells most: the largest of the most telling kind."""
    diffs: tuple[FileDiff, ...] = ()
    """Of that step; empty where a source of one of the two is not kept."""
    changed_at: tuple[int, ...] = ()
    """Attempts before which the exercise itself had changed: what follows was graded in another way."""


@dataclass(frozen=True)
class SideBySide:
    """Two attempts at one exercise."""

    exercise: Exercise
    before: Tried
    after: Tried
    diffs: tuple[FileDiff, ...] = ()
    """Empty where the sources are the same, or where one is not kept."""
