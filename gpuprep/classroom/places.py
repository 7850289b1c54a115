"""Where in a repository the files lie that were graded, so that a remark can stand beside its line."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from gpuprep.classroom.assignment import Assignment
from gpuprep.classroom.submissions import MAX_DEPTH, MAX_ENTRIES

_SOURCES = (".py", ".cu")


def places(root: Path, assignment: Assignment) -> Mapping[str, str]:
    """The path below `root` of each of the assignment's files, by its name. One that lies there twice is left out."""
    wanted = {f"{each.exercise.slug}{suffix}" for each in assignment.exercises for suffix in _SOURCES}
    found: dict[str, list[str]] = {}
    for path in _files(root):
        if path.name in wanted:
            found.setdefault(path.name, []).append(path.relative_to(root).as_posix())
    return {name: paths[0] for name, paths in found.items() if len(paths) == 1}


def _files(root: Path) -> Iterator[Path]:
    n_entries = 0
    for folder, folders, names in os.walk(root):
        depth = len(Path(folder).relative_to(root).parts)
        folders[:] = [name for name in folders if not name.startswith(".") and depth < MAX_DEPTH]
        n_entries += len(names)
        if n_entries > MAX_ENTRIES:
            return
        yield from (Path(folder, name) for name in names)
