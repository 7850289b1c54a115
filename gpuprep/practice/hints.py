"""The ladder of hints: from a nudge to an outline, one more each time, and first the one that answers a failure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpuprep.errors import CurriculumError, ProgressError
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
    """The diagnosis of the last attempt, where this hint answers it and was chosen for that."""
    unrecorded: str = ""
    """Why it was not noted that it was shown, where that is so: next time it is shown again."""

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.total:
            raise ValueError(f"{self.exercise.id}: hint {self.index} of {self.total}")

    @property
    def is_last(self) -> bool:
        """True when there is no further hint."""
        return self.index + 1 == self.total


def next_hint(exercise: Exercise, progress: Progress, *, diagnosis_id: str | None = None) -> HintShown:
    """The hint to show now. What was shown is recorded.

    First those that answer what the last check found, each once a check; then the ladder, one step each time and
    without what was shown before; at its end, the last step again.

    Args:
        exercise: holds the hints.
        progress: remembers which were shown, and after which check.
        diagnosis_id: what the last check found.

    Raises:
        CurriculumError: the exercise has no hints.
        ProgressError: the record can't be read.
    """
    total = len(exercise.hints)
    if not total:
        raise CurriculumError(f"{exercise.id} has no hints", next_step=f"gpuprep open {exercise.id}")
    answering = [place for place, hint in enumerate(exercise.hints) if diagnosis_id in hint.diagnoses]
    attempt = progress.last(exercise.id) if answering else None
    last_id = attempt.id if attempt is not None else 0
    unrecorded = ""
    try:
        index = progress.show_hint(exercise.id, total, answering=answering, after_attempt=last_id)
    except ProgressError as error:
        # Who may only read is helped all the same.
        index = progress.next_hint(exercise.id, total, answering=answering, after_attempt=last_id)
        unrecorded = error.message
    chosen_for = diagnosis_id if index in answering else None
    return HintShown(exercise, index, total, exercise.hints[index].text, chosen_for, unrecorded)
