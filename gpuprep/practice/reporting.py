"""`gpuprep report`: what a learner has done and measured, from the record of attempts alone.

Before and after are the learner's own: the first time or count that the record has, and the best. Times are compared on
one card, and only where the inputs were of about the same size, since every check draws sizes anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from gpuprep import __version__
from gpuprep.curriculum import Module
from gpuprep.exercise import QUALITIES, Exercise
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
    RoofPoint,
    Step,
    TimedChange,
    differ_by,
)
from gpuprep.practice import recorded
from gpuprep.practice.desk import Desk
from gpuprep.practice.standing import Standing, standings
from gpuprep.progress import Attempt
from gpuprep.workspace import write_atomically

ALIKE = 0.05
"""How far apart two sizes may be for their times to be compared; checks draw timed sizes from a narrower range."""
_BYTES = ("bytes_loaded", "bytes_stored")


def portfolio(desk: Desk, exercises: Sequence[Exercise] = (), *, made_at: str | None = None) -> Portfolio:
    """What was tried in a workspace.

    Args:
        desk: the workspace and its curriculum.
        exercises: of these alone; of all, if there are none.
        made_at: the date that the report bears; now, if left out.

    Raises:
        ProgressError: the record of attempts can't be read.
    """
    with desk.progress() as progress:
        wanted = {exercise.id for exercise in exercises or desk.curriculum.exercises}
        everything = standings(desk.curriculum, progress)
        found = {standing.exercise.id: standing for standing in everything if standing.exercise.id in wanted}
        stories = {
            key: _story(standing, progress.attempts(key)) for key, standing in found.items() if standing.attempts
        }
    modules = tuple(
        _module(module, [found[key] for key in module.exercise_ids if key in found], stories)
        for module in desk.curriculum.modules
        if wanted & set(module.exercise_ids)
    )
    missing = []
    if not stories:
        missing.append("Nothing of this was checked in this workspace yet, so there is nothing to report.")
    elif not any(story.timed for story in stories.values()):
        missing.append(
            "No attempt was timed on a card: latencies, speedups and rooflines are left out. What is there was counted."
        )
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Portfolio(desk.curriculum.title, made_at or now, __version__, modules, tuple(missing))


def write(path: Path, text: str) -> int:
    """Put the report where it belongs, in one step.

    Returns:
        Its size in bytes.

    Raises:
        WorkspaceError: it can't be written.
    """
    content = text.encode("utf-8", "backslashreplace")
    write_atomically(path, content)
    return len(content)


def _module(module: Module, here: Sequence[Standing], stories: Mapping[str, ExerciseStory]) -> ModuleStory:
    told = tuple(stories[standing.exercise.id] for standing in here if standing.attempts)
    rooflines, missing = _rooflines(told)
    return ModuleStory(
        module.id,
        module.title,
        passed=sum(standing.outcome is Outcome.PASSED for standing in here),
        provisional=sum(standing.outcome is Outcome.PROVISIONAL for standing in here),
        gold=sum(standing.is_gold for standing in here),
        total=len(here),
        stories=told,
        untried=tuple(standing.exercise for standing in here if not standing.attempts),
        rooflines=rooflines,
        missing=missing,
    )


def _story(standing: Standing, attempts: Sequence[Attempt]) -> ExerciseStory:
    numbered = list(enumerate(attempts, 1))
    steps = tuple(_step(number, attempt) for number, attempt in numbered)
    times = [measured for number, attempt in numbered for measured in recorded.timings(number, attempt)]
    counts = [counted for number, attempt in numbered for counted in recorded.counted(number, attempt)]
    sound = [measured for measured in times if not _spoiled(measured.timing)]
    timed = tuple(_timed_change(group) for group in _alike(sound))
    at = dict(numbered)
    settings = {_setting(change.after.timing, recorded.versions(at[change.after.number])): None for change in timed}
    return ExerciseStory(
        standing.exercise,
        standing.outcome or steps[-1].outcome,
        standing.is_gold,
        standing.is_stale,
        standing.solution_seen,
        steps,
        curves=(*_curves(sound), *_work_curves(counts)),
        timed=timed,
        counted=tuple(_counted_change(group) for group in _by_case(counts)),
        settings=tuple(settings),
        missing=_missing(standing, times, sound, counts),
    )


def _step(number: int, attempt: Attempt) -> Step:
    return Step(number, attempt.at, attempt.outcome, attempt.is_gold, attempt.device, recorded.cause(attempt))


def _missing(
    standing: Standing, times: Sequence[Measured], sound: Sequence[Measured], counts: Sequence[Counted]
) -> tuple[str, ...]:
    """What the reader might look for and not find, and why."""
    told = []
    if not times and standing.exercise.targets:
        told.append("Never timed on a card: no latency, no speedup.")
    elif not times:
        told.append("This exercise is not timed.")
    spoiled = sorted({measured.number for measured in times} - {measured.number for measured in sound})
    if spoiled:
        numbers = ", ".join(map(str, spoiled))
        told.append(f"Left out: the times of attempt {numbers}, when the card slowed itself down or worked for others.")
    if not counts:
        told.append("No attempt with right results has counted work.")
    if sound and not any(measured.timing.roof for measured in sound):
        told.append("The record has no ceilings for these times: no point on a roofline.")
    return tuple(told)


def _spoiled(timing: Timing) -> bool:
    return timing.card is not None and timing.card.spoils


def _setting(timing: Timing, versions: Mapping[str, str]) -> str:
    """`NVIDIA H200, driver 580.1, torch 2.13.0`."""
    driver = f"driver {timing.card.driver}" if timing.card and timing.card.driver else ""
    named = (f"{name} {version}" for name, version in versions.items())
    return ", ".join(filter(None, [timing.device, driver, *named]))


def _alike(times: Iterable[Measured]) -> list[list[Measured]]:
    """Those that may be compared: one operation, one card, one dtype, about the same sizes; oldest first."""
    groups: list[list[Measured]] = []
    for measured in times:
        fitting = (group for group in groups if _are_alike(group[0].timing, measured.timing))
        group = next(fitting, None)
        if group is None:
            groups.append([measured])
        else:
            group.append(measured)
    return groups


def _are_alike(one: Timing, other: Timing) -> bool:
    return one.device == other.device and differ_by(one.case, other.case) <= ALIKE


def _timed_change(group: Sequence[Measured]) -> TimedChange:
    best = max(group, key=_speed)
    return TimedChange(None if best is group[0] else group[0], best)


def _speed(measured: Measured) -> float:
    """How fast, as the exercise has it: its figure does not depend on the size that a check drew."""
    timing = measured.timing
    return timing.figures[0].value if timing.figures else 1 / timing.median_ms


def _by_case(counts: Iterable[Counted]) -> list[list[Counted]]:
    groups: dict[str, list[Counted]] = {}
    for counted in counts:
        if counted.budgets or counted.figures:
            groups.setdefault(counted.case.name, []).append(counted)
    return list(groups.values())


def _counted_change(group: Sequence[Counted]) -> CountedChange:
    # Of equals the first: later ones brought nothing.
    best = min(group, key=_excess)
    return CountedChange(None if best is group[0] else group[0], best)


def _excess(counted: Counted) -> tuple[float, float, float]:
    """By how much the worst figure is over its bound, then all figures together, then what is lost of quality."""
    used = [(budget.used(counted.work), budget.most) for budget in counted.budgets]
    ratios = [value / most if most else float(value > 0) for value, most in used]
    return max([1.0, *ratios]), sum(ratios), -sum(figure.value for figure in counted.figures)


def _curves(times: Iterable[Measured]) -> list[Curve]:
    """Each timed figure over the attempts, in the order in which they first appear."""
    found: dict[tuple[str, str, str], list[tuple[Point, float, float | None]]] = {}
    for measured in times:
        for figure in measured.timing.figures:
            if figure.target.figure not in QUALITIES:
                point = Point(measured.number, figure.value, figure.low, figure.high)
                key = (figure.target.figure, measured.timing.case.op, measured.timing.device)
                found.setdefault(key, []).append((point, figure.target.pass_at, figure.target.gold_at))
    return [
        # The targets that were in force last.
        Curve(*key, tuple(point for point, _, _ in points), points[-1][1], points[-1][2])
        for key, points in found.items()
    ]


def _work_curves(counts: Iterable[Counted]) -> list[Curve]:
    """For each operation the least bytes as a share of those counted, of each attempt's worst case."""
    worst: dict[str, dict[int, float]] = {}
    for counted in counts:
        share = _share_of_least(counted)
        if share is not None:
            of_op = worst.setdefault(counted.case.op, {})
            of_op[counted.number] = min(share, of_op.get(counted.number, share))
    return [
        Curve(LEAST_BYTES, op, "counted", tuple(Point(number, share, share, share) for number, share in shares.items()))
        for op, shares in worst.items()
        if len(set(shares.values())) > 1  # a flat one says no more than the table does
    ]


def _share_of_least(counted: Counted) -> float | None:
    by_figure = {budget.figure: budget for budget in counted.budgets if not budget.of}
    names = ("bytes_moved",) if "bytes_moved" in by_figure else tuple(name for name in _BYTES if name in by_figure)
    least = sum(by_figure[name].least for name in names)
    used = sum(by_figure[name].used(counted.work) for name in names)
    return least / used if least and used else None


def _rooflines(stories: Sequence[ExerciseStory]) -> tuple[tuple[Roofline, ...], tuple[str, ...]]:
    """A roofline for each card, and what has no place on one."""
    by_card: dict[str, list[RoofPoint]] = {}
    flat = []
    for story in stories:
        for change in story.timed:
            timing = change.after.timing
            if timing.roof is None:
                continue
            op, name = timing.case.op, f"{story.exercise.id} {timing.case.op}".rstrip()
            if not timing.roof.flops or not timing.roof.bytes:
                flat.append(name)
                continue
            point = RoofPoint(story.exercise.id, op, change.after.number, timing.roof, timing.median_ms)
            by_card.setdefault(timing.device, []).append(point)
    names = ", ".join(dict.fromkeys(flat))
    missing = (f"{names}: only moves bytes, so it has no place on a roofline.",) if flat else ()
    return tuple(_roofline(device, points) for device, points in by_card.items()), missing


def _roofline(device: str, points: Sequence[RoofPoint]) -> Roofline:
    # The ceilings of several checks differ by what a measurement scatters: the best that was seen.
    rates: dict[str, float] = {}
    for roof in (point.roof for point in points):
        if roof.matmul_tflop_per_s is not None:
            rates[roof.dtype] = max(roof.matmul_tflop_per_s, rates.get(roof.dtype, 0.0))
    return Roofline(device, max(point.roof.copy_gb_per_s for point in points), rates, tuple(points))
