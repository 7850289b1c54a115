"""The project's nouns: frozen, standard library only, and unable to hold an impossible state.

Units are suffixes (`_ms`, `_bytes`, `_gb_per_s`); GB is 10⁹ bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Set
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from gpuprep.exercise import Target
from gpuprep.outcome import Outcome as Outcome  # a noun of grading like those below
from gpuprep.outcome import Tier as Tier
from gpuprep.work import Budget as Budget
from gpuprep.work import Evidence as Evidence
from gpuprep.work import Work as Work

Scalar = int | float | str | bool


@dataclass(frozen=True)
class Case:
    """One set of arguments to grade with, as data: symbolic axes, a dtype and how the inputs are made.

    `params` holds the axes (`n`, `M`, …), `dtype`, and optionally `distribution` and `layout` (see `grader.Draw`), and
    `op` where an exercise has several operations.
    """

    params: Mapping[str, Scalar]
    tier: Tier = Tier.CORRECT
    devices: tuple[str, ...] = ("cpu", "cuda")

    @property
    def name(self) -> str:
        """`n=1025 float32 offset`: what the terminal shows; unique within an exercise."""
        axes = [f"{key}={value}" for key, value in self.params.items() if key not in ("op", IS_HIDDEN, *_UNNAMED)]
        words = [str(self.params[key]) for key in _UNNAMED if self.params.get(key) not in (None, *_PLAIN)]
        hidden = ["hidden"] if self.is_hidden else []
        return " ".join([*([self.op] if self.op else []), *axes, *words, *hidden])

    @property
    def op(self) -> str:
        """Which of several operations it calls; empty where the exercise has one. Each is timed for itself."""
        return str(self.params.get("op", ""))

    @property
    def is_hidden(self) -> bool:
        """True of a class's case that no student may know of; what a student is told of one has no other parameter."""
        return bool(self.params.get(IS_HIDDEN))

    def __getitem__(self, key: str) -> Any:
        return self.params[key]

    def get(self, key: str, default: Scalar | None = None) -> Any:
        """The parameter, or `default`."""
        return self.params.get(key, default)


IS_HIDDEN = "is_hidden"
"""The parameter that says so."""
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


OTHER_ACCESS = "the other access"
OTHER_CALL = "the other call"
"""Remarks that only say where: they belong to their fault, and mean nothing without it."""


@dataclass(frozen=True)
class Remark:
    """Something that was noticed and decides nothing: a warning, or a note."""

    text: str
    where: SourceLine | None = None


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
    figures: tuple[Measurement, ...] = ()
    """How good what was computed is, where there are targets for that."""
    remarks: tuple[Remark, ...] = ()

    def __post_init__(self) -> None:
        if self.outcome.is_pass and (self.samples or self.n_wrong or self.diagnosis):
            raise ValueError(f"{self.case.name}: a passed case can't have wrong elements or a diagnosis")
        if not self.outcome.is_pass and not self.message:
            raise ValueError(f"{self.case.name}: {self.outcome} needs a message")
        if not len(self.samples) <= self.n_wrong <= self.n_total:
            raise ValueError(f"{self.case.name}: {len(self.samples)} samples of {self.n_wrong} wrong of {self.n_total}")


def _are_gold(figures: Iterable[Measurement]) -> bool:
    """True when every figure that has a gold target reached it, and there is one."""
    gold = [figure.is_gold for figure in figures if figure.target.gold_at is not None]
    return bool(gold) and all(gold)


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
    strangers: tuple[str, ...] | None = None
    """Processes of others that kept the card busy."""

    @property
    def spoils(self) -> bool:
        """True when the card slowed itself down or worked for others: no figure holds."""
        return self.is_spoiled or bool(self.strangers)


@dataclass(frozen=True)
class Roof:
    """What bounds a timed case: the least that it moves and computes, and what this card was measured to do."""

    bytes: int
    flops: int
    dtype: str
    copy_gb_per_s: float
    matmul_tflop_per_s: float | None
    """Of operands with this dtype; None where that was not measured."""

    @property
    def is_compute_bound(self) -> bool:
        """True where the card's matmul rate limits it more than its copy rate."""
        rate = self.matmul_tflop_per_s
        return rate is not None and self.flops / (rate * 1e12) > self.bytes / (self.copy_gb_per_s * 1e9)


@dataclass(frozen=True)
class Timing:
    """One timed case: the learner's time a call and the figures that follow from it."""

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
    roof: Roof | None = None
    """Where on a roofline it lies; None where no ceiling of one card bounds it, or none was measured."""
    replayed_ms: float | None = None
    """What its launches take in a process of the grader's, from their source; None where that was not asked for."""

    def __post_init__(self) -> None:
        if not 0 < self.low_ms <= self.median_ms <= self.high_ms:
            raise ValueError(f"need 0 < low ≤ median ≤ high, have {self.low_ms}, {self.median_ms}, {self.high_ms}")
        if strange := [figure.target.of for figure in self.figures if figure.target.of != self.case.op]:
            raise ValueError(f"{self.case.name}: a figure of {strange[0]!r}")

    @property
    def outcome(self) -> Outcome:
        """The worst of its figures; without one every time will do. INCONCLUSIVE where the card spoilt them all."""
        if self.card is not None and self.card.spoils:
            return Outcome.INCONCLUSIVE
        found = [Outcome.PASSED, *(figure.outcome for figure in self.figures)]
        return min(found, key=lambda outcome: outcome.precedence)

    @property
    def is_gold(self) -> bool:
        """True when it passes, and every figure with a gold target reached it."""
        return self.outcome is Outcome.PASSED and _are_gold(self.figures)

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


REPORT_VERSION = 2


@dataclass(frozen=True)
class Report:
    """One check of one exercise: everything that a renderer or the progress record needs."""

    exercise_id: str
    outcome: Outcome
    tiers: tuple[TierResult, ...] = ()
    cases: tuple[CaseResult, ...] = ()
    timings: tuple[Timing, ...] = ()
    """One for each operation that was timed."""
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
    sandbox: str = "none"
    """How strongly the learner's code was confined: `none`, `landlock` or `full`."""

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
        if self.timings and failed:
            raise ValueError(f"{self.exercise_id}: a time without correct outputs")
        if len({timing.case.op for timing in self.timings}) < len(self.timings):
            raise ValueError(f"{self.exercise_id}: an operation that was timed twice")
        if not self.outcome.is_pass and not failed and not self.message:
            raise ValueError(f"{self.exercise_id}: {self.outcome} without a failed case or a message")

    def tier(self, tier: Tier) -> TierResult | None:
        """That tier's result, or None where the exercise has no such tier or grading ended before it."""
        return next((result for result in self.tiers if result.tier is tier), None)

    @property
    def first_failure(self) -> CaseResult | None:
        """The case to show of a failed report, or None: of those with the report's outcome, the one that tells most."""
        decisive = [result for result in self.cases if result.outcome is self.outcome and result.outcome.is_failure]
        alike = Counter((result.case.op, _pattern(result)) for result in decisive)
        by_chance = {
            (op, pattern)
            for (op, pattern), n in alike.items()
            if n < _LEAST_SHARES.get(pattern, 0) * (n + alike[op, ""])
        }
        return max(decisive, key=lambda result: _telling(result, alike, by_chance), default=None)

    @property
    def is_gold(self) -> bool:
        """True when the check passed and every figure with a gold target reached it."""
        figures = [figure for timing in self.timings for figure in timing.figures]
        figures += [figure for result in self.cases for figure in result.figures]
        return self.outcome is Outcome.PASSED and _are_gold(figures)

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
_LEAST_SHARES = {"precision": 0.5, "stride": 0.15, "tail": 0.3, "scaled": 0.3, "dropped_term": 0.3}
"""Patterns that a few wrong elements may fit by chance: where they are the cause, they are so much at least of them and
of an operation's cases without a pattern."""


def _pattern(result: CaseResult) -> str:
    """The id of a pattern that was recognised, or nothing."""
    pattern = result.diagnosis.id if result.diagnosis else ""
    # A view is suspected of everything that goes wrong with one: that is no pattern.
    is_suspicion = pattern == "stride" and result.case.get("layout") not in (None, *_PLAIN)
    return "" if pattern == "wrong_values" or is_suspicion else pattern


def _telling(
    result: CaseResult, alike: Mapping[tuple[str, str], int], by_chance: Set[tuple[str, str]]
) -> tuple[int, int, bool, int, bool]:
    # A pattern that was recognised tells most, one that fits by chance misleads. Then the plainest inputs, then what
    # most cases show; and where some elements are right, the others show where the error lies.
    pattern = _pattern(result)
    key = result.case.op, pattern
    rank = -1 if key in by_chance else int(pattern != "")
    n_odd = sum(result.case.get(name) not in (None, *_PLAIN) for name in ("distribution", "layout"))
    is_partial = 0 < result.n_wrong < result.n_total
    return rank, -n_odd, pattern not in _WHOLESALE, alike[key] if pattern else 0, is_partial
