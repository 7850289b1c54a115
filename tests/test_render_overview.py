"""`list`, `progress` and `next` as text and as JSON."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import sample_reports as samples
from golden_files import assert_golden

from gpuprep.curriculum import Curriculum, Module
from gpuprep.exercise import Exercise, Target
from gpuprep.model import Outcome
from gpuprep.practice.abilities import AbilityStanding, AreaStanding
from gpuprep.practice.plans import PlanStep, Schedule
from gpuprep.practice.standing import Overview, Standing, Tally
from gpuprep.render import machine
from gpuprep.render.overview import list_page, next_page, progress_page
from gpuprep.render.roadmap import checklist_page, plan_page

NAMES = {1: "Vector add", 2: "Reduction", 3: "Tiled matmul", 4: "Row softmax", 15: "Warp reduce"}


def _exercise(number: int, module: str) -> Exercise:
    language = "cuda" if number == 15 else "triton"
    return replace(samples.EXERCISE, id=f"ex_{number:02}", title=NAMES[number], module=module, language=language)


EXERCISES = {number: _exercise(number, "03_cuda" if number == 15 else "00_foundations") for number in NAMES}
CURRICULUM = Curriculum(
    Path("/content"),
    "GPU and inference engineering",
    (
        Module("00_foundations", "Foundations", tuple(f"ex_{number:02}" for number in (1, 2, 3, 4))),
        Module("03_cuda", "CUDA", ("ex_15",)),
    ),
    tuple(EXERCISES.values()),
    (),
)


def _standing(number: int, outcome: Outcome | None, attempts: int, **more: bool) -> Standing:
    at = "2026-01-02T03:04:05.000+00:00" if attempts else None
    flags = {"is_gold": False, "is_stale": False, **more}
    return Standing(EXERCISES[number], outcome, attempts, at=at, **flags)


STANDINGS = (
    _standing(1, Outcome.PASSED, 3, is_gold=True),
    _standing(2, Outcome.PROVISIONAL, 1, is_stale=True),
    _standing(3, Outcome.PASSED, 2, solution_seen=True),
    _standing(4, Outcome.WRONG_VALUES, 7),
    _standing(15, None, 0),
)
OVERVIEW = Overview(
    STANDINGS,
    Tally("all", CURRICULUM.title, passed=2, provisional=1, gold=1, total=5),
    (
        Tally("00_foundations", "Foundations", passed=2, provisional=1, gold=1, total=4),
        Tally("03_cuda", "CUDA", passed=0, provisional=0, gold=0, total=1),
    ),
    (Tally("memory-bandwidth", "memory-bandwidth", passed=1, provisional=0, gold=1, total=1),),
    STANDINGS[3],
    "focused",
    ("ex_05", "ex_06"),
)


STEPS = (
    PlanStep("Day 1", "", STANDINGS[:2], (), 1, 1),
    PlanStep("Day 2", "", (STANDINGS[3],), ("ex_05", "ex_06"), 2, 2),
    PlanStep("Day 3", "A mock interview", (), (), 3, 3),
    PlanStep("Week 2", "Deep dives", (STANDINGS[4],), tuple(f"ex_{number}" for number in range(20, 32)), 8, 14),
)
PLANNED = replace(
    OVERVIEW,
    schedule=Schedule("focused", "Focused, 2 weeks", STEPS, day=3, n_days=14),
    areas=(
        AreaStanding(
            "Kernels",
            (
                AbilityStanding("Write basic kernels", STANDINGS[:1], ()),
                AbilityStanding("Reduce", STANDINGS[3:], ("ex_05",)),
                AbilityStanding("Fuse", (), ("ex_06",)),
            ),
        ),
    ),
    checklist=(
        AbilityStanding("Write kernels", (STANDINGS[0],), ()),
        AbilityStanding("Write kernels anywhere", (STANDINGS[0], replace(STANDINGS[1], is_stale=False)), ()),
        AbilityStanding("Look up nothing", (STANDINGS[2],), ()),
        AbilityStanding("Do what is coming", (), ("ex_05",)),
    ),
)


def test_plan() -> None:
    """The schedule has a line for each day or week, today's and what is overdue marked."""
    text = plan_page(PLANNED).text()
    assert_golden("plan", text)
    assert max(map(len, text.splitlines())) <= 80


def test_roadmap() -> None:
    """By topic, with a roadmap: each area's abilities, and the exercises behind them."""
    assert_golden("roadmap", progress_page(PLANNED, by_topic=True).text())


def test_checklist() -> None:
    """A box for each ability: ticked, ticked but for the speed, open."""
    assert_golden("checklist", checklist_page(PLANNED).text())


def test_next_in_a_plan() -> None:
    """`next` says where in the plan the exercise stands, and what was passed over because it isn't there yet."""
    text = next_page(STANDINGS[3], Path("x.py"), CURRICULUM, display=str, schedule=PLANNED.schedule).text()
    assert "focused, Day 2; today is day 3 of 14: 1 exercise due" in text
    assert "skipped ex_05, ex_06: not in this curriculum yet" in text


@pytest.mark.parametrize(
    ("day", "told"),
    [
        (None, "1 of 2"),
        (1, "nothing due; ahead"),
        (2, "due by now: ex_04"),
        (3, "overdue: ex_04"),
        (20, "gpuprep init --plan focused"),
    ],
)
def test_progress_says_what_is_due(day: int | None, told: str) -> None:
    """One paragraph of `progress` holds the plan against today."""
    steps = (replace(STEPS[0], standings=STANDINGS[:1]), STEPS[1])
    schedule = Schedule("focused", "Focused", steps, day=day, n_days=14)
    text = progress_page(replace(OVERVIEW, schedule=schedule)).text()
    assert told in " ".join(text.split())


def test_listing_document_has_plan_roadmap_and_checklist() -> None:
    """The JSON has the schedule, the areas and the checklist, with ids alone."""
    document = machine.listing("progress", PLANNED)
    assert document["schedule"]["overdue"] == ["ex_04"]
    assert document["schedule"]["steps"][1]["coming"] == ["ex_05", "ex_06"]
    assert document["roadmap"][0]["abilities"][0]["is_ticked"]
    assert [ability["is_ticked"] for ability in document["checklist"]] == [True, True, False, False]
    assert machine.dumps(document)


def test_list() -> None:
    """The list has a line for each exercise, by module, with its state in words."""
    assert_golden("list", list_page(CURRICULUM, OVERVIEW).text())


def test_progress() -> None:
    """Progress has a bar for each module and the sums."""
    assert_golden("progress", progress_page(OVERVIEW).text())


def test_progress_by_topic() -> None:
    """With --by topic the bars are those of the topics."""
    assert_golden("progress_by_topic", progress_page(OVERVIEW, by_topic=True).text())


def test_next() -> None:
    """The current exercise: title, summary, file, guide, goals, and how to check it."""
    path = Path("exercises/00_foundations/ex_04_vector_add.py")
    assert_golden("next", next_page(STANDINGS[3], path, CURRICULUM, display=str).text())


def test_next_without_speed_targets() -> None:
    """An exercise without targets speaks of no GPU."""
    bare = replace(STANDINGS[3], exercise=replace(EXERCISES[4], targets=()))
    assert "GPU" not in next_page(bare, Path("x.py"), CURRICULUM, display=str).text()


def test_next_when_all_is_done() -> None:
    """With everything passed, next says so and still ends in a command."""
    text = next_page(None, None, CURRICULUM, display=str).text()
    assert "Every exercise is passed." in text
    assert text.splitlines()[-1].startswith("next: gpuprep ")


@pytest.mark.parametrize("page", [list_page(CURRICULUM, OVERVIEW), progress_page(OVERVIEW)])
def test_overviews_fit_80_columns(page: object) -> None:
    """No line is longer than 80 columns."""
    assert max(map(len, page.text().splitlines())) <= 80  # type: ignore[attr-defined]


def test_times_eager_goal() -> None:
    """A goal against torch is a factor, not a share."""
    exercise = replace(EXERCISES[4], targets=(Target("times_eager", 2.0, 2.5),))
    text = next_page(replace(STANDINGS[3], exercise=exercise), Path("x.py"), CURRICULUM, display=str).text()
    assert "at least 2.00 × as fast as torch, gold 2.50" in text


def test_goals_of_several_operations() -> None:
    """Each operation's goals stand behind its name, within 80 columns."""
    targets = (Target("share_of_copy", 0.85, 0.95, "add"), Target("share_of_copy", 0.7, 0.85, "total"))
    standing = replace(STANDINGS[3], exercise=replace(EXERCISES[4], targets=targets))
    text = next_page(standing, Path("x.py"), CURRICULUM, display=str).text()
    assert "on a GPU, add: at least 85% of this card's copy rate, gold 95%" in text
    assert "on a GPU, total: at least 70% of this card's copy rate, gold 85%" in text
    assert max(map(len, text.splitlines())) <= 80


def test_listing_document() -> None:
    """The JSON of list and progress has the totals, every exercise, the current one and what is coming."""
    document = machine.listing("progress", OVERVIEW)
    assert document["totals"] == {
        "id": "all",
        "title": CURRICULUM.title,
        "passed": 2,
        "provisional": 1,
        "gold": 1,
        "total": 5,
    }
    assert document["current"] == "ex_04"
    assert document["coming"] == ("ex_05", "ex_06")
    assert [exercise["outcome"] for exercise in document["exercises"]][-2:] == ["WRONG_VALUES", None]


def test_next_document() -> None:
    """The JSON of next has the file and the targets; all done is null."""
    current = machine.next_exercise(STANDINGS[3], Path("/w/x.py"))["current"]
    assert current["path"] == Path("/w/x.py")
    assert current["targets"] == [{"figure": "share_of_copy", "pass_at": 0.8, "gold_at": 0.95, "of": ""}]
    assert machine.next_exercise(None, None)["current"] is None
