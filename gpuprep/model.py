"""The project's nouns: frozen, standard library only, and unable to hold an impossible state.

Units are suffixes (`_ms`, `_bytes`, `_gb_per_s`); GB is 10⁹ bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from gpuprep.exercise import Target

Scalar = int | float | str | bool


class Outcome(StrEnum):
    """What became of a check. The order is the precedence: of several that apply, the first one wins."""

    GRADER_FAULT = "GRADER_FAULT"
    NOT_STARTED = "NOT_STARTED"
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


@dataclass(frozen=True)
class Case:
    """One set of arguments to grade with, as data: symbolic axes, a dtype and how the inputs are made.

    `params` holds the axes (`n`, `M`, …), `dtype`, and optionally `distribution` and `layout` (see `grader.Draw`).
    """

    params: Mapping[str, Scalar]
    tier: Tier = Tier.CORRECT
    devices: tuple[str, ...] = ("cpu", "cuda")

    @property
    def name(self) -> str:
        """`n=1025 float32 offset`: what the terminal shows; unique within an exercise."""
        axes = [f"{key}={value}" for key, value in self.params.items() if key not in _UNNAMED]
        words = [str(self.params[key]) for key in _UNNAMED if self.params.get(key) not in (None, *_PLAIN)]
        return " ".join([*axes, *words])

    def __getitem__(self, key: str) -> Any:
        return self.params[key]

    def get(self, key: str, default: Scalar | None = None) -> Any:
        """The parameter, or `default`."""
        return self.params.get(key, default)


_UNNAMED = ("dtype", "distribution", "layout")
_PLAIN = ("normal", "contiguous")


@dataclass(frozen=True)
class SourceLine:
    """A line of the learner's file."""

    path: str
    line: int
    text: str = ""


@dataclass(frozen=True)
class Sample:
    """One wrong element: its index in the output, what the oracle says, what came back."""

    index: tuple[int, ...]
    expected: float
    got: float


@dataclass(frozen=True)
class Diagnosis:
    """The likely cause of a failure. Hints are keyed by `id`."""

    id: str
    text: str


@dataclass(frozen=True)
class Work:
    """Counted work of one call. Bytes count unmasked lanes only; a sector is 32 bytes."""

    bytes_loaded: int = 0
    bytes_stored: int = 0
    sectors_loaded: int = 0
    sectors_stored: int = 0
    launches: int = 0
    programs: int = 0
    dot_flops: int = 0

    @property
    def bytes_moved(self) -> int:
        """Loaded plus stored."""
        return self.bytes_loaded + self.bytes_stored


@dataclass(frozen=True)
class Budget:
    """How much of one figure of `Work` a call may use, and the least that any honest solution needs.

    Counting less than `least` means that something other than the kernel did the work.
    """

    figure: str
    """A field of `Work`, or `bytes_moved`."""
    least: int
    most: int
    why: str
    """How the bound comes about, in symbols: `3·n·itemsize`."""

    def __post_init__(self) -> None:
        if self.figure not in (*Work.__dataclass_fields__, "bytes_moved"):
            raise ValueError(f"Work has no figure {self.figure!r}")
        if not 0 <= self.least <= self.most:
            raise ValueError(f"{self.figure}: need 0 ≤ least ≤ most, have {self.least} and {self.most}")


class Evidence(StrEnum):
    """Who counted the work."""

    SELF_REPORTED = "self-reported"
    WITNESSED = "witnessed"


@dataclass(frozen=True)
class CaseResult:
    """What became of one case on one device."""

    case: Case
    device: str
    outcome: Outcome
    message: str = ""
    diagnosis: Diagnosis | None = None
    where: SourceLine | None = None
    samples: tuple[Sample, ...] = ()
    n_wrong: int = 0
    n_total: int = 0
    work: Work | None = None
    budgets: tuple[Budget, ...] = ()

    def __post_init__(self) -> None:
        if self.outcome.is_pass and (self.samples or self.n_wrong or self.diagnosis):
            raise ValueError(f"{self.case.name}: a passed case can't have wrong elements or a diagnosis")
        if not self.outcome.is_pass and not self.message:
            raise ValueError(f"{self.case.name}: {self.outcome} needs a message")
        if not len(self.samples) <= self.n_wrong <= self.n_total:
            raise ValueError(f"{self.case.name}: {len(self.samples)} samples of {self.n_wrong} wrong of {self.n_total}")


@dataclass(frozen=True)
class Measurement:
    """A timed figure: the value, its interval, and the target it is held against."""

    target: Target
    value: float
    low: float
    high: float
    detail: str = ""
    """The same figure in absolute units, for a person: `4.28 of 4.31 TB/s`."""

    def __post_init__(self) -> None:
        if not self.low <= self.value <= self.high:
            raise ValueError(f"{self.target.figure}: {self.value} lies outside [{self.low}, {self.high}]")

    @property
    def outcome(self) -> Outcome:
        """PASSED when the whole interval reaches the target, TOO_SLOW when all of it is below, else INCONCLUSIVE."""
        if self.low >= self.target.pass_at:
            return Outcome.PASSED
        return Outcome.TOO_SLOW if self.high < self.target.pass_at else Outcome.INCONCLUSIVE

    @property
    def is_gold(self) -> bool:
        """True when the value reaches the target's gold."""
        return self.target.gold_at is not None and self.value >= self.target.gold_at


@dataclass(frozen=True)
class CardState:
    """What the driver said of the card right after a measurement; None where it would not say."""

    driver: str = ""
    sm_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    temperature_c: int | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    throttling: tuple[str, ...] = ()
    """Reasons for clocks below the highest, a power cap among them."""
    is_spoiled: bool = False
    """True when the card was protecting itself from heat or a fault: no figure holds then."""
    strangers: int | None = None
    """Processes of others that kept the card busy."""


@dataclass(frozen=True)
class Timing:
    """The timed case: the learner's time a call and the figures that follow from it."""

    case: Case
    device: str
    median_ms: float
    low_ms: float
    high_ms: float
    n_samples: int
    figures: tuple[Measurement, ...]
    claimed_ms: float | None = None
    """The median by the worker's own clock; None where nothing but that clock was there."""
    net_ms: float | None = None
    """A call's time by the grader's clock, from the starting signal to its own copy of the outputs."""
    card: CardState | None = None
    notes: tuple[str, ...] = ()
    """What a reader of the figures should know: a power cap, an unaudited clock, a stranger's idle process."""

    def __post_init__(self) -> None:
        if not 0 < self.low_ms <= self.median_ms <= self.high_ms:
            raise ValueError(f"need 0 < low ≤ median ≤ high, have {self.low_ms}, {self.median_ms}, {self.high_ms}")

    @property
    def audited(self) -> bool:
        """True when the grader's own clock agreed to the time."""
        return self.net_ms is not None


@dataclass(frozen=True)
class TierResult:
    """One tier's answer. A SKIPPED tier says why; it never counts as a pass."""

    tier: Tier
    outcome: Outcome
    reason: str = ""
    evidence: Evidence | None = None

    def __post_init__(self) -> None:
        if self.outcome is Outcome.SKIPPED and not self.reason:
            raise ValueError(f"{self.tier}: a skipped tier needs its reason")
        if self.outcome is Outcome.PROVISIONAL:
            raise ValueError(f"{self.tier}: a tier is never provisional, only a report is")


REPORT_VERSION = 1


@dataclass(frozen=True)
class Report:
    """One check of one exercise: everything that a renderer or the progress record needs."""

    exercise_id: str
    outcome: Outcome
    tiers: tuple[TierResult, ...] = ()
    cases: tuple[CaseResult, ...] = ()
    timing: Timing | None = None
    message: str = ""
    """For outcomes that come before any case ran: what is wrong, in a sentence."""
    where: SourceLine | None = None
    path: str = ""
    """The file that was graded."""
    file_hash: str = ""
    """sha256 of the graded file or files."""
    exercise_hash: str = ""
    """sha256 of the exercise (grader and stub) it was graded against."""
    device: str = "cpu"
    """The card's name, or `cpu`."""
    versions: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    """The seed that the inputs were drawn from; drawn afresh for every check, so worthless afterwards."""
    stdout: str = ""
    """The end of what the learner's code printed, cleaned of control characters."""
    elapsed_s: float = 0.0

    def __post_init__(self) -> None:
        failed = [result for result in self.cases if result.outcome.is_failure]
        if self.outcome.is_pass and (failed or self.message):
            raise ValueError(f"{self.exercise_id}: {self.outcome} with a failed case or a failure message")
        if self.outcome.is_pass and not any(result.outcome.is_pass for result in self.cases):
            raise ValueError(f"{self.exercise_id}: {self.outcome}, but nothing was graded")
        if self.outcome.is_pass and any(not t.outcome.is_pass and t.outcome is not Outcome.SKIPPED for t in self.tiers):
            raise ValueError(f"{self.exercise_id}: {self.outcome} with a failed tier")
        speed = self.tier(Tier.SPEED)
        speed_skipped = speed is not None and speed.outcome is Outcome.SKIPPED
        if self.outcome is Outcome.PASSED and speed_skipped:
            raise ValueError(f"{self.exercise_id}: PASSED while speed was not graded; that is PROVISIONAL")
        if self.timing is not None and failed:
            raise ValueError(f"{self.exercise_id}: a time without correct outputs")
        if not self.outcome.is_pass and not failed and not self.message:
            raise ValueError(f"{self.exercise_id}: {self.outcome} without a failed case or a message")

    def tier(self, tier: Tier) -> TierResult | None:
        """That tier's result, or None where the exercise has no such tier or grading ended before it."""
        return next((result for result in self.tiers if result.tier is tier), None)

    @property
    def first_failure(self) -> CaseResult | None:
        """The case to show of a failed report, or None: of those with the report's outcome, the one that tells most."""
        decisive = [result for result in self.cases if result.outcome is self.outcome and result.outcome.is_failure]
        seen = Counter(_pattern(result) for result in decisive)
        return max(decisive, key=lambda result: _telling(result, seen), default=None)

    @property
    def is_gold(self) -> bool:
        """True when the check passed and every timed figure with a gold target reached it."""
        figures = self.timing.figures if self.timing else ()
        gold = [figure.is_gold for figure in figures if figure.target.gold_at is not None]
        return self.outcome is Outcome.PASSED and bool(gold) and all(gold)

    def as_dict(self) -> dict[str, Any]:
        """Plain dicts, lists and scalars, with the format's version first; `first_failure` is a place in `cases`."""
        shown = self.first_failure
        first_failure = next((place for place, result in enumerate(self.cases) if result is shown), None)
        return {"version": REPORT_VERSION, **asdict(self), "is_gold": self.is_gold, "first_failure": first_failure}

    def with_elapsed(self, elapsed_s: float) -> Report:
        """The same report, with the time that the check took."""
        return replace(self, elapsed_s=elapsed_s)


_WHOLESALE = ("constant", "never_written")
"""Patterns that a small case shows where a larger one shows what is behind it."""


def _pattern(result: CaseResult) -> str:
    """The id of a pattern that was recognised, or nothing."""
    pattern = result.diagnosis.id if result.diagnosis else ""
    # A view is suspected of everything that goes wrong with one: that is no pattern.
    is_suspicion = pattern == "stride" and result.case.get("layout") not in (None, *_PLAIN)
    return "" if pattern == "wrong_values" or is_suspicion else pattern


def _telling(result: CaseResult, seen: Mapping[str, int]) -> tuple[bool, int, bool, int, bool]:
    # A pattern that was recognised tells most, then the plainest inputs. Then what most cases show, since some fit a
    # pattern by chance; and where some elements are right, the others show where the error lies.
    pattern = _pattern(result)
    n_odd = sum(result.case.get(key) not in (None, *_PLAIN) for key in ("distribution", "layout"))
    is_partial = 0 < result.n_wrong < result.n_total
    return pattern != "", -n_odd, pattern not in _WHOLESALE, seen[pattern] if pattern else 0, is_partial
