"""The ladder of hints: from a nudge to an outline, one more each time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpuprep.errors import CurriculumError
from gpuprep.exercise import Exercise

if TYPE_CHECKING:
    from gpuprep.progress import Progress


@dataclass(frozen=True)
class HintShown:
    """A hint, and where on the ladder it stands."""

    exercise: Exercise
    index: int
    """From 0."""
    total: int
    text: str
    chosen_for: str | None = None
    """The diagnosis of the last attempt, where this hint answers it."""

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.total:
            raise ValueError(f"{self.exercise.id}: hint {self.index} of {self.total}")

    @property
    def is_last(self) -> bool:
        """True when there is no further hint."""
        return self.index + 1 == self.total


def next_hint(exercise: Exercise, progress: Progress, *, diagnosis_id: str | None = None) -> HintShown:
    """The next step of the ladder; at its end, the last step again. What was shown is recorded.

    Args:
        exercise: holds the hints.
        progress: remembers how far the ladder was climbed.
        diagnosis_id: what the last check found, so that a hint which answers it can say so.

    Raises:
        CurriculumError: the exercise has no hints.
        ProgressError: the record can't be written.
    """
    total = len(exercise.hints)
    if not total:
        raise CurriculumError(f"{exercise.id} has no hints", next_step=f"gpuprep open {exercise.id}")
    index = progress.show_hint(exercise.id, total)
    hint = exercise.hints[index]
    return HintShown(exercise, index, total, hint.text, diagnosis_id if diagnosis_id in hint.diagnoses else None)
