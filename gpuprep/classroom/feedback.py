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
    found: dict[str, str] = {}
    taken = {INDEX}
    for name in submissions:
        stem = Submission(name).folder
        candidate, number = f"{stem}.html", 2
        # Made of a few digits of a hash, which somebody with time can have come out alike.
        while candidate.lower() in taken:
            candidate, number = f"{stem}-{number}.html", number + 1
        taken.add(candidate.lower())
        found[name] = candidate
    return found


def write_pages(folder: Path, pages: Mapping[str, str]) -> None:
    """Write pages by their file names, each in one step.

    Raises:
        WorkspaceError: one can't be written.
    """
    for name, text in pages.items():
        write_atomically(folder / name, text)
