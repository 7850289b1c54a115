"""The screens of `gpuprep watch`: a head, a body that scrolls, and what is going on, with the keys that do something.

Each is a page of exactly as many lines as the terminal has rows, none longer than its columns.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from gpuprep.exercise import Exercise
from gpuprep.model import Outcome, Report
from gpuprep.render.layout import INDENT, Line, Page, Part, counted
from gpuprep.render.marks import mark
from gpuprep.render.notices import hint_page
from gpuprep.render.overview import next_page
from gpuprep.render.report import report_page, summary_page

if TYPE_CHECKING:
    from gpuprep.curriculum import Curriculum
    from gpuprep.render.views import HintShown, Overview, SolutionShown, Standing

MAX_WIDTH = 100
"""Columns that prose is laid out for, however many there are: longer lines are hard to read."""
MIN_ROWS_FOR_HEAD = 10
"""With fewer, the lines are worth more to the body."""
_NEXT = "next: "

Display = Callable[[Path], str]


class Offer(Protocol):
    """A key that does something now."""

    @property
    def key(self) -> str: ...
    @property
    def label(self) -> str: ...


class Picking(Protocol):
    """The list, its filter, and what is chosen of it (`practice.picking`)."""

    @property
    def filter(self) -> str: ...
    @property
    def left(self) -> Sequence[Standing]: ...
    @property
    def place(self) -> int: ...
    @property
    def standings(self) -> Sequence[Standing]: ...


class Round(Protocol):
    """A check of everything (`practice.watched`)."""

    @property
    def total(self) -> int: ...
    @property
    def graded(self) -> Sequence[tuple[Exercise, Report]]: ...
    @property
    def is_over(self) -> bool: ...


class View(Protocol):
    """All that a screen shows (`practice.watched`)."""

    @property
    def mode(self) -> str: ...
    @property
    def exercise(self) -> Exercise: ...
    @property
    def path(self) -> Path: ...
    @property
    def overview(self) -> Overview: ...
    @property
    def standing(self) -> Standing: ...
    @property
    def following(self) -> Exercise | None: ...
    @property
    def report(self) -> Report | None: ...
    @property
    def hint(self) -> HintShown | None: ...
    @property
    def solution(self) -> SolutionShown | None: ...
    @property
    def picking(self) -> Picking | None: ...
    @property
    def round(self) -> Round | None: ...
    @property
    def busy(self) -> str: ...
    @property
    def is_missing(self) -> bool: ...
    @property
    def notice(self) -> str: ...
    @property
    def offers(self) -> Sequence[Offer]: ...


@dataclass(frozen=True)
class Screen:
    """A page as large as the terminal, and how far its body can be scrolled."""

    page: Page
    max_scroll: int


@dataclass(frozen=True)
class Setting:
    """What a watch's screens have in common.

    Args:
        curriculum: what the exercises belong to.
        display: writes a path.
        why_polling: why saves are looked for, not told of; empty where they are told of.
    """

    curriculum: Curriculum
    display: Display
    why_polling: str = ""


def watch_screen(view: View, setting: Setting, *, columns: int, rows: int, scroll: int = 0) -> Screen:
    """What the terminal shows now.

    Args:
        view: the state of the watch.
        setting: what doesn't change with it.
        columns: the terminal's.
        rows: the terminal's.
        scroll: lines of the body that are scrolled out at the top; more than there are count as all.
    """
    head = _head(view, columns) if rows >= MIN_ROWS_FOR_HEAD else []
    foot = _foot(view, setting, columns)
    room = max(1, rows - len(head) - len(foot) - 1)
    if view.mode == "list" and view.picking:
        body = _list_body(view, view.picking, columns, room)
    else:
        body = [row for line in _body(view, setting, min(columns, MAX_WIDTH)).lines for row in folded(line, columns)]
    max_scroll = max(0, len(body) - room)
    scroll = min(scroll, max_scroll)
    shown = body[scroll : scroll + room]
    page = Page(columns)
    page.lines = [*head, *shown, *[()] * (room - len(shown)), _rule(columns, scroll, max_scroll - scroll), *foot]
    page.lines = page.lines[:rows]
    return Screen(page, max_scroll)


def farewell_page(view: View) -> Page:
    """What stays on the terminal when the watch is over: where the learner is, and how to come back."""
    page = Page()
    exercise, standing = view.exercise, view.standing
    glyph, style, word = mark(standing.outcome, is_gold=standing.is_gold)
    page.line((f"{glyph} ", style), (f"{exercise.id} {exercise.title}  ", "strong"), (word, style))
    page.next_command("gpuprep watch")
    return page


def folded(line: Line, columns: int) -> list[Line]:
    """The line broken where the terminal would break it."""
    rows: list[list[tuple[str, str]]] = [[]]
    room = columns
    for text, style in line:
        piece = ""
        for character in text:
            width = cells(character)
            if width > room:
                rows[-1].append((piece, style))
                rows.append([])
                piece, room = "", columns
            piece += character
            room -= width
        rows[-1].append((piece, style))
    return [tuple(row) for row in rows]


def cells(text: str) -> int:
    """How many columns the text takes."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.combining(character) > 0 for character in text)


def _cut(text: str, columns: int) -> str:
    if cells(text) <= columns:
        return text
    while text and cells(text) >= columns:
        text = text[:-1]
    return f"{text}…" if columns else ""


def _head(view: View, columns: int) -> list[Line]:
    """Which exercise, and how many are done."""
    total = view.overview.overall
    done = f"{total.passed + total.provisional} of {total.total} done"
    name = _cut(f"{view.exercise.id} {view.exercise.title}", max(0, columns - len(done) - 17))
    page = Page(columns)
    gap = " " * max(1, columns - cells(name) - len(done) - 15)
    page.line(("gpuprep watch  ", "quiet"), (name, "strong"), gap, (_cut(done, columns), "quiet"))
    page.lines = [folded(page.lines[0], columns)[0], ()]
    return page.lines


def _rule(columns: int, n_above: int, n_below: int) -> Line:
    """The edge of the body, and how much of it is out of sight."""
    told = [f"{n_above} more above ↑"] if n_above else []
    told += [f"{n_below} more below ↓"] if n_below else []
    text = f"── {', '.join(told)} " if told else ""
    return ((_cut(text + "─" * max(0, columns - len(text)), columns), "quiet"),)


def _foot(view: View, setting: Setting, columns: int) -> list[Line]:
    """What is going on, and the keys."""
    page = Page(columns)
    text, style = _going_on(view, setting)
    page.line((_cut(text, columns), style))
    row: list[Part] = []
    used = 0
    for offer in view.offers:
        width = cells(f"{offer.key} {offer.label}")
        if row and used + 3 + width > columns:
            page.line(*row)
            row, used = [], 0
        if row:
            row.append((" · ", "quiet"))
            used += 3
        row += [(offer.key, "command"), f" {offer.label}"]
        used += width
    page.line(*row)
    page.lines = [folded(line, columns)[0] for line in page.lines]
    return page.lines


def _going_on(view: View, setting: Setting) -> tuple[str, str]:
    if view.busy:
        is_round = view.round is not None and not view.round.is_over
        n_graded = len(view.round.graded) + 1 if view.round else 0
        which = f"{n_graded} of {view.round.total}, " if is_round and view.round else ""
        return f"checking {which}{view.busy} …", "provisional"
    if view.notice:
        return view.notice, "warning"
    path = setting.display(view.path)
    if view.is_missing:
        return f"{path} is missing; gpuprep reset {view.exercise.id} puts the stub there", "warning"
    if setting.why_polling:
        return f"polling ({setting.why_polling}), waiting for a save of {view.path.name}", "quiet"
    return f"waiting for a save of {path}", "quiet"


def _body(view: View, setting: Setting, width: int) -> Page:
    if view.mode == "solution" and view.solution:
        page = Page(width)
        page.line((f"{view.exercise.id} {view.exercise.title}: the reference", "strong"))
        page.blank()
        for row in view.solution.text.splitlines():
            page.verbatim("\n".join(_wrapped(row, width)) or " ", indent=0)
        return page
    if view.mode == "round" and view.round:
        return _round_page(view.round, width)
    page = Page(width)
    if view.hint:
        page.lines += _without_next(hint_page(view.hint, width=width))
        page.blank()
    if view.report is None:
        task = next_page(
            view.standing,
            view.path,
            setting.curriculum,
            display=setting.display,
            schedule=view.overview.schedule,
            width=width,
        )
        page.lines += _without_next(task)
        page.blank()
        page.prose("Open the file in your editor and write: each save is checked.", indent=0)
        return page
    shown = report_page(view.report, view.exercise, display=lambda path: setting.display(Path(path)), width=width)
    page.lines += _without_next(shown)
    page.blank()
    _invitation(page, view)
    return page


def _invitation(page: Page, view: View) -> None:
    """What the learner may do next: theirs to decide."""
    assert view.report is not None  # noqa: S101  asked for by a body that has one
    page.line((f"attempt {view.standing.attempts}, checked in {view.report.elapsed_s:.2f} s", "quiet"))
    outcome = view.report.outcome
    if outcome.is_pass:
        rest = f", or press n for {view.following.id} {view.following.title}." if view.following else "."
        gold = "" if view.report.is_gold or outcome is Outcome.PROVISIONAL else " Gold is still there to be reached."
        page.prose(f"Done, if you like. Tune on: each save is checked and recorded{rest}{gold}", indent=0)
    elif view.exercise.hints and outcome is not Outcome.GRADER_FAULT and not view.hint:
        page.prose("Save again when it is mended. h gives a hint.", indent=0)


def _wrapped(row: str, width: int) -> list[str]:
    """A line of source, broken between words; what follows hangs below where it began."""
    import textwrap

    indent = row[: len(row) - len(row.lstrip())]
    return textwrap.wrap(row, width, subsequent_indent=indent, break_on_hyphens=False)


def _round_page(found: Round, width: int) -> Page:
    if not found.graded:
        page = Page(width)
        page.line((f"{counted(found.total, 'exercise')} to check", "strong"))
        return page
    return summary_page(found.graded, width=width)


def _without_next(page: Page) -> list[Line]:
    """The page without the command to type next: here there are keys."""
    lines = list(page.lines)
    if lines and lines[-1] and lines[-1][0][0] == _NEXT:
        lines.pop()
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _list_body(view: View, picking: Picking, columns: int, room: int) -> list[Line]:
    """The exercises that the filter leaves, scrolled so that the chosen one is seen."""
    page = Page(columns)
    left = picking.left
    page.line(
        ("filter: ", "quiet"), (picking.filter, "strong"), "▏", (f"  {len(left)} of {len(picking.standings)}", "quiet")
    )
    width = max((len(standing.exercise.title) for standing in picking.standings), default=0)
    for place, standing in enumerate(left):
        exercise = standing.exercise
        glyph, style, word = mark(standing.outcome, is_gold=standing.is_gold)
        is_chosen = place == picking.place
        here = ", watched" if exercise.id == view.exercise.id else ""
        page.line(
            ("▸ " if is_chosen else "  ", "command"),
            (f"{glyph} ", style),
            (f"{exercise.id}  {exercise.title:<{width}}  ", "strong" if is_chosen else ""),
            (word, style),
            (", changed" if standing.is_stale else "", "warning"),
            (here, "quiet"),
        )
    if not left:
        page.line(("nothing fits", "quiet"), indent=INDENT)
    lines = [folded(line, columns)[0] for line in page.lines]
    # The line with the filter stays where it is typed.
    scroll = min(max(0, picking.place + 1 - (room - 2)), max(0, len(lines) - room))
    return [lines[0], *lines[1 + scroll :]][:room]
