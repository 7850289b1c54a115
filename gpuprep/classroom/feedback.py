"""Where each student's page goes: a file name that is one on every system, and no two students share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from gpuprep.classroom.submissions import Submission
from gpuprep.workspace import write_atomically

FOLDER = "feedback"
"""Below a class's own, where no other is named."""
INDEX = "index.html"


def file_names(submissions: Iterable[str]) -> dict[str, str]:
    """The file name of each submission's page."""
    return {name: f"{Submission(name).folder}.html" for name in submissions}


def write_pages(folder: Path, pages: Mapping[str, str]) -> None:
    """Write pages by their file names, each in one step.

    Raises:
        WorkspaceError: one can't be written.
    """
    for name, text in pages.items():
        write_atomically(folder / name, text)
