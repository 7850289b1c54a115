"""`gpuprep profile`: when there is something to profile, for which target, and where a trace goes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gpuprep.errors import GpuprepError, UsageError
from gpuprep.model import Outcome
from gpuprep.occupancy import LIMITS

if TYPE_CHECKING:
    from gpuprep.exercise import Exercise
    from gpuprep.grading.profile_card import Card
    from gpuprep.grading.profiled import Profile
    from gpuprep.practice.desk import Desk

DEFAULT_CAPABILITY = "9.0"
"""Of the cards that are rented most for this work, H100 and H200."""
PROFILED = (Outcome.TOO_SLOW, Outcome.TOO_MUCH_WORK, Outcome.INCONCLUSIVE)
"""Outcomes, besides a pass, after which a profile says something: the values were right."""


@dataclass(frozen=True)
class Profiled:
    """A profile, and the check that it follows."""

    profile: Profile
    attempt: int
    outcome: Outcome
    has_changed: bool
    """The file is not the one that was checked any more."""
    trace_path: Path | None = None


def profile_file(
    desk: Desk,
    exercise: Exercise,
    on_event: Callable[[str], None],
    *,
    target: str | None = None,
    trace_path: Path | None = None,
    find_card: Callable[[], Card | None] | None = None,
) -> Profiled:
    """Profile the learner's file of an exercise that was passed, or was right and too slow.

    Args:
        desk: the workspace.
        exercise: which.
        on_event: gets a few words whenever something starts.
        target: what to compile for, `sm_90`; the card's own, or the most common, where None.
        trace_path: where a trace of some calls goes.
        find_card: looks for a card; tests give another.

    Raises:
        UsageError: no such target, or a file that can't be written.
        GpuprepError: the last check did not come that far, the file can't be run, or a trace needs a card.
    """
    from gpuprep.grading import profile as looking
    from gpuprep.grading import profile_card

    attempt, outcome, checked_hash = _last_check(desk, exercise)
    path = desk.workspace.exercise_path(exercise)
    capability = capability_of(target) if target else None
    card = (find_card or profile_card.find_card)()
    if trace_path is not None and card is None:
        raise GpuprepError(
            "--trace needs a GPU: launches in the interpreter or the emulator have no times to draw",
            next_step=f"gpuprep profile {exercise.id}",
        )
    found = looking.profile(
        exercise,
        desk.curriculum,
        path,
        capability=capability or (nearest(card.capability) if card else DEFAULT_CAPABILITY),
        card=card,
        has_trace=trace_path is not None,
        on_event=on_event,
    )
    has_trace = trace_path is not None and found.trace is not None
    if trace_path is not None and found.trace is not None:
        write_trace(trace_path, found.trace)
    has_changed = _hash(desk, path) != checked_hash
    return Profiled(found, attempt, outcome, has_changed, trace_path if has_trace else None)


def capability_of(target: str) -> str:
    """`9.0` of `sm_90`.

    Raises:
        UsageError: it names no target that is known here.
    """
    known = {f"sm_{capability.replace('.', '')}": capability for capability in LIMITS}
    if target not in known:
        raise UsageError(f"--target {target}: known are {', '.join(known)}", next_step="gpuprep profile --target sm_90")
    return known[target]


def nearest(capability: str) -> str:
    """The capability itself where its limits are known, else the next lower one that is."""

    def order(name: str) -> tuple[int, ...]:
        return tuple(int(part) for part in name.split("."))

    lower = [known for known in LIMITS if order(known) <= order(capability)]
    return max(lower, key=order) if lower else min(LIMITS, key=order)


def write_trace(path: Path, trace: bytes) -> None:
    """Write a trace.

    Raises:
        UsageError: the file can't be written.
    """
    try:
        path.write_bytes(trace)
    except OSError as error:
        raise UsageError(
            f"{path}: can't be written ({error.strerror})", next_step="gpuprep profile --trace FILE"
        ) from error


def _last_check(desk: Desk, exercise: Exercise) -> tuple[int, Outcome, str]:
    next_step = f"gpuprep check {exercise.id}"
    with desk.progress() as record:
        last = record.last(exercise.id)
    if last is None:
        raise GpuprepError(f"{exercise.id} has not been checked: a profile follows a pass", next_step=next_step)
    if not last.outcome.is_pass and last.outcome not in PROFILED:
        raise GpuprepError(
            f"{exercise.id}: the last check says {last.outcome}; what is not right yet is not worth tuning",
            next_step=next_step,
        )
    return last.id, last.outcome, last.file_hash


def _hash(desk: Desk, path: Path) -> str:
    # As a check hashes what it graded.
    try:
        sources = [source.read_bytes() for source in desk.curriculum.sources(path)]
    except OSError:
        return ""
    return hashlib.sha256(b"\0".join(sources)).hexdigest()
