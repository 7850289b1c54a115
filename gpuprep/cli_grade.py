"""`gpuprep grade`: a class's submissions, graded and scored."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from gpuprep import cli_dev

INTERRUPTED = 130
"""What shells report for a process that Ctrl-C ended."""


def grade(
    submissions: Annotated[
        str,
        typer.Argument(metavar="SUBMISSIONS", help="A folder of folders and archives, or a CSV of submission,path."),
    ],
    assignment: Annotated[
        str, typer.Option(metavar="FILE", help="What to grade and what it is worth: an assignment.yaml.")
    ],
    out: Annotated[str, typer.Option(metavar="DIR", help="Where scores.csv and the journal go.")],
    jobs: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Files at a time; one a core if left out, one with a GPU.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what was stopped.")] = False,
    require_sandbox: Annotated[
        Literal["full", "landlock", "none"],
        typer.Option(help="Refuse to grade below it. The strongest that there is here is used in any case."),
    ] = "none",
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="Where to run; `auto` uses a GPU where there is one.")
    ] = "auto",
    folder: cli_dev.CurriculumFolder = None,
    as_json: cli_dev.AsJson = False,
) -> None:
    """Grade a class: a line a submission, and DIR/scores.csv. It can be stopped at any moment and resumed."""
    from gpuprep import curriculum
    from gpuprep.classroom.grade import Settings, Standing, grade_class
    from gpuprep.errors import GraderFaultError
    from gpuprep.render import machine, terminal
    from gpuprep.render.classroom import graded_document, graded_page, interrupted_page, row_page

    settings = Settings(Path(out).expanduser(), jobs, resume, device, require_sandbox)
    found = curriculum.load(Path(folder).expanduser() if folder else None)
    try:
        with terminal.bar("grade") as update:

            def tell(standing: Standing) -> None:
                page = row_page(standing.row) if standing.row and not as_json else None
                update(standing.n_done, standing.n_files, page)

            graded = grade_class(
                Path(submissions).expanduser(), Path(assignment).expanduser(), found, settings, on_standing=tell
            )
    except KeyboardInterrupt:
        again = sys.argv[1:] if resume else [*sys.argv[1:], "--resume"]
        terminal.show(interrupted_page(f"gpuprep {shlex.join(again)}"), stderr=True)
        raise typer.Exit(INTERRUPTED) from None
    code = GraderFaultError.exit_code if graded.n_faults else 0
    if as_json:
        terminal.write(machine.dumps(graded_document(graded, code)))
    else:
        terminal.show(graded_page(graded), gap=True)
    raise typer.Exit(code)
