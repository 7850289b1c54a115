"""What came of timing several things in turn: the nouns of `gpuprep bench`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gpuprep.exercise import Exercise
from gpuprep.grader import Traffic
from gpuprep.grading.ceilings import Ceilings
from gpuprep.model import Case
from gpuprep.worker.timing import median_interval


@dataclass(frozen=True)
class Entry:
    """One of those that were timed, or the reason why it could not be."""

    name: str
    """`yours`, `reference`, or a baseline's title."""
    is_file: bool
    """False of a baseline."""
    samples_ms: tuple[float, ...] = ()
    why_not: str = ""

    @property
    def interval_ms(self) -> tuple[float, float, float]:
        """(low, median, high) of the median; only where there are samples."""
        return median_interval(self.samples_ms)


@dataclass(frozen=True)
class Comparison:
    """One case, and the times of all entries on it."""

    case: Case
    traffic: Traffic
    entries: tuple[Entry, ...]
    ceilings: Ceilings | None
    """None where several cards did it together."""

    @property
    def is_compute_bound(self) -> bool:
        """True where the card's matmul rate limits it more than its copy rate."""
        rate = self.ceilings.matmul_tflop_per_s.get(self.traffic.dtype) if self.ceilings else None
        if self.ceilings is None or rate is None:
            return False
        return self.traffic.flops / (rate * 1e12) > self.traffic.bytes / (self.ceilings.copy_gb_per_s * 1e9)

    def rate(self, entry: Entry) -> float:
        """TFLOP/s where it is compute-bound, else GB/s."""
        seconds = entry.interval_ms[1] / 1e3
        return self.traffic.flops / 1e12 / seconds if self.is_compute_bound else self.traffic.bytes / 1e9 / seconds

    def share(self, entry: Entry) -> float | None:
        """Of this card's matmul rate where it is compute-bound, else of its copy rate; None of several cards."""
        if self.ceilings is None:
            return None
        best = self.ceilings.matmul_tflop_per_s[self.traffic.dtype] if self.is_compute_bound else None
        return self.rate(entry) / (best or self.ceilings.copy_gb_per_s)


@dataclass(frozen=True)
class Compared:
    """All cases of one exercise that fit this card."""

    exercise: Exercise
    comparisons: tuple[Comparison, ...]
    card: str
    versions: Mapping[str, str]
