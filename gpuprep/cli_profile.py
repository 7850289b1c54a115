"""`gpuprep profile`: wiring only, as in `cli`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gpuprep.cli_dev import AsJson
from gpuprep.cli_exercise import OneExercise


def profile(
    query: OneExercise = None,
    target: Annotated[
        str | None,
        typer.Option(metavar="SM", help="What to compile for, `sm_80` say; your card, or sm_90, if left out."),
    ] = None,
    trace: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write a trace for Chrome and Perfetto, too. Needs a GPU.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Look into your kernels: registers, occupancy, bytes moved, and what to do about each. After a pass."""
    from gpuprep.practice.checking import require_present
    from gpuprep.practice.desk import open_desk
    from gpuprep.practice.profiling import profile_file
    from gpuprep.render import terminal
    from gpuprep.render.profile import profile_document, profile_page

    desk = open_desk()
    exercise = desk.exercise(query)
    require_present(desk.workspace, [exercise])
    trace_path = Path(trace).expanduser() if trace else None
    with terminal.status(f"{exercise.id} {exercise.title}") as on_event:
        found = profile_file(desk, exercise, on_event, target=target, trace_path=trace_path)
    terminal.answer(profile_page(found, desk.workspace.display), profile_document(found), as_json=as_json)
