"""What the charts of `gpuprep bench` show, in the terminal and as a picture: rates over sizes, points on a roofline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpuprep.render.figures import milliseconds

if TYPE_CHECKING:
    from gpuprep.grading.comparison import Compared, Comparison, Entry

MIN_SIZES = 2
"""With fewer a curve would be a point."""


@dataclass(frozen=True)
class Series:
    """One entry's values by the least bytes that a case moves."""

    name: str
    is_file: bool
    points: tuple[tuple[float, float], ...]
    """(bytes, value), smallest first."""


@dataclass(frozen=True)
class Sweep:
    """One operation at several sizes."""

    op: str
    unit: str
    """`% of what bounds it`, or `GB/s a rank` of several cards."""
    series: tuple[Series, ...]


@dataclass(frozen=True)
class Spot:
    """One entry on a roofline."""

    name: str
    is_file: bool
    tflop_per_s: float
    time: str


@dataclass(frozen=True)
class Roofs:
    """One case below the roofs of its card."""

    case: str
    copy_gb_per_s: float
    matmul_tflop_per_s: float | None
    dtype: str
    flop_per_byte: float
    spots: tuple[Spot, ...]

    @property
    def best_tflop_per_s(self) -> float:
        """What the roofs allow a kernel that computes so much with each byte."""
        slanted = self.flop_per_byte * self.copy_gb_per_s / 1e3
        return min(slanted, self.matmul_tflop_per_s or slanted)


def sweeps(compared: Compared) -> list[Sweep]:
    """Of each operation that was timed at several sizes."""
    by_op: dict[str, list[Comparison]] = {}
    for comparison in compared.comparisons:
        by_op.setdefault(comparison.case.op, []).append(comparison)
    return [_sweep(op, found) for op, found in by_op.items() if _n_sizes(found) >= MIN_SIZES]


def rooflines(compared: Compared) -> list[Roofs]:
    """Of each operation's largest case, where one card's ceilings bound it and it computes anything."""
    largest: dict[str, Comparison] = {}
    for comparison in compared.comparisons:
        op = comparison.case.op
        if op not in largest or comparison.traffic.bytes > largest[op].traffic.bytes:
            largest[op] = comparison
    return [roofs for comparison in largest.values() if (roofs := _roofs(comparison))]


def _n_sizes(found: list[Comparison]) -> int:
    return len({comparison.traffic.bytes for comparison in found})


def _sweep(op: str, found: list[Comparison]) -> Sweep:
    ordered = sorted(found, key=lambda comparison: comparison.traffic.bytes)
    names = dict.fromkeys((e.name, e.is_file) for comparison in ordered for e in comparison.entries if e.samples_ms)
    unit = "GB/s a rank" if ordered[0].ceilings is None else "% of what bounds it"
    return Sweep(op, unit, tuple(Series(name, is_file, _points(ordered, name)) for name, is_file in names))


def _points(ordered: list[Comparison], name: str) -> tuple[tuple[float, float], ...]:
    return tuple(
        (float(comparison.traffic.bytes), _value(comparison, entry))
        for comparison in ordered
        for entry in comparison.entries
        if entry.name == name and entry.samples_ms
    )


def _value(comparison: Comparison, entry: Entry) -> float:
    share = comparison.share(entry)
    return comparison.rate(entry) if share is None else share * 100


def _roofs(comparison: Comparison) -> Roofs | None:
    traffic, ceilings = comparison.traffic, comparison.ceilings
    if ceilings is None or not traffic.flops or not traffic.bytes:
        return None
    spots = tuple(
        Spot(
            entry.name,
            entry.is_file,
            traffic.flops / 1e12 / (entry.interval_ms[1] / 1e3),
            milliseconds(entry.interval_ms[1]),
        )
        for entry in comparison.entries
        if entry.samples_ms
    )
    matmul = ceilings.matmul_tflop_per_s.get(traffic.dtype)
    per_byte = traffic.flops / traffic.bytes
    return Roofs(comparison.case.name, ceilings.copy_gb_per_s, matmul, traffic.dtype, per_byte, spots)
