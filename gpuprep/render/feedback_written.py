"""What `gpuprep classroom feedback` says when the pages are written."""

from __future__ import annotations

from pathlib import Path

from gpuprep.classroom.feedback import INDEX
from gpuprep.classroom.record import ClassRecord
from gpuprep.render import machine
from gpuprep.render.layout import Page, counted


def written_page(record: ClassRecord, folder: Path, pages: dict[str, str]) -> Page:
    """How many pages there are, and where."""
    page = Page()
    n_bytes = sum(len(text.encode(errors="replace")) for text in pages.values())
    page.line(
        (record.assignment.title, "strong"), f"  {counted(len(pages) - 1, 'page')}, {max(1, n_bytes >> 10)} KiB in all"
    )
    page.line(("for each student  ", "quiet"), (f"{folder}/", "code"), indent=2)
    page.line(("for you           ", "quiet"), (str(folder / INDEX), "code"), indent=2)
    return page


def written_document(record: ClassRecord, folder: Path, names: dict[str, str]) -> machine.Document:
    """The same for a machine: which page is whose."""
    return machine.document(
        "classroom feedback",
        title=record.assignment.title,
        folder=str(folder),
        index=str(folder / INDEX),
        pages=[{"submission": name, "path": str(folder / file)} for name, file in names.items()],
    )
