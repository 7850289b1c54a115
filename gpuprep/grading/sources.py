"""The learner's files, read once: what is graded, hashed and held against the stub is the same bytes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from gpuprep.curriculum import Curriculum
from gpuprep.errors import WorkspaceError
from gpuprep.exercise import Exercise
from gpuprep.unstarted import is_unstarted


def read_sources(exercise: Exercise, paths: Iterable[Path]) -> dict[Path, bytes]:
    """The files of a solution.

    Raises:
        WorkspaceError: one can't be read.
    """
    try:
        return {path: path.read_bytes() for path in paths}
    except OSError as error:
        raise WorkspaceError(
            f"{exercise.id}: {error.filename} can't be read: {error.strerror}", next_step=f"gpuprep reset {exercise.id}"
        ) from error


def are_unstarted(curriculum: Curriculum, exercise: Exercise, sources: dict[Path, bytes]) -> bool:
    """True when every file is still the stub, but for comments."""

    def same(source: Path, data: bytes) -> bool:
        stub = curriculum.stub_path(exercise).with_suffix(source.suffix)
        return stub.is_file() and is_unstarted(
            stub.read_text(encoding="utf-8"), data.decode("utf-8", errors="replace"), source.suffix
        )

    return bool(sources) and all(same(source, data) for source, data in sources.items())
