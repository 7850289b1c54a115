"""Lines, wrapping, columns, numbers and marks."""

from __future__ import annotations

import pytest

from gpuprep.model import Outcome
from gpuprep.render.layout import Page, clean, counted, grouped
from gpuprep.render.marks import mark


def test_prose_hangs_below_its_lead() -> None:
    """Wrapped lines begin where the text of the first line began."""
    page = Page(width=40)
    page.prose("a few words that do not fit on one line of forty columns", lead=["label: "])
    first, *others = page.text().splitlines()
    assert first.startswith("  label: a few")
    assert others
    assert all(line.startswith(" " * 9) and len(line) <= 40 for line in others)


def test_prose_keeps_what_is_laid_out() -> None:
    """Lines that begin with blanks are somebody's own layout, and stay as they are."""
    page = Page(width=30)
    page.prose("first\n    " + "x " * 30)
    assert page.text().splitlines()[1].rstrip() == "      " + "x " * 29 + "x"


def test_long_words_are_never_broken() -> None:
    """A path longer than the page stays in one piece, so that it can be copied."""
    page = Page(width=30)
    page.prose("see /a/very/long/path/that/is/longer/than/thirty/columns.py now")
    assert "/a/very/long/path/that/is/longer/than/thirty/columns.py" in page.text()


def test_last_column_of_a_table_is_wrapped() -> None:
    """Words go on below where the column begins; a path is never broken, and nothing is nothing."""
    page = Page(20)
    page.table(
        [["goal", "as fast as the card can"], ["file", ("a/long/path/to/a/file.py", "code")], ["", ("", "code")]], "<<"
    )
    assert page.text() == "  goal  as fast as\n        the card can\n  file  a/long/path/to/a/file.py\n\n"


def test_table_columns() -> None:
    """Columns are as wide as their widest cell; the last one leaves no blanks behind."""
    page = Page()
    page.table([["a", "10", "x"], ["bbb", "2", "yy"]], "<><", indent=0)
    assert page.text() == "a    10  x\nbbb   2  yy\n"


def test_blank_lines_never_pile_up() -> None:
    """Two blank lines in a row are one, and none stands at the top."""
    page = Page()
    page.blank()
    page.line("a")
    page.blank()
    page.blank()
    page.line("b")
    assert page.text() == "a\n\nb\n"


def test_a_line_is_one_line() -> None:
    """Newlines in a value can't forge further lines."""
    page = Page()
    page.line("a\nnext: rm -rf")
    assert page.text() == "a next: rm -rf\n"


def test_clean_keeps_text() -> None:
    """Control characters and lone surrogates go, text and newlines stay."""
    assert clean("a\x1b[31mb\r\nc\td\x00\udc80é") == "a[31mb\nc   dé"


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0"), (1025, "1025"), (98304, "98\u00a0304"), (-12345, "-12\u00a0345")]
)
def test_grouped(number: int, text: str) -> None:
    """Digits are grouped from five on; four stay together, as in a case's name."""
    assert grouped(number) == text


@pytest.mark.parametrize(
    ("number", "noun", "text"), [(1, "launch", "1 launch"), (2, "launch", "2 launches"), (0, "byte", "0 bytes")]
)
def test_counted(number: int, noun: str, text: str) -> None:
    """Nouns get their plural."""
    assert counted(number, noun).replace("\u00a0", " ") == text


def test_marks_tell_outcomes_apart_without_colour() -> None:
    """Passed, gold, provisional, skipped and failed differ in glyph and in word."""
    marks = [
        mark(Outcome.PASSED),
        mark(Outcome.PASSED, is_gold=True),
        mark(Outcome.PROVISIONAL),
        mark(Outcome.SKIPPED),
        mark(Outcome.NOT_STARTED),
        mark(Outcome.GRADER_FAULT),
        mark(Outcome.RACE),
        mark(None),
    ]
    assert len({each.glyph for each in marks}) == len(marks)
    assert len({each.word for each in marks}) == len(marks)


def test_only_passes_are_green() -> None:
    """No outcome but a pass gets the style of one."""
    green = {outcome for outcome in Outcome if mark(outcome).style in ("good", "gold")}
    assert green == {Outcome.PASSED}
