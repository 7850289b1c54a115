"""From grades to points: an exercise's weight, shared evenly among those of its tiers that count.

A tier that passed has its share. One that failed has none, and where the exercise isn't correct, no tier has. What
could not be graded here (speed without a card) is *pending*: neither in the score nor in the most that could be had.
What the grader or the card spoilt is to be *rerun*, and counts like that until it was.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from gpuprep.classroom.assignment import Assigned, Assignment
from gpuprep.classroom.journal import Grade, Noted
from gpuprep.model import Outcome, Report, Tier

MISSING = "MISSING"
"""In place of an outcome: nothing was handed in for the exercise."""
REFUSED = "REFUSED"
"""In place of an outcome: it can't be told what to grade, or it must not be opened."""
_SPOILT = (Outcome.INCONCLUSIVE, Outcome.INVALID, Outcome.GRADER_FAULT)


class Fate(StrEnum):
    """What became of one tier's share."""

    WON = "won"
    LOST = "lost"
    PENDING = "pending"
    RERUN = "rerun"


@dataclass(frozen=True)
class ExerciseScore:
    """One exercise of one submission."""

    exercise_id: str
    outcome: str
    """An Outcome, MISSING or REFUSED."""
    weight: float
    fates: Mapping[Tier, Fate]
    """Of the tiers that count. Empty where there is nothing to share out: then all of the weight is lost."""
    note: str = ""
    report: Report | None = None

    @property
    def points(self) -> float:
        """What was won."""
        return self._share(Fate.WON)

    @property
    def max_points(self) -> float:
        """What could be graded, and so won or lost."""
        return self._share(Fate.WON, Fate.LOST) if self.fates else self.weight

    @property
    def pending_points(self) -> float:
        """What is still to be graded."""
        return self._share(Fate.PENDING, Fate.RERUN)

    def tiers(self, fate: Fate) -> tuple[Tier, ...]:
        """The tiers of this fate."""
        return tuple(tier for tier, found in self.fates.items() if found is fate)

    def _share(self, *fates: Fate) -> float:
        n_found = sum(fate in fates for fate in self.fates.values())
        # A fraction first: thirds add up to a whole.
        return self.weight * float(Fraction(n_found, len(self.fates))) if self.fates else 0.0


@dataclass(frozen=True)
class Row:
    """One submission."""

    submission: str
    scores: tuple[ExerciseScore, ...]
    n_days_late: int = 0
    kept: float = 1.0
    """The share of its points that a late submission keeps."""
    notes: tuple[str, ...] = ()

    @property
    def score(self) -> float:
        """Points, after what being late costs."""
        return self.kept * sum(score.points for score in self.scores)

    @property
    def max_score(self) -> float:
        """What could be graded here of what can be had in all."""
        return sum(score.max_points for score in self.scores)

    @property
    def pending_points(self) -> float:
        """What is still to be graded."""
        return sum(score.pending_points for score in self.scores)

    def named(self, fate: Fate) -> str:
        """`ex_01 speed, ex_02 speed`: the tiers of a fate, over all exercises."""
        return ", ".join(f"{score.exercise_id} {tier}" for score in self.scores for tier in score.tiers(fate))


def fates(assigned: Assigned, grade: Grade) -> dict[Tier, Fate]:
    """What became of each tier that counts.

    What was won or lost before an upgrade stays so, unless the file turned out to be wrong on the card.
    """
    found = _fates(assigned, grade)
    if grade.earlier is None or _is_wrong(grade.report):
        return found
    before = fates(assigned, grade.earlier)
    return {tier: before[tier] if before.get(tier) in (Fate.WON, Fate.LOST) else fate for tier, fate in found.items()}


def _fates(assigned: Assigned, grade: Grade) -> dict[Tier, Fate]:
    tiers = [tier for tier in grade.tiers if tier in assigned.tiers]
    report = grade.report
    if report is None:
        return dict.fromkeys(tiers or assigned.tiers, Fate.RERUN)
    if _is_wrong(report):
        return dict.fromkeys(tiers, Fate.LOST)
    return {tier: _fate(report, tier) for tier in tiers}


def _is_wrong(report: Report | None) -> bool:
    correct = report.tier(Tier.CORRECT) if report else None
    is_unstarted = report is not None and report.outcome is Outcome.NOT_STARTED
    return is_unstarted or (correct is not None and correct.outcome.is_failure)


def _fate(report: Report, tier: Tier) -> Fate:
    found = report.tier(tier)
    if found is None:
        # Nothing goes on after a failure, on any machine; without one it is only not graded here.
        return Fate.LOST if report.outcome.is_failure and report.outcome not in _SPOILT else Fate.PENDING
    if found.outcome is Outcome.PASSED:
        return Fate.WON
    if found.outcome in _SPOILT:
        return Fate.RERUN
    return Fate.PENDING if found.outcome is Outcome.SKIPPED else Fate.LOST


def row(assignment: Assignment, noted: Noted, grades: Mapping[str, Grade]) -> Row:
    """A submission's row.

    Args:
        assignment: weights, tiers, and what is late.
        noted: the submission.
        grades: its grades, by exercise.
    """
    scores = tuple(_score(assigned, noted, grades.get(assigned.id)) for assigned in assignment.exercises)
    # Where nothing was handed in, nothing was late.
    has_any = any(score.outcome != MISSING for score in scores)
    n_days_late = assignment.days_late(noted.submitted) if has_any else 0
    return Row(noted.name, scores, n_days_late, assignment.kept(n_days_late), noted.notes)


def _score(assigned: Assigned, noted: Noted, grade: Grade | None) -> ExerciseScore:
    if reason := noted.refused.get(assigned.id):
        return ExerciseScore(assigned.id, REFUSED, assigned.weight, {}, reason)
    if grade is None:
        return ExerciseScore(assigned.id, MISSING, assigned.weight, {})
    found = fates(assigned, grade)
    if grade.report is None:
        return ExerciseScore(assigned.id, Outcome.GRADER_FAULT, assigned.weight, found, grade.fault)
    report = grade.report
    skipped = (report.tier(tier) for tier, fate in found.items() if fate is Fate.PENDING and tier is not Tier.SPEED)
    note = "; ".join(f"{each.tier} not graded: {each.reason}" for each in skipped if each is not None)
    is_all_won = bool(found) and set(found.values()) == {Fate.WON}
    # Provisional for want of a tier that doesn't count here is no reason to wait for anything.
    outcome = Outcome.PASSED if is_all_won and report.outcome is Outcome.PROVISIONAL else report.outcome
    return ExerciseScore(assigned.id, outcome, assigned.weight, found, note, report)


def scores_csv(assignment: Assignment, rows: Iterable[Row]) -> str:
    """`scores.csv`: a line a submission."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    ids = [assigned.id for assigned in assignment.exercises]
    writer.writerow(
        ["submission", "score", "max_score", *ids, "pending_points", "pending", "rerun", "days_late", "note"]
    )
    for each in rows:
        writer.writerow(
            [
                cell(each.submission),
                points(each.score),
                points(each.max_score),
                *(score.outcome for score in each.scores),
                points(each.pending_points),
                each.named(Fate.PENDING),
                each.named(Fate.RERUN),
                each.n_days_late or "",
                cell(note(each)),
            ]
        )
    return text.getvalue()


def note(row: Row) -> str:
    """What a person should know of a row, beside its outcomes."""
    said: Sequence[str] = [f"{score.exercise_id}: {score.note}" for score in row.scores if score.note]
    if len(said) > 1 and len({score.note for score in row.scores}) == 1:
        # An archive that can't be opened is one thing, not one an exercise.
        said = [row.scores[0].note]
    return "; ".join((*said, *row.notes))


def points(value: float) -> str:
    """`2.5`, `0.3333`: at most four decimals."""
    return f"{value:.4f}".rstrip("0").rstrip(".")


def cell(text: str) -> str:
    """Text for a cell that no spreadsheet computes, without control characters."""
    # A spreadsheet takes what begins like this for a formula, and computes it.
    plain = "".join(char if char.isprintable() else "?" for char in text)
    return f"'{plain}" if plain.startswith(("=", "+", "-", "@")) else plain
