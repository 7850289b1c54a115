"""`gpuprep history`, `compare` and `progress`: wiring only, as in `cli`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from gpuprep.cli_dev import AsJson
from gpuprep.cli_exercise import OneExercise, complete
from gpuprep.errors import UsageError


def history(
    query: OneExercise = None,
    show_all: Annotated[bool, typer.Option("--all", help="Every attempt one by one, and the whole diff.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show your attempts: figures over time, the personal best, and the diff of the attempt that got better."""
    from gpuprep.practice.desk import open_desk
    from gpuprep.practice.history import history as look_back
    from gpuprep.render import terminal
    from gpuprep.render.history import history_page
    from gpuprep.render.history_json import history_document

    desk = open_desk()
    exercise = desk.exercise(query)
    with desk.progress() as record:
        found = look_back(exercise, record)
    terminal.answer(history_page(found, is_whole=show_all), history_document(found), as_json=as_json)


def compare(
    query: Annotated[str, typer.Argument(metavar="EX", help="The exercise.", autocompletion=complete)],
    before: Annotated[str, typer.Argument(metavar="A", help="An attempt: its number, `first`, `best` or `last`.")],
    after: Annotated[str, typer.Argument(metavar="[B]", help="The other one.")] = "last",
    as_json: AsJson = False,
) -> None:
    """Compare two attempts: their figures side by side, and what changed in the source."""
    from gpuprep.practice.desk import open_desk
    from gpuprep.practice.history import compare as lay_side_by_side
    from gpuprep.render import terminal
    from gpuprep.render.history import compare_page
    from gpuprep.render.history_json import compare_document

    desk = open_desk()
    exercise = desk.exercise(query)
    with desk.progress() as record:
        pair = lay_side_by_side(exercise, record, before, after)
    terminal.answer(compare_page(pair), compare_document(pair), as_json=as_json)


def progress(
    by: Annotated[
        Literal["module", "topic", "plan"],
        typer.Option(help="How to group; `topic` is the roadmap, `plan` the days or weeks of your study plan."),
    ] = "module",
    checklist: Annotated[
        bool, typer.Option("--checklist", help="What you can do by now: boxes that your passes tick.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show how much is done: by module, by topic, by the study plan, or as a checklist."""
    if checklist and by != "module":
        raise UsageError("progress takes --by or --checklist, not both", next_step="gpuprep progress --checklist")
    from gpuprep.practice.desk import open_desk
    from gpuprep.render import machine, terminal
    from gpuprep.render.overview import progress_page
    from gpuprep.render.roadmap import checklist_page, plan_page

    overview = open_desk().overview()
    if checklist:
        page = checklist_page(overview)
    elif by == "plan":
        page = plan_page(overview)
    else:
        page = progress_page(overview, by_topic=by == "topic")
    terminal.answer(page, machine.listing("progress", overview), as_json=as_json)
