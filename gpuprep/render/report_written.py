"""What `gpuprep report` says when the file is written: what is in it, and what is not."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from gpuprep.portfolio import Curve, ExerciseStory, Portfolio
from gpuprep.render import machine
from gpuprep.render import report_words as words
from gpuprep.render.layout import WIDTH, Page


def written_page(portfolio: Portfolio, shown: str, n_bytes: int, *, width: int = WIDTH) -> Page:
    """One line a fact, then what is missing.

    Args:
        portfolio: what the file tells.
        shown: its path, as a person would type it.
        n_bytes: its size.
        width: columns to lay out for.
    """
    page = Page(width)
    page.line(("wrote ", "quiet"), (shown, "code"), (f"  {max(1, round(n_bytes / 1000))} kB", "quiet"))
    page.blank()
    page.table([[(number, "strong"), what] for number, what in words.totals(portfolio)], "><")
    without = [story.exercise.id for story in portfolio.stories if story.exercise.targets and not story.timed]
    told = list(portfolio.missing)
    if without and not portfolio.missing:
        told.append(f"Left out, because there is no time on a card: speed of {', '.join(without)}.")
    for sentence in told:
        page.blank()
        page.prose(sentence, style="quiet")
    page.next_command(f"xdg-open {shlex.quote(shown)}" if shown.endswith(".html") else "gpuprep next")
    return page


def written_document(portfolio: Portfolio, path: Path | None) -> dict[str, Any]:
    """Everything that the report shows, for a script; `path` is where it was written."""
    return machine.document(
        "report",
        path=path.absolute() if path else None,
        made_at=portfolio.made_at,
        missing=portfolio.missing,
        modules=[
            {
                "id": module.id,
                "title": module.title,
                "passed": module.passed,
                "provisional": module.provisional,
                "gold": module.gold,
                "total": module.total,
                "missing": module.missing,
                "exercises": [_story(story) for story in module.stories],
            }
            for module in portfolio.modules
        ],
    )


def _story(story: ExerciseStory) -> dict[str, Any]:
    return {
        "id": story.exercise.id,
        "title": story.exercise.title,
        "outcome": story.outcome,
        "is_gold": story.is_gold,
        "attempts": [
            {"number": step.number, "at": step.at, "outcome": step.outcome, "device": step.device, "cause": step.cause}
            for step in story.steps
        ],
        "curves": [_curve(curve) for curve in story.curves],
        "tables": [
            {"caption": table.caption, "headers": table.headers, "rows": table.rows, "notes": table.notes}
            for table in words.tables(story)
        ],
        "tested_on": story.settings,
        "missing": story.missing,
    }


def _curve(curve: Curve) -> dict[str, Any]:
    points = [
        {"attempt": point.number, "value": point.value, "low": point.low, "high": point.high} for point in curve.points
    ]
    targets = {"pass_at": curve.pass_at, "gold_at": curve.gold_at}
    return {"figure": curve.figure, "op": curve.op, "device": curve.device, **targets, "points": points}
