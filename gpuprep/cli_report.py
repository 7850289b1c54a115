"""`gpuprep report`: what was done and measured, as a page that needs nothing but a browser, or as Markdown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gpuprep import cli_dev

PAGE, MARKDOWN = "gpuprep-report.html", "gpuprep-report.md"


def report(
    queries: Annotated[
        list[str] | None, typer.Argument(metavar="[EX]...", help="Of these exercises alone; of all if left out.")
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(metavar="FILE", help=f"Where to write it: {PAGE} or .md if left out, `-` for stdout."),
    ] = None,
    is_markdown: Annotated[
        bool, typer.Option("--md", help="Markdown, in the shape of a portfolio project's README.")
    ] = False,
    as_json: cli_dev.AsJson = False,
) -> None:
    """Write what you did and measured as one page: curves over attempts, rooflines, before and after."""
    from gpuprep.practice import reporting
    from gpuprep.practice.desk import open_desk
    from gpuprep.render import terminal
    from gpuprep.render.report_written import written_document, written_page

    desk = open_desk()
    told = reporting.portfolio(desk, desk.exercises(queries) if queries else ())
    if is_markdown:
        from gpuprep.render.report_markdown import report_markdown as render
    else:
        from gpuprep.render.report_html import report_html as render
    text = render(told)
    if out == "-" and not as_json:
        terminal.write(text)
        return
    path = None
    if out != "-":
        path = Path(out).expanduser() if out else Path(MARKDOWN if is_markdown else PAGE)
        reporting.write(path, text)
    shown = desk.workspace.display(path.absolute()) if path else ""
    terminal.answer(
        written_page(told, shown, len(text.encode("utf-8", "replace"))), written_document(told, path), as_json=as_json
    )
