"""What every command of a learner starts from: the workspace, its curriculum, and the exercise that is meant."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gpuprep import curriculum, workspace
from gpuprep.curriculum import Curriculum
from gpuprep.errors import UsageError, WorkspaceError
from gpuprep.exercise import Exercise
from gpuprep.practice.standing import Overview, overview
from gpuprep.progress import Progress
from gpuprep.workspace import Workspace

_SOURCE_SUFFIXES = (".py", ".cu")


@dataclass(frozen=True)
class Desk:
    """A workspace and the curriculum it was made from."""

    workspace: Workspace
    curriculum: Curriculum

    def progress(self) -> Progress:
        """The record of attempts."""
        return Progress(self.workspace.progress_path)

    def overview(self) -> Overview:
        """Where the learner stands."""
        with self.progress() as progress:
            return overview(self.curriculum, progress, self.workspace.plan)

    def exercise(self, query: str | None) -> Exercise:
        """The exercise that a person means; without a query, the current one.

        Raises:
            UnknownExerciseError: no exercise answers to it, or more than one does.
            UsageError: it is a file's path, or there is no current exercise because all are done.
        """
        if query is not None:
            self._refuse_path(query)
            return self.curriculum.find(query)
        current = self.overview().current
        if current is None:
            raise UsageError("every exercise is passed, so none is the current one", next_step="gpuprep list")
        return current.exercise

    def exercises(self, queries: list[str] | None) -> list[Exercise]:
        """The exercises that a person means, each once; without queries, the current one."""
        found = [self.exercise(query) for query in queries] if queries else [self.exercise(None)]
        return list({exercise.id: exercise for exercise in found}.values())

    def _refuse_path(self, query: str) -> None:
        path = Path(query)
        if len(path.parts) < 2 and path.suffix not in _SOURCE_SUFFIXES:
            return
        meant = next((exercise.id for exercise in self.curriculum.exercises if exercise.slug == path.stem), None)
        raise UsageError(
            f"{query!r} is a path; name the exercise, and its file in the workspace is graded",
            next_step=f"gpuprep check {meant}" if meant else "gpuprep list",
        )


def open_desk() -> Desk:
    """The workspace that the current folder lies in, with its curriculum.

    Raises:
        WorkspaceError: there is no workspace here.
        CurriculumError: its curriculum can't be read.
    """
    found = workspace.find()
    return Desk(found, curriculum.load(found.curriculum_root))


def curriculum_for(target: Path, root: Path | None) -> Curriculum:
    """The curriculum to make or update a workspace from: the one that is named, else the workspace's own."""
    if root is None:
        try:
            found = workspace.find(target)
        except WorkspaceError:
            found = None
        if found is not None and found.root == target.absolute():
            root = found.curriculum_root
    return curriculum.load(root)


def author_root(root: Path | None) -> Path:
    """The curriculum that an author works on: the one that is named, else the one around the current folder."""
    here = Path.cwd()
    around = (folder for folder in (here, *here.parents) if (folder / curriculum.FILE_NAME).is_file())
    return root or next(around, curriculum.default_root())
