"""The screens of a watch, each as large as its terminal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import sample_reports as samples
from golden_files import assert_golden
from test_render_overview import CURRICULUM, EXERCISES, OVERVIEW, STANDINGS

from gpuprep.model import Outcome
from gpuprep.practice.hints import HintShown
from gpuprep.practice.picking import Picking
from gpuprep.practice.solutions import SolutionShown
from gpuprep.practice.watched import Mode, Offer, Round, View
from gpuprep.render.layout import Page
from gpuprep.render.watching import Setting, cells, farewell_page, folded, watch_screen

FOURTH = EXERCISES[4]
PATH = Path("exercises/00_foundations/ex_04_softmax.py")
SETTING = Setting(CURRICULUM, display=str)
OFFERS = (Offer("n", "next ex_15"), Offer("h", "hint"), Offer("enter", "again"), Offer("s", "solution"))
OFFERS += (Offer("c", "check all"), Offer("l", "list"), Offer("q", "quit"))
PLAIN = View(
    mode=Mode.EXERCISE,
    exercise=FOURTH,
    path=PATH,
    overview=OVERVIEW,
    standing=STANDINGS[3],
    following=None,
    report=None,
    hint=None,
    solution=None,
    picking=None,
    round=None,
    busy="",
    is_missing=False,
    notice="",
    offers=OFFERS[4:],
)
FAILED = replace(PLAIN, report=samples.wrong_values().with_elapsed(0.12), offers=OFFERS[1:])
HINTED = replace(FAILED, hint=HintShown(FOURTH, 1, 3, "The grid rounds up.", chosen_for="tail"))
DONE = replace(STANDINGS[3], outcome=Outcome.PROVISIONAL)
PASSED = replace(
    PLAIN,
    report=samples.provisional().with_elapsed(0.08),
    standing=DONE,
    following=EXERCISES[15],
    offers=OFFERS,
)
SOLUTION = replace(
    PASSED,
    mode=Mode.SOLUTION,
    solution=SolutionShown(
        Path("/content/r.py"), "def f():\n\n    # " + "a word " * 20 + "\n    return 1\n", forced=False
    ),
)
LIST = replace(PLAIN, mode=Mode.LIST, picking=Picking(OVERVIEW.standings, "", 3))
ROUND = replace(PLAIN, mode=Mode.ROUND, round=Round(5, ((EXERCISES[1], samples.provisional()),)), busy="starting")
VIEWS = {
    "task": PLAIN,
    "failed": FAILED,
    "hinted": HINTED,
    "passed": PASSED,
    "solution": SOLUTION,
    "list": LIST,
    "filtered": replace(LIST, picking=Picking(OVERVIEW.standings, "ma", 0)),
    "nothing_left": replace(LIST, picking=Picking(OVERVIEW.standings, "zz", 0)),
    "round": ROUND,
}


def text(view: View, *, columns: int = 80, rows: int = 24, scroll: int = 0, setting: Setting = SETTING) -> str:
    """The screen without styles."""
    return watch_screen(view, setting, columns=columns, rows=rows, scroll=scroll).page.text()


@pytest.mark.parametrize("name", VIEWS)
def test_screen(name: str) -> None:
    """Each screen in 80×24, as a person sees it."""
    assert_golden(f"watch_{name}", text(VIEWS[name]))


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (120, 40), (40, 12), (20, 5), (10, 2), (1, 1)])
def test_screen_is_as_large_as_the_terminal(name: str, columns: int, rows: int) -> None:
    """Never a line too long, never one too many: the terminal would scroll."""
    lines = watch_screen(VIEWS[name], SETTING, columns=columns, rows=rows).page.lines
    assert len(lines) == rows
    assert max(cells("".join(part for part, _ in line)) for line in lines) <= columns


def test_scrolling_moves_the_body_alone() -> None:
    """What is out of sight is said; more than there is counts as all."""
    screen = watch_screen(HINTED, SETTING, columns=80, rows=16)
    assert screen.max_scroll > 0
    assert f"{screen.max_scroll} more below" in screen.page.text()
    top, end = text(HINTED, rows=16), text(HINTED, rows=16, scroll=999)
    assert top.splitlines()[0] == end.splitlines()[0]
    assert top.splitlines()[-2:] == end.splitlines()[-2:]
    assert f"{screen.max_scroll} more above" in end
    assert "below" not in end
    assert text(HINTED, rows=16, scroll=screen.max_scroll) == end


def test_list_shows_what_is_chosen() -> None:
    """However low the terminal is; the filter stays at its top."""
    for place in range(len(STANDINGS)):
        shown = text(replace(LIST, picking=Picking(OVERVIEW.standings, "", place)), rows=7).splitlines()
        assert shown[0].startswith("filter: ")
        assert sum(f"▸ {'★◐✓✗·'[place]} {STANDINGS[place].exercise.id}" in line for line in shown) == 1


def test_what_is_going_on() -> None:
    """A running check before a remark, a remark before the file."""
    busy = replace(PLAIN, busy="cpu: case 3 of 9", notice="ex_02 was saved")
    assert "checking cpu: case 3 of 9" in text(busy)
    assert "ex_02 was saved" in text(replace(busy, busy=""))
    assert f"waiting for a save of {PATH}" in text(PLAIN)
    assert f"{PATH} is missing; gpuprep reset ex_04" in text(replace(PLAIN, is_missing=True))
    assert "checking 2 of 5, starting" in text(ROUND)
    polling = replace(SETTING, why_polling="WSL")
    assert f"polling (WSL), waiting for a save of {PATH.name}" in text(PLAIN, setting=polling)


def test_pass_invites_to_tune_on() -> None:
    """It names what n leads to, and gold where that is still to be had."""
    assert "press n for ex_15 Warp reduce" in " ".join(text(PASSED).split())
    silver = replace(PASSED, report=samples.timed(0.85), following=None)
    assert "Gold is still there to be reached." in " ".join(text(silver).split())
    assert "press n" not in text(silver)
    assert "Gold" not in text(replace(silver, report=samples.timed(0.99)))


def test_commands_are_keys_here() -> None:
    """What a command would say to type next is a key on this screen."""
    assert all("next: gpuprep" not in text(view) for view in VIEWS.values())


def test_farewell_says_how_to_come_back() -> None:
    """Below it is the shell again."""
    assert farewell_page(PASSED).text() == "◐ ex_04 Row softmax  provisional\n\nnext: gpuprep watch\n"


def test_folding_counts_columns() -> None:
    """Wide characters take two, combining ones none."""
    page = Page()
    page.line("漢字", ("e\u0301x", "strong"))
    assert [cells("".join(part for part, _ in row)) for row in folded(page.lines[0], 3)] == [2, 3, 1]
    assert folded((), 5) == [()]
