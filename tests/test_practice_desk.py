"""What a learner's commands start from."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpuprep import workspace
from gpuprep.curriculum import Curriculum, default_root
from gpuprep.errors import UnknownExerciseError, UsageError, WorkspaceError
from gpuprep.practice.desk import Desk, author_root, open_desk


@pytest.fixture
def desk(tmp_path: Path, curriculum: Curriculum, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A new workspace of this checkout's curriculum, and the current folder in one of its folders."""
    workspace.init(tmp_path / "gym", curriculum, curriculum_root=curriculum.root)
    monkeypatch.chdir(tmp_path / "gym" / "exercises")
    return open_desk()


def test_desk_is_found_from_below(desk: Desk, tmp_path: Path, curriculum: Curriculum) -> None:
    """Any folder of the workspace will do."""
    assert desk.workspace.root == tmp_path / "gym"
    assert desk.curriculum == curriculum


def test_no_desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside a workspace there is none."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WorkspaceError):
        open_desk()


def test_exercises_are_taken_once(desk: Desk) -> None:
    """The same exercise in several spellings is one; none at all is the current one."""
    assert [exercise.id for exercise in desk.exercises(["1", "ex_01", "vector add"])] == ["ex_01"]
    assert desk.exercises(None) == [desk.overview().current.exercise]  # type: ignore[union-attr]


@pytest.mark.parametrize("query", ["./ex_01_vector_add.py", "ex_01_vector_add.py", "a/b", "kernel.cu"])
def test_paths_are_refused(desk: Desk, query: str) -> None:
    """A path names a file, not an exercise."""
    with pytest.raises(UsageError, match="path"):
        desk.exercise(query)


def test_unknown_exercise(desk: Desk) -> None:
    """Nonsense is no exercise."""
    with pytest.raises(UnknownExerciseError):
        desk.exercise("zzz")


def test_author_works_on_what_is_around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A named folder, else the curriculum around the current folder, else the package's."""
    (tmp_path / "mine" / "reference").mkdir(parents=True)
    (tmp_path / "mine" / "curriculum.yaml").touch()
    monkeypatch.chdir(tmp_path / "mine" / "reference")
    assert author_root(None) == tmp_path / "mine"
    assert author_root(tmp_path) == tmp_path
    monkeypatch.chdir(tmp_path)
    assert author_root(None) == default_root()
