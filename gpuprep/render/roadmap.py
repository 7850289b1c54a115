"""The study plan, the roadmap and the checklist: `progress --by plan`, `--by topic` and `--checklist`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gpuprep.render.layout import INDENT, WIDTH, Page, Part, counted
from gpuprep.render.marks import mark

if TYPE_CHECKING:
    from gpuprep.render.views import AbilityStanding, AreaStanding, Overview, PlanStep, Schedule, Standing

MAX_IDS = 5
"""Ids that a sentence names before it counts the rest."""
OPEN, TICKED, HALF, COMING = ("·", "quiet"), ("✓", "good"), ("◐", "provisional"), (" ", "")

_LEGEND = "✓ passed, ◐ passed but for the speed, · not tried; in brackets: not in this curriculum yet"


def plan_page(overview: Overview, *, width: int = WIDTH) -> Page:
    """The whole schedule: what is done, what belongs to today, what is overdue, what is still to be written."""
    page = Page(width)
    plan = overview.schedule
    if plan is None:
        page.prose("This workspace follows no study plan: exercises come in the curriculum's order.", indent=0)
        page.next_command("gpuprep init --plan focused", "chooses one; the README names them all")
        return page
    page.line((plan.title, "strong"), (_today(plan), "quiet"))
    page.blank()
    when_width = max((len(step.when) for step in plan.steps), default=0)
    for step in plan.steps:
        _step(page, plan, step, when_width)
    page.blank()
    page.prose(_due(plan))
    page.prose("In brackets: not in this curriculum yet, and passed over.", style="quiet")
    page.next_command(*_go_on(overview))
    return page


def topic_page(overview: Overview, *, width: int = WIDTH) -> Page:
    """The roadmap: each area, its abilities, and the exercises that teach them, marked."""
    page = Page(width)
    done = sum(standing.is_done for standing in overview.standings)
    page.line((overview.overall.title, "strong"), (f"  {done} of {overview.overall.total} exercises done", "quiet"))
    for area in overview.areas:
        page.blank()
        page.line((area.title, "strong"), (f"  {_area_count(area)}", "quiet"))
        text_width = max((len(ability.text) for ability in area.abilities), default=0)
        for ability in area.abilities:
            glyph, style = _tick(ability)
            ids = _ids(ability.standings, ability.coming)
            page.line((f"{glyph} ", style), f"{ability.text:<{text_width}}  ", *ids, indent=INDENT)
    page.blank()
    page.prose(_LEGEND, style="quiet")
    page.next_command(*_go_on(overview))
    return page


def checklist_page(overview: Overview, *, width: int = WIDTH) -> Page:
    """What one should be able to do in the end. A box ticks itself when every exercise behind it is passed."""
    page = Page(width)
    if not overview.checklist:
        page.prose("This curriculum has no checklist.", indent=0)
        page.next_command("gpuprep progress")
        return page
    n_ticked = sum(ability.is_ticked for ability in overview.checklist)
    page.line(("Checklist  ", "strong"), f"{n_ticked} of {len(overview.checklist)} ticked")
    page.blank()
    for ability in overview.checklist:
        glyph, style = _tick(ability)
        box = f"[{glyph}] " if ability.is_ticked else "[ ] "
        page.line((box, style if ability.is_ticked else ""), ability.text, indent=INDENT)
        ids = _ids(ability.standings, ability.coming)
        page.line(f"{ability.n_done} of {ability.total}: ", *ids, indent=INDENT + 4)
    page.blank()
    legend = (
        "A box is ticked when all its exercises are passed, as they are now and without their solution seen before."
    )
    page.prose(legend, style="quiet")
    page.prose(_LEGEND, style="quiet")
    page.next_command(*_go_on(overview))
    return page


def plan_line(plan: Schedule) -> str:
    """What `progress` says of the plan: where the calendar is, and what is due."""
    return f"Plan {plan.id}: {_due(plan)}"


def place_in_plan(plan: Schedule) -> str:
    """What `next` says: when the plan has the current exercise, against today."""
    step = plan.current
    if step is None or plan.day is None or step.first_day is None or step.last_day is None:
        return f"{plan.id}{f', {step.when}' if step else ''}"
    today = f"today is day {plan.day}" + (f" of {plan.n_days}" if plan.n_days and not plan.is_over else "")
    if plan.day < step.first_day:
        return f"{plan.id}, {step.when}; {today}: ahead of the plan"
    if plan.day > step.last_day:
        return f"{plan.id}, {step.when}; {today}: {counted(len(plan.due), 'exercise')} due"
    return f"{plan.id}, {step.when}; {today}: on time"


def skipped_in_plan(plan: Schedule) -> str:
    """The ids that the plan has before the current exercise and the curriculum doesn't have yet; '' where none."""
    return f"{_named(plan.skipped)}: not in this curriculum yet" if plan.skipped and plan.current else ""


def schedule_dict(plan: Schedule | None) -> dict[str, Any] | None:
    """The plan as JSON has it."""
    if plan is None:
        return None
    steps = [
        {
            "when": step.when,
            "note": step.note,
            "first_day": step.first_day,
            "last_day": step.last_day,
            "exercises": [standing.exercise.id for standing in step.standings],
            "done": step.n_done,
            "coming": list(step.coming),
        }
        for step in plan.steps
    ]
    current = plan.current
    return {
        "id": plan.id,
        "title": plan.title,
        "day": plan.day,
        "days": plan.n_days,
        "current": current.when if current else None,
        "due": [standing.exercise.id for standing in plan.due],
        "overdue": [standing.exercise.id for standing in plan.overdue],
        "skipped": list(plan.skipped),
        "steps": steps,
    }


def area_dict(area: AreaStanding) -> dict[str, Any]:
    """A part of the roadmap as JSON has it."""
    return {"title": area.title, "abilities": [ability_dict(ability) for ability in area.abilities]}


def ability_dict(ability: AbilityStanding) -> dict[str, Any]:
    """An ability as JSON has it."""
    return {
        "can": ability.text,
        "exercises": [standing.exercise.id for standing in ability.standings],
        "coming": list(ability.coming),
        "done": ability.n_done,
        "is_ticked": ability.is_ticked,
        "is_provisional": ability.is_provisional,
    }


def _today(plan: Schedule) -> str:
    if plan.day is None:
        return "  day unknown: chosen before days were counted"
    if plan.is_over:
        return f"  its {plan.n_days} days are over"
    return f"  day {plan.day} of {plan.n_days}" if plan.n_days else ""


def _step(page: Page, plan: Schedule, step: PlanStep, when_width: int) -> None:
    is_late = bool(set(_key(plan.overdue)) & set(_key(step.standings)))
    is_partly = any(standing.outcome == "PROVISIONAL" for standing in step.standings)
    glyph, style = (HALF if is_partly else TICKED) if step.is_done else OPEN if step.standings else COMING
    where = "▸ " if step is plan.current else "  "
    note, style_of_note = (
        ("today", "strong") if step.is_on(plan.day) else ("overdue", "warning") if is_late else ("", "")
    )
    parts: list[Part] = [(where, "command"), (f"{glyph} ", style) if step.standings or step.coming else "  "]
    parts += [f"{step.when:<{when_width}}  ", (f"{note:<7}  ", style_of_note)]
    rows = _wrapped(_ids(step.standings, step.coming), page.width - when_width - 15)
    page.line(*parts, *(rows[0] if rows else [(step.note, "quiet")]))
    for row in rows[1:]:
        page.line(*row, indent=when_width + 15)
    if rows and step.note:
        page.line((step.note, "quiet"), indent=when_width + 15)


def _wrapped(parts: Sequence[Part], room: int) -> list[list[Part]]:
    """Rows of at most so many columns."""
    rows: list[list[Part]] = []
    used = room + 1
    for part in parts:
        length = len(part if isinstance(part, str) else part[0])
        if used + length > room:
            rows.append([])
            used = 0
        rows[-1].append(part)
        used += length
    return rows


def _due(plan: Schedule) -> str:
    if plan.current is None:
        rest = "; the rest of the plan is not in this curriculum yet" if any(s.coming for s in plan.steps) else ""
        return f"everything in it that is here is passed{rest}"
    n_done, n_here = (sum(counts) for counts in zip(*((s.n_done, len(s.standings)) for s in plan.steps), strict=True))
    done = f"{n_done} of {n_here} done"
    if plan.day is None:
        return f"{done}, at {plan.current.when}"
    if plan.is_over:
        return f"{done}; its {plan.n_days} days are over. To count them anew: gpuprep init --plan {plan.id}"
    day = f"day {plan.day} of {plan.n_days}, " if plan.n_days else ""
    if not plan.due:
        return f"{day}{done}, nothing due; ahead, at {plan.current.when}"
    n_overdue = len(plan.overdue)
    if n_overdue == len(plan.due):
        return f"{day}{done}; overdue: {_named(_key(plan.due))}"
    overdue = f", {n_overdue} of them overdue" if n_overdue else ""
    return f"{day}{done}; due by now: {_named(_key(plan.due))}{overdue}"


def _key(standings: Sequence[Standing]) -> list[str]:
    return [standing.exercise.id for standing in standings]


def _named(ids: Sequence[str]) -> str:
    rest = f" and {len(ids) - MAX_IDS} more" if len(ids) > MAX_IDS else ""
    return ", ".join(ids[:MAX_IDS]) + rest


def _tick(ability: AbilityStanding) -> tuple[str, str]:
    if ability.is_ticked:
        return HALF if ability.is_provisional else TICKED
    return OPEN if ability.standings else COMING


def _ids(standings: Sequence[Standing], coming: Sequence[str]) -> list[Part]:
    """`✓ex_01 ·ex_02 (ex_06)`, in the order of their ids."""
    parts: dict[str, Part] = {}
    for standing in standings:
        glyph, style, _ = mark(standing.outcome, is_gold=standing.is_gold)
        doubt = "(changed) " if standing.is_stale else "(solution seen) " if standing.solution_seen else ""
        parts[standing.exercise.id] = (f"{glyph}{standing.exercise.id} {doubt}", style)
    parts |= {key: (f"({key}) ", "quiet") for key in coming}
    return [parts[key] for key in sorted(parts)]


def _area_count(area: AreaStanding) -> str:
    n_done, n_coming = sum(standing.is_done for standing in area.standings), len(area.coming)
    total = len(area.standings) + n_coming
    return f"{n_done} of {total} done" + (f", {n_coming} not in this curriculum yet" if n_coming else "")


def _go_on(overview: Overview) -> tuple[str, str]:
    current = overview.current
    return ("gpuprep next", f"{current.exercise.id} {current.exercise.title}") if current else ("gpuprep list", "")
