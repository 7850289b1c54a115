"""How an outcome is marked: a glyph, the name of a style, and always a word, since colour and glyphs may be missing."""

from __future__ import annotations

from typing import NamedTuple

from gpuprep.model import Outcome


class Mark(NamedTuple):
    """One outcome's glyph, style and word."""

    glyph: str
    style: str
    word: str


GOLD = Mark("★", "gold", "gold")

_MARKS = {
    Outcome.PASSED: Mark("✓", "good", "passed"),
    Outcome.PROVISIONAL: Mark("◐", "provisional", "provisional"),
    Outcome.NOT_STARTED: Mark("○", "quiet", "not started"),
    Outcome.SKIPPED: Mark("–", "quiet", "skipped"),
    Outcome.INCONCLUSIVE: Mark("◌", "warning", "inconclusive"),
    Outcome.INVALID: Mark("?", "warning", "needs review"),
    Outcome.GRADER_FAULT: Mark("!", "warning", "grader fault"),
}
_UNTRIED = Mark("·", "quiet", "not tried")


def mark(outcome: Outcome | None, *, is_gold: bool = False) -> Mark:
    """The mark of an outcome; None is an exercise that was never checked."""
    if outcome is None:
        return _UNTRIED
    if is_gold and outcome is Outcome.PASSED:
        return GOLD
    return _MARKS.get(outcome) or Mark("✗", "bad", outcome.value.lower().replace("_", " "))
