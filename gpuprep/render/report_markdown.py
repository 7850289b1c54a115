"""The report as Markdown, in the shape of a project's README: performance, benchmarks, usage, what was learned.

What only the learner can write is left as a comment that no reader of the rendered page sees.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from gpuprep.portfolio import Curve, ExerciseStory, Portfolio
from gpuprep.render import report_words as words
from gpuprep.render.layout import HARD_SPACE, clean
from gpuprep.render.marks import mark

BLOCKS = "▁▂▃▄▅▆▇█"
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~])")


def report_markdown(portfolio: Portfolio) -> str:
    """The whole text."""
    lines = [f"# {plain(portfolio.title)}", ""]
    lines += [f"What was done and measured; made on {portfolio.made_at[:10]} with gpuprep {portfolio.version}.", ""]
    lines += [f"- {number} {what}" for number, what in words.totals(portfolio)]
    lines += _items(portfolio.missing)
    for module in portfolio.modules:
        if module.stories:
            lines += ["", f"## {plain(module.title)}", "", f"{words.standing(module)}."]
            lines += _items(module.missing)
        for story in module.stories:
            lines += _story(story)
    lines += ["", "## How this was measured", ""]
    lines += [f"{plain(text)}\n" for text in words.HOW]
    return "\n".join(lines).rstrip() + "\n"


def plain(text: str) -> str:
    """The text on one line, with nothing in it that Markdown or HTML would take for markup."""
    one_line = " ".join(clean(text).replace(HARD_SPACE, " ").split())
    return _SPECIAL.sub(r"\\\1", one_line).replace("&", "&amp;").replace("\\<", "&lt;").replace("\\>", "&gt;")


def _story(story: ExerciseStory) -> list[str]:
    exercise = story.exercise
    _, _, word = mark(story.outcome, is_gold=story.is_gold)
    lines = ["", f"### {exercise.id} {plain(exercise.title)} ({word})", "", _with_code(exercise.summary)]
    found = words.tables(story)
    if found:
        lines += ["", "#### Performance"]
    for table in found:
        lines += [
            "",
            f"{plain(table.caption)}:",
            "",
            _cells(table.headers),
            _cells(["---"] * len(table.headers), raw=True),
        ]
        lines += [_cells(row) for row in table.rows]
        lines += _items(table.notes)
    if story.curves or story.settings:
        lines += ["", "#### Benchmarks", ""]
        lines += [f"- {plain(words.curve_title(curve))}: {_spark(curve)}" for curve in story.curves]
        lines += [f"\nTested on: {plain(setting)}" for setting in story.settings]
    lines += _items((*words.remarks(story), *story.missing))
    lines += ["", "#### Usage", "", "```bash", f"gpuprep check {exercise.id}", "```"]
    lines += ["", "#### Technical details", "", "<!-- Yours to write: each optimisation, why, and what it brought. -->"]
    lines += [
        "",
        "#### What I learned",
        "",
        plain(words.route(story)),
        "",
        "<!-- Yours to write: the key insights. -->",
    ]
    return lines


def _items(notes: Iterable[str]) -> list[str]:
    items = [f"- {plain(note)}" for note in notes]
    return ["", *items] if items else []


def _cells(cells: Iterable[str], *, raw: bool = False) -> str:
    return "| " + " | ".join(cell if raw else plain(cell) for cell in cells) + " |"


def _spark(curve: Curve) -> str:
    """`▂▅█ 62.0% (attempt 1) to 98.1% (attempt 3)`: a block for each attempt that was measured."""
    top = max(1.0, *(point.value for point in curve.points))
    blocks = "".join(BLOCKS[round(point.value / top * (len(BLOCKS) - 1))] for point in curve.points)
    first, best = curve.points[0], max(curve.points, key=lambda point: point.value)
    told = f"{words.curve_value(curve, best)} (attempt {best.number})"
    if best is not first:
        told = f"{words.curve_value(curve, first)} (attempt {first.number}) to {told}"
    return f"{blocks} {told}"


def _with_code(text: str) -> str:
    """Plain text whose backticks still make code."""
    parts = clean(text).replace("\n", " ").split("`")
    return "".join(f"`{part}`" if place % 2 else plain_words(part) for place, part in enumerate(parts))


def plain_words(part: str) -> str:
    """Like `plain`, with the spaces at both ends."""
    left, right = part[: len(part) - len(part.lstrip())], part[len(part.rstrip()) :]
    return f"{left}{plain(part)}{right}" if part.strip() else part
