"""`gpuprep classroom`: what an instructor does with a class that was graded. Wiring only, as in `cli`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gpuprep.cli_dev import AsJson, CurriculumFolder
from gpuprep.cli_typer import QuickCommand, QuickGroup

if TYPE_CHECKING:
    from gpuprep.classroom.record import ClassRecord

app = typer.Typer(cls=QuickGroup, help="Use what `gpuprep grade` found out.", no_args_is_help=True)

GradedFolder = Annotated[str, typer.Argument(metavar="DIR", help="What `gpuprep grade --out` named.")]


def _record(graded: str, folder: str | None) -> ClassRecord:
    from gpuprep import curriculum
    from gpuprep.classroom.record import read_class

    return read_class(Path(graded).expanduser(), curriculum.load(Path(folder).expanduser() if folder else None))


@app.command("list", cls=QuickCommand)
def list_(graded: GradedFolder, folder: CurriculumFolder = None, as_json: AsJson = False) -> None:
    """Show the rows of a class again: points, and the outcome of each exercise."""
    from gpuprep.render import terminal
    from gpuprep.render.classroom import class_document, class_page

    record = _record(graded, folder)
    terminal.answer(class_page(record), class_document(record), as_json=as_json)
