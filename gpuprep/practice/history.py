"""`gpuprep history` and `compare`: what the attempts at an exercise came to, and what changed between two of them.

Speeds are compared on one card alone, and an attempt is faster only where the two intervals lie apart.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from gpuprep.attempts import RIGHT, WORK, FileDiff, Gain, History, Series, SideBySide, Step, Tried
from gpuprep.errors import UsageError
from gpuprep.exercise import Exercise, Target
from gpuprep.model import Measurement, Outcome, Timing
from gpuprep.practice import recorded

if TYPE_CHECKING:
    from gpuprep.progress import Attempt, Progress

FIRST, BEST, LAST = "first", "best", "last"
"""What an attempt may be called besides its number."""
NOT_KEPT_YET = "recorded by a gpuprep that kept no sources yet"


def history(exercise: Exercise, progress: Progress) -> History:
    """Everything that the record tells of the attempts at an exercise.

    Raises:
        ProgressError: the record can't be read.
    """
    attempts = progress.attempts(exercise.id)
    tried = _all_tried(attempts)
    steps = _steps(tried)
    told = max(steps, key=_telling, default=None)
    diffs = _diffs(progress, attempts, told.before, told.after) if told else ()
    return History(
        exercise,
        tried,
        counts=_counting(attempts, progress, exercise),
        series=tuple(_series(tried)),
        steps=steps,
        told=told,
        diffs=diffs,
        changed_at=tuple(_changes(tried)),
    )


def compare(exercise: Exercise, progress: Progress, before: str, after: str) -> SideBySide:
    """Two attempts beside each other, and what changed between their sources.

    Args:
        exercise: whose attempts.
        progress: the record.
        before: an attempt's number, or FIRST, BEST or LAST.
        after: the other's.

    Raises:
        UsageError: there is no such attempt.
        ProgressError: the record can't be read.
    """
    attempts = progress.attempts(exercise.id)
    counting = _counting(attempts, progress, exercise)
    first, second = (_number(wanted, exercise, len(attempts), counting) for wanted in (before, after))
    tried = _all_tried(attempts)
    return SideBySide(exercise, tried[first - 1], tried[second - 1], _diffs(progress, attempts, first, second))


def _number(wanted: str, exercise: Exercise, n_attempts: int, counting: int | None) -> int:
    if not n_attempts:
        raise UsageError(f"{exercise.id} was not checked yet", next_step=f"gpuprep check {exercise.id}")
    named = {FIRST: 1, LAST: n_attempts, BEST: counting or n_attempts}
    plain = wanted.strip().lower().removeprefix("#")
    number = named.get(plain) or (int(plain) if plain.isascii() and plain.isdigit() else 0)
    if not 1 <= number <= n_attempts:
        range_ = f"attempts 1 to {n_attempts}" if n_attempts > 1 else "attempt 1 alone"
        raise UsageError(
            f"no attempt {wanted!r}: {exercise.id} has {range_}, and the names {FIRST}, {BEST} and {LAST}",
            next_step=f"gpuprep history {exercise.id}",
        )
    return number


def _counting(attempts: Sequence[Attempt], progress: Progress, exercise: Exercise) -> int | None:
    """The number of the attempt that counts."""
    best = progress.best().get(exercise.id)
    return next((n for n, attempt in enumerate(attempts, start=1) if best and attempt.id == best.id), None)


def _all_tried(attempts: Iterable[Attempt]) -> tuple[Tried, ...]:
    return tuple(_tried(number, attempt) for number, attempt in enumerate(attempts, start=1))


def _tried(number: int, attempt: Attempt) -> Tried:
    cases = [case for case in attempt.report.get("cases") or () if isinstance(case, dict)]
    graded = [
        Outcome(case["outcome"])
        for case in cases
        if case["case"]["tier"] == "correct" and case["outcome"] != Outcome.SKIPPED
    ]
    timings = (measured.timing for measured in recorded.timings(number, attempt))
    files = tuple(name for name, _ in attempt.sources)
    return Tried(
        number,
        attempt.at,
        attempt.outcome,
        attempt.is_gold,
        attempt.device,
        n_right=sum(outcome.is_pass for outcome in graded),
        n_graded=len(graded),
        file_hash=attempt.file_hash,
        exercise_hash=attempt.exercise_hash,
        cause=recorded.cause(attempt),
        timings=tuple(timing for timing in timings if timing.card is None or not timing.card.spoils),
        counted=recorded.counted(number, attempt),
        evidence=_evidence(attempt.report),
        qualities=_qualities(cases),
        files=files,
        unkept="" if files else attempt.unkept or NOT_KEPT_YET,
    )


def _evidence(report: dict[str, Any]) -> str:
    tiers = [tier for tier in report.get("tiers") or () if tier.get("tier") == "work"]
    return str(tiers[0].get("evidence") or "") if tiers else ""


def _qualities(cases: Iterable[dict[str, Any]]) -> tuple[Measurement, ...]:
    """Figures about what is computed: one of each, the first case's."""
    found: dict[tuple[str, str], Measurement] = {}
    for content in (figure for case in cases for figure in case.get("figures") or ()):
        try:
            target = Target(**content["target"])
            figure = Measurement(target, float(content["value"]), float(content["low"]), float(content["high"]))
        except recorded.UNREADABLE:
            continue
        found.setdefault((target.figure, target.of), figure)
    return tuple(found.values())


def _series(tried: Sequence[Tried]) -> Iterator[Series]:
    shares = {RIGHT: tuple(t.share_right for t in tried), WORK: tuple(t.share_of_work for t in tried)}
    yield from (Series(name, found) for name, found in shares.items() if any(share is not None for share in found))
    by_attempt = [
        {(figure.target.figure, figure.target.of, device): figure for figure, device in attempt.figures}
        for attempt in tried
    ]
    for key in dict.fromkeys(key for figures in by_attempt for key in figures):
        found = [figures.get(key) for figures in by_attempt]
        # The targets of the latest attempt: an instructor may have changed them.
        target = next(figure for figure in reversed(found) if figure is not None).target
        values = tuple(figure.value if figure is not None else None for figure in found)
        yield Series(key[0], values, op=key[1], device=key[2], pass_at=target.pass_at, gold_at=target.gold_at)


def _changes(tried: Iterable[Tried]) -> Iterator[int]:
    """The numbers of attempts before which the exercise changed."""
    # A check that the grader's own fault ended doesn't say what it was a check of.
    known = [attempt for attempt in tried if attempt.exercise_hash]
    for before, after in itertools.pairwise(known):
        if after.exercise_hash != before.exercise_hash:
            yield after.number


def _telling(step: Step) -> tuple[int, float, int]:
    return -list(Gain).index(step.gain), step.factor, step.after


def _steps(tried: Sequence[Tried]) -> tuple[Step, ...]:
    found = [*_faster(tried), *_less_work(tried), *_first_right(tried)]
    return tuple(sorted(found, key=lambda step: (step.after, list(Gain).index(step.gain))))


def _faster(tried: Sequence[Tried]) -> Iterator[Step]:
    """Each attempt whose speed lies wholly above the best before it, on the same card."""
    holders: dict[tuple[str, ...], tuple[Tried, float, float]] = {}
    for attempt in tried:
        for timing in attempt.timings:
            what, value, low, high = _speed(timing)
            key = (timing.device, timing.case.op, what, attempt.exercise_hash)
            holder = holders.get(key)
            if holder is None:
                holders[key] = (attempt, value, high)
            elif low > holder[2]:
                if attempt.file_hash != holder[0].file_hash:
                    numbers = holder[0].number, attempt.number
                    yield Step(Gain.FASTER, *numbers, value / holder[1], op=timing.case.op, device=timing.device)
                holders[key] = (attempt, value, high)


def _speed(timing: Timing) -> tuple[str, float, float, float]:
    """What says how fast it is, with its value and interval.

    The exercise's own figure where there is one: every check draws the sizes anew, and a figure doesn't depend on them.
    """
    if timing.figures:
        figure = timing.figures[0]
        return figure.target.figure, figure.value, figure.low, figure.high
    return timing.case.name, 1 / timing.median_ms, 1 / timing.high_ms, 1 / timing.low_ms


def _less_work(tried: Sequence[Tried]) -> Iterator[Step]:
    """Each attempt whose counted work comes nearer to the least than any before it."""
    holder: Tried | None = None
    for attempt in tried:
        share = attempt.share_of_work
        if share is None:
            continue
        if holder is None or holder.exercise_hash != attempt.exercise_hash:
            holder = attempt
        elif share > (best := holder.share_of_work or share):
            if attempt.file_hash != holder.file_hash:
                yield Step(Gain.LESS_WORK, holder.number, attempt.number, share / best)
            holder = attempt


def _first_right(tried: Sequence[Tried]) -> Iterator[Step]:
    """The first pass, where there was an attempt before it."""
    passed = next((attempt for attempt in tried if attempt.outcome.is_pass), None)
    if passed is not None and passed.number > 1:
        yield Step(Gain.RIGHT, passed.number - 1, passed.number)


def _diffs(progress: Progress, attempts: Sequence[Attempt], first: int, second: int) -> tuple[FileDiff, ...]:
    """What changed in each file from one attempt to another; nothing where a source is not kept."""
    before, after = attempts[first - 1], attempts[second - 1]
    if before.sources == after.sources or not (before.sources and after.sources):
        return ()
    import difflib  # most commands need none

    old, new = progress.sources(before), progress.sources(after)
    diffs = []
    for name in dict.fromkeys((*old, *new)):
        lines = difflib.unified_diff(
            _lines(old.get(name, b"")),
            _lines(new.get(name, b"")),
            f"attempt {first}: {name}",
            f"attempt {second}: {name}",
            lineterm="",
        )
        diffs.append(FileDiff(name, tuple(lines)))
    return tuple(diff for diff in diffs if diff.lines)


def _lines(content: bytes) -> list[str]:
    return content.decode("utf-8", errors="replace").splitlines()
