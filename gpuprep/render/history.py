"""`history` and `compare`: attempts as sparklines, figures side by side, and what changed in the source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, tzinfo

from gpuprep.attempts import RIGHT, WORK, FileDiff, Gain, History, Series, SideBySide, Step, Tried
from gpuprep.exercise import QUALITIES, SHARES
from gpuprep.model import Timing
from gpuprep.portfolio import Counted
from gpuprep.render.figures import amount, milliseconds, reading
from gpuprep.render.layout import HARD_SPACE, INDENT, WIDTH, Page, Part, counted
from gpuprep.render.marks import mark

BARS = "▁▂▃▄▅▆▇█"
NO_VALUE = "·"
MAX_COLUMNS = 32
"""Attempts that a sparkline shows, the latest; the text beside it needs the rest of the line."""
MAX_ROWS = 5
"""Attempts that are told of one by one."""
MAX_DIFF_LINES = 20
"""Of a diff that nobody asked for."""

_DIFF_STYLES = {"+": "good", "-": "bad", "@": "quiet"}


def history_page(found: History, *, is_whole: bool = False, zone: tzinfo | None = None, width: int = WIDTH) -> Page:
    """The attempts as sparklines, the latest one by one, and the one that got better with its diff.

    Args:
        found: the attempts.
        is_whole: tell of every attempt, and show the whole diff.
        zone: what times are written in; the machine's own where None.
        width: columns to lay out for.
    """
    page = Page(width)
    exercise = found.exercise
    title = f"{exercise.id} {exercise.title}"
    if not found.attempts:
        page.line(("· ", "quiet"), (f"{title}  ", "strong"), "no attempts yet")
        page.next_command(f"gpuprep check {exercise.id}")
        return page
    counting = found.attempts[(found.counts or len(found.attempts)) - 1]
    glyph, style, word = mark(counting.outcome, is_gold=counting.is_gold)
    page.line((f"{glyph} ", style), (f"{title}  ", "strong"), (word, style), f", {_n_attempts(found)}")
    page.blank()
    _sparklines(page, found)
    page.blank()
    shown = found.attempts if is_whole else found.attempts[-MAX_ROWS:]
    _rows(page, shown, zone)
    if found.told:
        page.blank()
        _told(page, found, found.told, is_whole=is_whole)
    page.next_command(*_next(found))
    return page


def compare_page(pair: SideBySide, *, zone: tzinfo | None = None, width: int = WIDTH) -> Page:
    """Two attempts: their figures side by side, then the diff of their sources."""
    page = Page(width)
    exercise, before, after = pair.exercise, pair.before, pair.after
    page.line((f"{exercise.id} {exercise.title}  ", "strong"), f"attempt {before.number} and attempt {after.number}")
    page.blank()
    rows: list[list[Part]] = [["", (f"attempt {before.number}", "strong"), (f"attempt {after.number}", "strong")]]
    marks = [mark(each.outcome, is_gold=each.is_gold) for each in (before, after)]
    rows.append([("outcome", "quiet"), *((f"{glyph} {word}", style) for glyph, style, word in marks)])
    rows.append([("checked", "quiet"), _when(before, zone), _when(after, zone)])
    rows.append([("on", "quiet"), before.device, after.device])
    rows.append([("right", "quiet"), _right(before), _right(after)])
    rows += _figure_rows(before, after)
    page.table(rows, "<<<")
    _work_tables(page, before, after)
    _time_tables(page, before, after)
    page.blank()
    if pair.diffs:
        _diff(page, pair.diffs, None)
    else:
        page.prose(_why_no_diff(before, after), style="quiet")
    page.next_command(f"gpuprep history {exercise.id}")
    return page


def spark(values: Sequence[float | None], top: float) -> str:
    """A bar for each value, from 0 up to `top`; the highest bar only for what reaches it."""
    last = len(BARS) - 1
    return "".join(NO_VALUE if value is None else BARS[max(0, min(last, int(value / top * last)))] for value in values)


def _n_attempts(found: History) -> str:
    number = len(found.attempts)
    return counted(number, "attempt") + (f", the last {MAX_COLUMNS} shown" if number > MAX_COLUMNS else "")


def _sparklines(page: Page, found: History) -> None:
    labels = [_label(series) for series in found.series]
    label_width = max(map(len, [*labels, "outcome"]))
    shown = found.attempts[-MAX_COLUMNS:]
    marks = [mark(attempt.outcome, is_gold=attempt.is_gold) for attempt in shown]
    page.line((f"{'outcome':<{label_width}}  ", "quiet"), *((m.glyph, m.style) for m in marks), indent=INDENT)
    for label, series in zip(labels, found.series, strict=True):
        bars = spark(series.values[-MAX_COLUMNS:], _top(series))
        lead: list[Part] = [(f"{label:<{label_width}}  ", "quiet"), (bars, "code"), "  "]
        page.prose(_series_text(series, found.attempts), lead=lead)
    if not any(attempt.timings for attempt in found.attempts) and _is_timed(found):
        page.line((f"{'speed':<{label_width}}  ", "quiet"), "not measured: no attempt ran on a GPU", indent=INDENT)
    for number in found.changed_at:
        text = f"The exercise changed before attempt {number}: figures on the two sides of it don't compare."
        page.prose(text, style="warning")


def _is_timed(found: History) -> bool:
    return any(target.figure not in QUALITIES for target in found.exercise.targets)


def _label(series: Series) -> str:
    if series.figure in (RIGHT, WORK):
        return series.figure
    kind = "quality" if series.figure in QUALITIES else "speed"
    return f"{kind} {series.op}".rstrip()


def _top(series: Series) -> float:
    """The value of a full bar: the whole of a share; of a factor or of decibels the highest that is aimed at or met."""
    if series.figure in (RIGHT, WORK, *SHARES):
        return 1.0
    return max(series.best[1], series.gold_at or 0.0, series.pass_at or 0.0)


def _series_text(series: Series, attempts: Sequence[Tried]) -> str:
    number, value = series.last
    best_number, best = series.best
    last = attempts[number - 1]
    if series.figure == RIGHT:
        return _right(last)
    is_best = value == best
    best_text = "" if is_best else f"; best {_reading(series, best).split()[0]} in attempt {best_number}"
    if series.figure == WORK:
        return f"{_reading(series, value)}, {last.evidence or 'counted'}{best_text}"
    text = f"{_reading(series, value)}{' (best)' if is_best else best_text}"
    return f"{text}, on {series.device}".replace(" on", HARD_SPACE + "on") if series.device else text


def _reading(series: Series, value: float) -> str:
    if series.figure == WORK:
        return f"{1 / value:.2f} × the least"
    return reading(series.figure, value)


def _rows(page: Page, attempts: Sequence[Tried], zone: tzinfo | None) -> None:
    """One attempt a line: number, time, outcome, and whatever of it needs words."""
    marks = [mark(attempt.outcome, is_gold=attempt.is_gold) for attempt in attempts]
    word_width = max(len(word) for _, _, word in marks)
    number_width = len(str(attempts[-1].number))
    for attempt, (glyph, style, word) in zip(attempts, marks, strict=True):
        lead: list[Part] = [f"{attempt.number:>{number_width}}  ", (f"{_when(attempt, zone)}  ", "quiet")]
        page.prose(_told_of(attempt), lead=[*lead, (f"{glyph} {word:<{word_width}}  ", style)])


def _told_of(attempt: Tried) -> str:
    told = [_right(attempt)] if attempt.n_graded and attempt.n_right < attempt.n_graded else []
    told += [attempt.cause.replace("_", " ")] if attempt.cause else []
    share = attempt.share_of_work
    if share is not None and (share < 1 or not attempt.timings):
        told.append(f"{1 / share:.2f} × the least work")
    told += [_median(timing) for timing in attempt.timings]
    return "; ".join(told)


def _median(timing: Timing) -> str:
    return f"{timing.case.op} {milliseconds(timing.median_ms)}".lstrip()


def _when(attempt: Tried, zone: tzinfo | None) -> str:
    return f"{datetime.fromisoformat(attempt.at).astimezone(zone):%Y-%m-%d %H:%M}"


def _right(attempt: Tried) -> str:
    return f"{attempt.n_right} of {counted(attempt.n_graded, 'case')}" if attempt.n_graded else "no case ran"


def _told(page: Page, found: History, step: Step, *, is_whole: bool) -> None:
    before, after = found.attempts[step.before - 1], found.attempts[step.after - 1]
    page.prose(_step_text(step, before, after), style="strong", indent=0)
    alike = [
        other for other in found.steps if (other.gain, other.op, other.device) == (step.gain, step.op, step.device)
    ]
    others = [other for other in alike if other is not step]
    if others:
        pairs = ", ".join(f"{other.before} → {other.after} ({other.factor:.2f} ×)" for other in others[-4:])
        page.prose(f"{'Also faster' if step.gain is Gain.FASTER else 'Also less work'}: {pairs}", style="quiet")
    page.blank()
    if found.diffs:
        _diff(page, found.diffs, None if is_whole else MAX_DIFF_LINES)
    else:
        page.prose(_why_no_diff(before, after), style="quiet")


def _step_text(step: Step, before: Tried, after: Tried) -> str:
    if step.gain is Gain.FASTER:
        what = f" at {step.op}" if step.op else ""
        return (
            f"Attempt {after.number} was {step.factor:.2f} × as fast{what} as attempt {before.number}, the best until "
            f"then, on {step.device}"
        )
    if step.gain is Gain.LESS_WORK and before.share_of_work and after.share_of_work:
        return (
            f"Attempt {after.number} did less: {1 / after.share_of_work:.2f} × the least work after "
            f"{1 / before.share_of_work:.2f} × in attempt {before.number}"
        )
    return f"Attempt {after.number} was the first that passed, after attempt {before.number}"


def _why_no_diff(before: Tried, after: Tried) -> str:
    lost = next((attempt for attempt in (before, after) if attempt.unkept), None)
    if lost is None:
        return "The sources are the same."
    return f"There is no diff: the record has no source of attempt {lost.number} ({lost.unkept})."


def _diff(page: Page, diffs: Sequence[FileDiff], most: int | None) -> None:
    lines = [line for diff in diffs for line in diff.lines]
    for line in lines[:most]:
        is_head = line.startswith(("--- attempt ", "+++ attempt "))
        page.line((line, "strong" if is_head else _DIFF_STYLES.get(line[:1], "")))
    if most is not None and len(lines) > most:
        page.line((f"{counted(len(lines) - most, 'more line')}", "quiet"))


def _next(found: History) -> tuple[str, str]:
    exercise_id, told = found.exercise.id, found.told
    if told is not None and sum(len(diff.lines) for diff in found.diffs) > MAX_DIFF_LINES:
        return f"gpuprep compare {exercise_id} {told.before} {told.after}", "the whole diff"
    if found.attempts[-1].outcome.is_pass and len(found.attempts) > 1:
        return f"gpuprep compare {exercise_id} first best", "the whole way"
    return f"gpuprep check {exercise_id}", ""


def _figure_rows(before: Tried, after: Tried) -> Iterator[list[Part]]:
    """What was held against targets, where both have it; a share of one card beside a share of another, too."""
    both = [{(f.target.figure, f.target.of): f for f, _ in attempt.figures} for attempt in (before, after)]
    for name, of in dict.fromkeys((*both[0], *both[1])):
        texts = [reading(name, found[name, of].value) if (name, of) in found else "–" for found in both]
        yield [(f"{of or 'figure'}", "quiet"), *texts]


def _work_tables(page: Page, before: Tried, after: Tried) -> None:
    old = {counted.case.name: counted for counted in before.counted}
    for new in after.counted:
        if (first := old.get(new.case.name)) is None:
            continue
        page.blank()
        page.line(("counted work  ", "strong"), (new.case.name, "quiet"), indent=INDENT)
        page.table(list(_work_rows(first, new)), "<>><", indent=2 * INDENT)


def _work_rows(before: Counted, after: Counted) -> Iterator[list[Part]]:
    budgets = {budget.name: budget for budget in before.budgets}
    for budget in after.budgets:
        if budget.name not in budgets:
            continue
        old, new = budgets[budget.name].used(before.work), budget.used(after.work)
        style = "good" if new < old else "bad" if new > old else "quiet"
        yield [
            (budget.name.replace("_", " "), "quiet"),
            amount(budget, old),
            amount(budget, new),
            (_change(old, new, "less", "more"), style),
        ]


def _time_tables(page: Page, before: Tried, after: Tried) -> None:
    old = {(timing.device, timing.case.op): timing for timing in before.timings}
    for new in after.timings:
        first = old.get((new.device, new.case.op))
        if first is None:
            continue
        page.blank()
        page.line(("median time  ", "strong"), (new.device, "quiet"), indent=INDENT)
        rows: list[list[Part]] = [
            [
                f"{milliseconds(timing.median_ms)} ({milliseconds(timing.low_ms, timing.high_ms)})",
                (timing.case.name, "quiet"),
            ]
            for timing in (first, new)
        ]
        page.table(rows, "<<", indent=2 * INDENT)
        text, style = _speed_change(first, new)
        page.line((text, style), indent=2 * INDENT)


def _speed_change(before: Timing, after: Timing) -> tuple[str, str]:
    """By their first figure, which doesn't depend on the sizes that a check draws; else by the times of one case."""
    if before.figures and after.figures and before.figures[0].target.figure == after.figures[0].target.figure:
        old, new = before.figures[0], after.figures[0]
        ratio, is_apart = new.value / old.value, new.low > old.high or new.high < old.low
    elif before.case.name == after.case.name:
        ratio = before.median_ms / after.median_ms
        is_apart = after.high_ms < before.low_ms or after.low_ms > before.high_ms
    else:
        return "of different sizes, so that the times don't compare", "quiet"
    if not is_apart:
        return "no difference beyond the spread", "quiet"
    return (f"{ratio:.2f} × as fast", "good") if ratio > 1 else (f"{1 / ratio:.2f} × as slow", "bad")


def _change(old: float, new: float, lower: str, higher: str) -> str:
    """`1.50 × less`."""
    if old == new:
        return "the same"
    if not (old and new):
        return lower if new < old else higher
    return f"{old / new:.2f} × {lower}" if new < old else f"{new / old:.2f} × {higher}"
