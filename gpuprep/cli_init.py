"""`gpuprep init`: wiring only, as in `cli`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gpuprep.cli_dev import AsJson


def init(
    directory: Annotated[str, typer.Argument(metavar="[DIR]", help="The folder; made if it isn't there.")] = ".",
    plan: Annotated[str | None, typer.Option(metavar="PLAN", help="A study plan, such as `focused`.")] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="SOURCE", help="Another curriculum: its folder, a git URL (`URL#REF:FOLDER`), or a wheel."
        ),
    ] = None,
    vscode: Annotated[
        bool, typer.Option("--vscode", help="Settings for VS Code, too, where there are none of yours.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a workspace, or bring one up to date. Your own changes are never overwritten."""
    from gpuprep import curriculum, workspace
    from gpuprep.practice import sources
    from gpuprep.render import machine, terminal
    from gpuprep.render.notices import welcome_page

    target = Path(directory).expanduser()
    with terminal.status("init") as on_event:
        taken = sources.take_for(target, source, on_event)
    found = curriculum.load(taken.root)
    extras = {}
    if vscode:
        from gpuprep.practice.vscode import has_pytest, settings_files

        extras = settings_files()
        if not has_pytest():
            terminal.notice("The test explorer needs pytest in this environment: pip install pytest", style="warning")
    result = workspace.init(target, found, plan=plan, curriculum_root=taken.root, source=taken.source, extras=extras)
    if taken.not_updated:
        terminal.notice(f"not brought up to date: {taken.not_updated}", style="warning")
    place = "" if target.resolve() == Path.cwd() else result.workspace.display(target)
    terminal.answer(welcome_page(result, found, target=place), machine.init(result), as_json=as_json)
