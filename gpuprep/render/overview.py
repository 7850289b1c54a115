"""Where a learner stands: `list`, `progress` and `next`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from gpuprep.exercise import Exercise
from gpuprep.render.figures import goal
from gpuprep.render.layout import INDENT, WIDTH, Page, Part, counted
from gpuprep.render.marks import mark
from gpuprep.render.roadmap import place_in_plan, plan_line, skipped_in_plan, topic_page

if TYPE_CHECKING:
    from gpuprep.curriculum import Curriculum
    from gpuprep.render.views import Overview, Schedule, Standing, Tally

BAR_WIDTH = 20
MAX_TITLE = 30
"""Characters of a title in the list: with the longest language and state, that fills the 80 columns."""

Display = Callable[[Path], str]
"""How a path is written: usually relative to where the person is."""


def list_page(curriculum: Curriculum, overview: Overview, *, width: int = WIDTH) -> Page:
    """Every exercise by module: glyph, id, title, language, minutes, state. `▸` is where the learner is."""
    page = Page(width)
    by_id = {standing.exercise.id: standing for standing in overview.standings}
    title_width = min(MAX_TITLE, max((len(exercise.title) for exercise in curriculum.exercises), default=0))
    language_width = max((len(exercise.language) for exercise in curriculum.exercises), default=0)
    for module in curriculum.modules:
        page.blank()
        page.line((module.title, "strong"), (f"  {module.id}", "quiet"))
        for exercise_id in module.exercise_ids:
            standing = by_id[exercise_id]
            exercise = standing.exercise
            glyph, style, word = mark(standing.outcome, is_gold=standing.is_gold)
            page.line(
                ("▸ " if standing is overview.current else "  ", "command"),
                (f"{glyph} ", style),
                f"{exercise.id}  {_fitted(exercise.title, title_width)}  ",
                (f"{exercise.language:<{language_width}}  {exercise.minutes:>3} min  ", "quiet"),
                (word, style),
                (", changed" if standing.is_stale else "", "warning"),
                (", solution seen" if standing.solution_seen else "", "warning"),
            )
    _coming(page, overview)
    page.next_command(*_go_on(overview.current))
    return page


def progress_page(overview: Overview, *, by_topic: bool = False, width: int = WIDTH) -> Page:
    """How much is done: a bar for each module, then the sums, the plan and the current exercise.

    By topic it is the roadmap, and where a curriculum has none, a bar for each of its topics.
    """
    if by_topic and overview.areas:
        return topic_page(overview, width=width)
    page = Page(width)
    page.line((overview.overall.title, "strong"))
    page.blank()
    tallies = overview.topics if by_topic else overview.modules
    label_width = max((len(tally.title) for tally in tallies), default=0)
    for tally in tallies:
        _bar(page, tally, label_width)
    page.blank()
    n_attempts = sum(standing.attempts for standing in overview.standings)
    total = overview.overall
    page.prose(
        f"{total.passed + total.provisional} of {counted(total.total, 'exercise')} done: {total.passed} passed "
        f"({total.gold} gold), {total.provisional} provisional; {counted(n_attempts, 'attempt')}"
    )
    if total.provisional:
        page.prose("Provisional: right, but speed was not graded. Check again where there is a GPU.", style="quiet")
    for standing in overview.standings:
        if remarks := _remarks(standing):
            page.prose(f"{standing.exercise.id} {standing.exercise.title}{remarks}", style="warning")
    if overview.current:
        exercise = overview.current.exercise
        page.line(("current: ", "quiet"), f"{exercise.id} {exercise.title}", indent=INDENT)
    if overview.schedule:
        page.blank()
        page.prose(plan_line(overview.schedule))
    _coming(page, overview)
    page.next_command(*_go_on(overview.current))
    return page


def next_page(
    current: Standing | None,
    path: Path | None,
    curriculum: Curriculum,
    *,
    display: Display,
    schedule: Schedule | None = None,
    width: int = WIDTH,
) -> Page:
    """The current exercise: what it is, which file to write in, what is asked, how to check it.

    Args:
        current: the learner's current exercise, or None when all are done.
        path: the file to write in.
        curriculum: what the exercise belongs to.
        display: writes a path.
        schedule: the plan that the workspace follows.
        width: columns to lay out for.
    """
    page = Page(width)
    if schedule is not None and (current is None or path is None):
        page.line(("★ ", "gold"), (f"Every exercise of plan {schedule.id} that is here is passed.", "strong"))
        page.prose("The curriculum may have more than the plan.")
        page.next_command("gpuprep list")
        return page
    if current is None or path is None:
        page.line(("★ ", "gold"), ("Every exercise is passed.", "strong"))
        page.prose("Gold targets, and speed where there was no GPU, are still there to be reached.")
        page.next_command("gpuprep list")
        return page
    exercise = current.exercise
    glyph, style, word = mark(current.outcome, is_gold=current.is_gold)
    module = next(module.title for module in curriculum.modules if module.id == exercise.module)
    page.line((f"{glyph} ", style), (f"{exercise.id} {exercise.title}  ", "strong"), (word, style))
    page.line((f"{module}, {exercise.language}, about {exercise.minutes} min", "quiet"), indent=INDENT)
    page.blank()
    page.prose(exercise.summary)
    page.blank()
    rows: list[list[Part]] = [[("file", "quiet"), (display(path), "code")]]
    rows.append([("guide", "quiet"), (display(path.with_name("README.md")), "code")])
    rows += [[("goal" if place == 0 else "", "quiet"), text] for place, text in enumerate(goals(exercise))]
    rows.append([("hints", "quiet"), f"gpuprep hint {exercise.id}"])
    if schedule is not None:
        rows.append([("plan", "quiet"), place_in_plan(schedule)])
        if skipped := skipped_in_plan(schedule):
            rows.append([("", "quiet"), (f"skipped {skipped}", "quiet")])
    page.table(rows, "<<")
    page.next_command(f"gpuprep check {exercise.id}", "once the file is written")
    return page


def goals(exercise: Exercise) -> list[str]:
    """What is asked, in words: the tiers that every exercise has, then the speed targets."""
    speed = [f"on a GPU, {f'{target.of}: ' if target.of else ''}{goal(target)}" for target in exercise.targets]
    return ["right results on inputs you have not seen, and no needless work", *speed]


def _bar(page: Page, tally: Tally, label_width: int) -> None:
    n_done = tally.passed + tally.provisional
    n_filled = BAR_WIDTH * n_done // tally.total if tally.total else 0
    parts = [(tally.gold, "gold"), (tally.provisional, "provisional")]
    page.line(
        f"{tally.title:<{label_width}}  ",
        ("█" * n_filled, "good"),
        ("░" * (BAR_WIDTH - n_filled), "quiet"),
        f"  {n_done:>2} of {tally.total:>2}",
        ("".join(f", {number} {word}" for number, word in parts if number), "quiet"),
        indent=INDENT,
    )


def _coming(page: Page, overview: Overview) -> None:
    """What the plan names and the curriculum doesn't have yet."""
    if overview.coming:
        page.blank()
        page.prose(", ".join(overview.coming), lead=[(f"coming in plan {overview.plan}: ", "quiet")], style="quiet")


def _go_on(current: Standing | None) -> tuple[str, str]:
    return (
        ("gpuprep next", f"{current.exercise.id} {current.exercise.title}") if current else ("gpuprep check --all", "")
    )


def _fitted(title: str, width: int) -> str:
    return f"{title:<{width}}" if len(title) <= width else title[: width - 1] + "…"


def _remarks(standing: Standing) -> str:
    """What a person must know beside the state."""
    stale = ": passed, but the exercise has changed since" if standing.is_stale else ""
    return stale + (": the solution was seen before a pass" if standing.solution_seen else "")
