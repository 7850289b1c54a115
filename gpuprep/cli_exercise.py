"""How a command takes an exercise, and what a shell completes there."""

from __future__ import annotations

from typing import Annotated

import typer

from gpuprep.errors import GpuprepError


def complete(incomplete: str) -> list[tuple[str, str]]:
    """Ids, and names once some letters are there."""
    from gpuprep.practice.desk import open_desk

    try:
        exercises = open_desk().curriculum.exercises
    except GpuprepError:
        return []  # a message would land in the middle of what is being typed
    ids = [(exercise.id, exercise.title) for exercise in exercises]
    return ids + [(exercise.name, exercise.title) for exercise in exercises if incomplete]


OneExercise = Annotated[
    str | None,
    typer.Argument(metavar="[EX]", help="The exercise; the current one if left out.", autocompletion=complete),
]
