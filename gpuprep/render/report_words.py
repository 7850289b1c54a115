"""What the report says, in words and rows that its page and its Markdown share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from gpuprep.exercise import SHARES, TIMES
from gpuprep.model import Outcome, Timing
from gpuprep.portfolio import (
    LEAST_BYTES,
    Counted,
    CountedChange,
    Curve,
    ExerciseStory,
    Measured,
    ModuleStory,
    Point,
    Portfolio,
    Roofline,
    Step,
    TimedChange,
)
from gpuprep.render.figures import amount, milliseconds, named
from gpuprep.render.layout import counted

SAME_SIZE = 0.01
"""Sizes that differ by more have no speedup of their latencies; that of throughputs doesn't depend on the size."""
METRICS = {"peak_bytes": "Memory held at most, bytes", "largest_tensor_bytes": "Largest tensor, bytes"}
"""Counted figures whose names alone say too little."""
HOW = (
    "Everything here comes from the record of the learner's own checks; nothing was estimated or filled in.",
    (
        "Times are medians of one call on a card with a cold L2 cache, with their 95% intervals. The size of the "
        "inputs is drawn anew for every check. A share is of what that very card was measured to do: a copy, or "
        "torch.matmul."
    ),
    (
        "Before is the first attempt with a right result and a time, after the fastest. Counted work comes from "
        "running the code under counters, on a CPU, and is the same on every machine."
    ),
)


_NO_FAULT = (Outcome.NOT_STARTED, Outcome.SKIPPED)


@dataclass(frozen=True)
class Table:
    """Rows with a heading each; the first column says what the row is about."""

    caption: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def tables(story: ExerciseStory) -> list[Table]:
    """Times beside libraries, then before and after."""
    return [
        *(table for change in story.timed if (table := _beside(change.after))),
        *(_timed_table(change) for change in story.timed),
        *(_counted_table(change) for change in story.counted),
    ]


def curve_title(curve: Curve) -> str:
    """`Share of this card's copy rate (add), on NVIDIA H200`."""
    op = f" ({curve.op})" if curve.op else ""
    if curve.figure == LEAST_BYTES:
        return f"Least possible bytes ÷ bytes counted{op}"
    what = "Share" if curve.figure in SHARES else "Times"
    return f"{what} {named(curve.figure)}{op}, on {curve.device}"


def curve_value(curve: Curve, point: Point) -> str:
    """`98.1% (97.8–98.4%)`, or `2.50× (2.45–2.55×)`."""
    if curve.figure in TIMES:
        interval = f" ({point.low:.2f}–{point.high:.2f}×)" if point.high > point.low else ""
        return f"{point.value:.2f}×{interval}"
    interval = f" ({point.low * 100:.1f}–{point.high * 100:.1f}%)" if point.high > point.low else ""
    return f"{point.value:.1%}{interval}"


def route(story: ExerciseStory) -> str:
    """`7 attempts, 2026-11-20 to 2026-11-21. On the way: race twice, wrong values (tail) once.`."""
    first, last = story.steps[0].at[:10], story.steps[-1].at[:10]
    when = first if first == last else f"{first} to {last}"
    met = Counter(_fault(step) for step in story.steps if not step.outcome.is_pass and step.outcome not in _NO_FAULT)
    faults = ", ".join(f"{cause} {_often(number)}" for cause, number in met.most_common())
    return f"{counted(len(story.steps), 'attempt')}, {when}." + (f" On the way: {faults}." if faults else "")


def remarks(story: ExerciseStory) -> list[str]:
    """What must not be missed about a pass."""
    told = []
    if story.is_stale:
        told.append("Passed, but the exercise has changed since.")
    if story.solution_seen:
        told.append("The solution was looked at before a pass.")
    return told


def roofs(roofline: Roofline) -> str:
    """`Roofs of NVIDIA H200: copy 4300 GB/s, matmul 700 TFLOP/s (float16).`."""
    rates = "".join(f", matmul {rate:.0f} TFLOP/s ({dtype})" for dtype, rate in roofline.matmul_tflop_per_s.items())
    return (
        f"Roofline of {roofline.device}: copy {roofline.copy_gb_per_s:.0f} GB/s{rates}. The best time of each exercise."
    )


def standing(module: ModuleStory) -> str:
    """`3 of 6 done, 1 gold, 2 provisional`."""
    more = "".join(
        f", {number} {word}" for number, word in ((module.gold, "gold"), (module.provisional, "provisional")) if number
    )
    return f"{module.passed + module.provisional} of {module.total} done{more}"


def totals(portfolio: Portfolio) -> list[tuple[str, str]]:
    """The figures on top: a number, and what it counts."""
    modules = portfolio.modules
    return [
        (f"{sum(m.passed for m in modules)} of {sum(m.total for m in modules)}", "passed"),
        (str(sum(m.gold for m in modules)), "of them gold"),
        (str(sum(m.provisional for m in modules)), "provisional: speed not graded"),
        (str(portfolio.n_attempts), "attempts"),
        (str(portfolio.n_timed), "operations timed on a card"),
    ]


def _fault(step: Step) -> str:
    """`wrong values (tail)`: what it came to, and why where that says more."""
    outcome, cause = (word.replace("_", " ") for word in (step.outcome.value.lower(), step.cause))
    return f"{outcome} ({cause})" if cause not in ("", outcome) else outcome


def _often(number: int) -> str:
    return "once" if number == 1 else "twice" if number == 2 else f"{number} times"


def _beside(found: Measured) -> Table | None:
    """What a library takes, and what the learner's best attempt does."""
    timing = found.timing
    rows: list[tuple[str, ...]] = []
    for figure in timing.figures:
        if figure.target.figure in TIMES:
            latency = milliseconds(timing.median_ms)
            rows.append(("Latency", figure.detail or "not recorded", latency, f"{figure.value:.2f}×"))
            rows.append(("95% interval", "", _interval(timing), f"{figure.low:.2f}–{figure.high:.2f}×"))
    if not rows:
        return None
    headers = ("Metric", "Baseline", f"This implementation (attempt {found.number})", "Speedup")
    return Table(f"Beside a library on {timing.device}, {timing.case.name}", headers, tuple(rows))


def _timed_table(change: TimedChange) -> Table:
    after, before = change.after.timing, change.before.timing if change.before else None
    rows = [_row("Latency", _latency, before, after, _times_faster(change))]
    rows.append(_row("95% interval", _interval, before, after, ""))
    if _unit(after) and (before is None or _unit(before) == _unit(after)):
        factor = f"{_rate(after) / _rate(before):.2f}×" if before else ""
        rows.append(_row("Throughput", _throughput, before, after, factor))
    for figure in after.figures:
        earlier = next((f for f in before.figures if f.target.figure == figure.target.figure), None) if before else None
        if figure.target.figure in SHARES and (before is None or earlier):
            cells = [f"{each.value:.1%}" for each in (earlier, figure) if each]
            gain = [f"{figure.value / earlier.value:.2f}×"] if earlier else []
            rows.append((f"Share {named(figure.target.figure)}", *cells, *gain))
    return Table(
        f"Timed on {after.device}, {after.case.name}",
        _headers(change, "Speedup"),
        tuple(rows),
        tuple(_timed_notes(change)),
    )


def _timed_notes(change: TimedChange) -> list[str]:
    notes = []
    if change.before is None:
        notes.append("No earlier time to compare with, or none that was slower.")
    elif change.sizes_differ_by:
        notes.append(f"Before, the size drawn was {change.before.timing.case.name}.")
        if change.sizes_differ_by > SAME_SIZE:
            notes.append("Latencies of different sizes have no speedup.")
    pair = [found for found in (change.before, change.after) if found]
    if unaudited := [str(found.number) for found in pair if not found.timing.audited]:
        notes.append(f"Unaudited, by the worker's own clock alone: attempt {' and '.join(unaudited)}.")
    return notes


def _counted_table(change: CountedChange) -> Table:
    rows = [
        (
            METRICS.get(budget.figure, budget.name.replace("_", " ").capitalize()),
            *(_count(found, budget.name) for found in (change.before, change.after) if found),
            *([_fewer(change.before, change.after, budget.name)] if change.before else []),
        )
        for budget in change.after.budgets
    ]
    for figure in change.after.figures:
        values = [_quality(found, figure.target.figure) for found in (change.before, change.after) if found]
        rows.append((named(figure.target.figure), *values, *([""] if change.before else [])))
    notes = () if change.before else ("The first count is still the best.",)
    return Table(f"Counted work, {change.after.case.name}", _headers(change, "Less by"), tuple(rows), notes)


def _headers(change: TimedChange | CountedChange, last: str) -> tuple[str, ...]:
    if change.before is None:
        return "Metric", f"Attempt {change.after.number}"
    return "Metric", f"Before (attempt {change.before.number})", f"After (attempt {change.after.number})", last


def _row(
    metric: str, say: Callable[[Timing], str], before: Timing | None, after: Timing, factor: str
) -> tuple[str, ...]:
    return (metric, say(before), say(after), factor) if before else (metric, say(after))


def _latency(timing: Timing) -> str:
    return milliseconds(timing.median_ms)


def _interval(timing: Timing) -> str:
    return milliseconds(timing.low_ms, timing.high_ms)


def _unit(timing: Timing) -> str:
    """Of the rate that limits it; empty where the record has no ceilings."""
    if timing.roof is None:
        return ""
    return "TFLOP/s" if timing.roof.is_compute_bound else "GB/s"


def _rate(timing: Timing) -> float:
    assert timing.roof is not None  # noqa: S101  asked of those with a unit
    work = timing.roof.flops / 1e12 if timing.roof.is_compute_bound else timing.roof.bytes / 1e9
    return work / (timing.median_ms / 1e3)


def _throughput(timing: Timing) -> str:
    return f"{_rate(timing):.4g} {_unit(timing)}"


def _times_faster(change: TimedChange) -> str:
    if change.before is None or change.sizes_differ_by > SAME_SIZE:
        return "–"
    return f"{change.before.timing.median_ms / change.after.timing.median_ms:.2f}×"


def _count(found: Counted, name: str) -> str:
    """`393 216 = 1.00 × least`; a dash where this was not bounded then."""
    budget = next((budget for budget in found.budgets if budget.name == name), None)
    if budget is None:
        return "–"
    value = budget.used(found.work)
    return amount(budget, value) + (f" = {value / budget.least:.2f} × least" if budget.least else "")


def _quality(found: Counted, name: str) -> str:
    value = next((figure.value for figure in found.figures if figure.target.figure == name), None)
    return "–" if value is None else f"{value:.1f}"


def _fewer(before: Counted, after: Counted, name: str) -> str:
    used = [next((b.used(found.work) for b in found.budgets if b.name == name), 0) for found in (before, after)]
    return f"{used[0] / used[1]:.2f}×" if all(used) else "–"
