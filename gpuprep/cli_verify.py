"""`gpuprep verify`: whether signed results hold, and whose file was graded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gpuprep import cli_dev


def verify(
    results: Annotated[
        str, typer.Argument(metavar="FILE", help="What `gpuprep classroom sign` wrote, or an entry cut out of it.")
    ],
    key: Annotated[
        str | None, typer.Option(metavar="PUBLIC", help="Whose signatures count: a .pub file, or its 64 digits.")
    ] = None,
    submission: Annotated[
        str | None, typer.Option(metavar="PATH", help="A file, folder or archive: is it what was graded?")
    ] = None,
    folder: cli_dev.CurriculumFolder = None,
    as_json: cli_dev.AsJson = False,
) -> None:
    """Check signed results: exit 0 only if every signature holds, and the submission is the one that was graded."""
    from gpuprep import curriculum
    from gpuprep.classroom.keys import read_public
    from gpuprep.classroom.verifying import verify as check
    from gpuprep.render import terminal
    from gpuprep.render.signing import verified_document, verified_page

    handed_in = Path(submission).expanduser() if submission else None
    # Which files an exercise has, only a curriculum knows; signatures hold without one.
    found = curriculum.load(Path(folder).expanduser() if folder else None) if handed_in else None
    verified = check(Path(results).expanduser(), read_public(key) if key else None, handed_in, found)
    code = int(not verified.holds)
    terminal.answer(verified_page(verified), verified_document(verified, code), as_json=as_json)
    raise typer.Exit(code)
