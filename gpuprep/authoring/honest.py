"""Honest solutions that are not the reference: `tests/honest/<slug>/`. A defence that stops one of them is broken."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gpuprep.authoring.wrong import expected_outcomes, solutions_in, staged
from gpuprep.curriculum import Curriculum
from gpuprep.exercise import Exercise
from gpuprep.model import Outcome

if TYPE_CHECKING:
    from gpuprep.grading.pool import WarmPool


@dataclass(frozen=True)
class Honest:
    """One file of `tests/honest/`."""

    exercise: Exercise
    path: Path

    @property
    def name(self) -> str:
        """`ex_02_reduction/atomics`."""
        return f"{self.path.parent.name}/{self.path.stem}"


@dataclass(frozen=True)
class Judged:
    """An honest solution and its verdict."""

    honest: Honest
    outcome: Outcome
    expected: frozenset[Outcome]
    message: str = ""
    skipped: str = ""
    """Why counted work, or on a card speed, was not graded; empty where all was."""

    @property
    def is_accepted(self) -> bool:
        """True when it got what its file says."""
        return self.outcome in self.expected


def honest_files(curriculum: Curriculum) -> tuple[Honest, ...]:
    """All of them, by exercise and name; none where the curriculum ships without its tests."""
    return tuple(
        Honest(exercise, path)
        for exercise in curriculum.exercises
        for path in solutions_in(curriculum.root / "tests" / "honest" / exercise.slug)
    )


def judge_honest(
    honest: Honest,
    curriculum: Curriculum,
    *,
    device: str = "auto",
    witnessed: bool = True,
    pool: WarmPool | None = None,
) -> Judged:
    """Grade an honest solution.

    Args:
        honest: what to grade.
        curriculum: its curriculum.
        device: as in `grading.session.check`.
        witnessed: have its work counted by the second worker, and on a card its launches replayed.
        pool: as there.

    Raises:
        CurriculumError: the file declares no outcome.
    """
    from gpuprep.grading.session import check
    from gpuprep.model import Tier

    with staged(curriculum, honest.exercise, honest.path) as path:
        report = check(honest.exercise, curriculum, path, device=device, witnessed=witnessed, pool=pool)
    on_card = report.device != "cpu"
    found = [report.tier(tier) for tier in (Tier.WORK, *([Tier.SPEED] if on_card else []))]
    failure = report.first_failure
    return Judged(
        honest,
        report.outcome,
        expected_outcomes(honest.path, on_card=on_card),
        report.message or (failure.message if failure else ""),
        "; ".join(tier.reason for tier in found if tier and tier.reason),
    )
