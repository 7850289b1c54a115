"""What every command of a learner starts from: the workspace, its curriculum, and the exercise that is meant."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gpuprep import curriculum, workspace
from gpuprep.curriculum import Curriculum
from gpuprep.errors import CurriculumError, UsageError
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
            return overview(self.curriculum, progress, self.workspace.plan, started=self.workspace.plan_started)

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
            which = (
                f"every exercise of plan {self.workspace.plan} that is here"
                if self.workspace.plan
                else "every exercise"
            )
            raise UsageError(f"{which} is passed, so none is the current one", next_step="gpuprep list")
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
    return desk_at(Path.cwd())


def desk_at(folder: Path) -> Desk:
    """The workspace that `folder` lies in, with its curriculum. Raises what `open_desk` raises."""
    found = workspace.find(folder)
    return Desk(found, _curriculum_of(found))


def _curriculum_of(found: Workspace) -> Curriculum:
    root, source = found.curriculum_root, found.source
    if root and source and source.is_copied and not (root / curriculum.FILE_NAME).is_file():
        raise CurriculumError(
            f"the curriculum that was taken from {source.shown} is not in {root} any more",
            next_step=f"gpuprep init {found.display(found.root)}",
        )
    return curriculum.load(root)


def author_root(root: Path | None) -> Path:
    """The curriculum that an author works on: the one that is named, else the one around the current folder."""
    here = Path.cwd()
    around = (folder for folder in (here, *here.parents) if (folder / curriculum.FILE_NAME).is_file())
    return root or next(around, curriculum.default_root())
