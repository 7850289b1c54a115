"""What a student may read of a submission: one finding for each tier that counts, in plain text.

Everything that leaves for a student's eyes is made of these. A grade's report has nothing of a hidden case in it but
that it failed, and how (`classroom.hidden.told`); here that is put into words. What broke in the grader is never told.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from gpuprep.classroom.assignment import Assigned, Assignment
from gpuprep.classroom.record import Student
from gpuprep.classroom.scoring import MISSING, REFUSED, ExerciseScore, Fate
from gpuprep.model import CaseResult, Outcome, Report, SourceLine, Tier, TierResult
from gpuprep.render.figures import paragraphs
from gpuprep.render.finding_words import WHAT
from gpuprep.render.layout import Page, clean
from gpuprep.render.marks import mark
from gpuprep.render.report import NOT_STARTED_TEXT, case_page

MAX_TEXT = 4000
"""Characters of a finding's text, and of what was printed: more than anybody reads in a gradebook."""
HIDDEN = "This happened in a case that stays hidden: its sizes and values are not shown."

CUT = "… only the end is shown:\n"
"""What a text begins with that was longer."""

# They turn the text around them, so that it reads as something else.
_BIDI = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class Finding:
    """One tier of one exercise, or an exercise that has nothing to grade."""

    exercise_id: str
    title: str
    """The exercise's."""
    tier: Tier | None
    """None where there is nothing to grade: all of the exercise's weight is lost at once."""
    fate: Fate
    points: float
    """What was won, before what being late costs. They add up to the row's, and so do `max_points`."""
    max_points: float
    """What could be had of what was graded: 0 for what is pending or to be graded again."""
    headline: str
    """`passed`, `wrong values`, `pending`: one line."""
    text: str
    """What to know about it; empty, or some lines without control characters."""
    outcome: str = ""
    """The tier's outcome; MISSING, REFUSED; empty where the tier has none."""
    pending_points: float = 0.0
    """What can still be had, once it is graded."""
    where: SourceLine | None = None
    """The line of the student's file, by the file's name alone; None where it isn't known."""
    printed: str = ""
    """The end of what the student's code printed in the open check, with an exercise's first finding."""

    @property
    def is_unreached(self) -> bool:
        """True where the check ended before it: another finding tells why."""
        return self.fate is Fate.LOST and not self.outcome

    @property
    def name(self) -> str:
        """`ex_01 Vector add: correct`: unique within a submission."""
        return f"{self.exercise_id} {self.title}" + (f": {self.tier}" if self.tier else "")


def findings(student: Student, assignment: Assignment) -> tuple[Finding, ...]:
    """What a student may read, in the order of the assignment and then of the tiers.

    Args:
        student: the submission.
        assignment: what it was graded for.
    """
    assigned = {each.id: each for each in assignment.exercises}
    return tuple(
        finding for score in student.row.scores for finding in _of_exercise(score, assigned[score.exercise_id])
    )


def plain(text: str, limit: int = MAX_TEXT) -> str:
    """Text that does nothing but be read: no control characters, nothing that turns it around, not endless."""
    # What is far beyond the limit need not be looked at; escapes that go away make it shorter.
    found = _BIDI.sub("", clean(text[: 4 * limit])).strip("\n")
    return found if len(found) <= limit and len(text) <= 4 * limit else f"{found[:limit].rstrip()} …"


def _of_exercise(score: ExerciseScore, assigned: Assigned) -> Iterator[Finding]:
    title = assigned.exercise.title
    if not score.fates:
        text = score.note if score.outcome == REFUSED else "Nothing was handed in for this exercise."
        headline = {MISSING: "missing", REFUSED: "refused"}.get(score.outcome, score.outcome.lower())
        weight = score.weight
        yield Finding(
            score.exercise_id, title, None, Fate.LOST, 0.0, weight, headline, plain(text), outcome=score.outcome
        )
        return
    share = score.weight * float(Fraction(1, len(score.fates)))
    printed = score.report.stdout if score.report else ""
    ended = _ended(score)
    for place, (tier, fate) in enumerate(score.fates.items()):
        told = _Told(score.report, tier, fate, tier is ended)
        yield Finding(
            exercise_id=score.exercise_id,
            title=title,
            tier=tier,
            fate=fate,
            points=share if fate is Fate.WON else 0.0,
            max_points=share if fate in (Fate.WON, Fate.LOST) else 0.0,
            headline=told.headline,
            text=plain(told.text),
            outcome=told.outcome,
            pending_points=share if fate in (Fate.PENDING, Fate.RERUN) else 0.0,
            where=told.where,
            printed=_own_paths(_end_of(printed), score.report) if place == 0 else "",
        )


def _end_of(printed: str) -> str:
    """The last of it, and said so where there was more."""
    return plain(printed) if len(printed) <= MAX_TEXT else f"{CUT}{plain(printed[len(CUT) - MAX_TEXT :])}"


def _ended(score: ExerciseScore) -> Tier | None:
    """The tier with which to tell the failure: the one that the check ended at, or the first of those it cost."""
    report = score.report
    if report is None:
        return None
    failed = [result.tier for result in report.tiers if result.outcome.is_failure]
    lost = score.tiers(Fate.LOST)
    return next((tier for tier in lost if tier in failed), lost[0] if lost else None)


@dataclass(frozen=True)
class _Told:
    """One tier, in words."""

    report: Report | None
    tier: Tier
    fate: Fate
    is_decisive: bool
    """True for the one that tells the failure; those that it cost as well were not reached."""

    @property
    def result(self) -> TierResult | None:
        return self.report.tier(self.tier) if self.report else None

    @property
    def outcome(self) -> str:
        if self.fate is Fate.LOST:
            return self.report.outcome if self.is_decisive and self.report else ""
        return self.result.outcome if self.result else ""

    @property
    def headline(self) -> str:
        if self.fate is Fate.PENDING:
            return "pending"
        if self.fate is Fate.RERUN:
            return "to be graded again"
        if self.fate is Fate.LOST and not self.is_decisive:
            return "not reached"
        is_gold = self.report is not None and self.report.is_gold and self.tier is Tier.SPEED
        return mark(Outcome(self.outcome), is_gold=is_gold).word

    @property
    def where(self) -> SourceLine | None:
        """Where it went wrong."""
        if not self.is_decisive or self.report is None:
            return None
        failure = self.report.first_failure
        found = failure.where if failure and failure.where else self.report.where
        return SourceLine(Path(found.path).name, found.line, plain(found.text, 200)) if found else None

    @property
    def text(self) -> str:
        if self.fate is Fate.PENDING:
            return f"Not graded yet: {self._why_pending}. It counts neither for nor against you."
        if self.fate is Fate.RERUN:
            return f"{self._why_again}. It will be graded again, and counts neither for nor against you until then."
        assert self.report is not None  # noqa: S101  without one, every tier is to be graded again
        if self.fate is Fate.WON:
            return self._measured
        if not self.is_decisive:
            ended = next((tier.tier for tier in self.report.tiers if tier.outcome.is_failure), Tier.CORRECT)
            return f"The check ended before it, at {ended}: {mark(self.report.outcome).word}."
        return "\n".join(filter(None, (self._failure, self._measured)))

    @property
    def _why_pending(self) -> str:
        if self.result is None or not self.result.reason:
            return "it could not be graded on the machine that graded the rest"
        return _own_paths(self.result.reason, self.report)

    @property
    def _why_again(self) -> str:
        if self.report is None or self.report.outcome is Outcome.GRADER_FAULT:
            return "The grader failed, not your code"
        if self.outcome == Outcome.INVALID:
            return "The measurement contradicts itself and needs a review"
        return "The card was busy, or the measurement too uncertain to tell"

    @property
    def _failure(self) -> str:
        """Where it went wrong, as a check on the student's own machine tells it."""
        report = self.report
        assert report is not None  # noqa: S101  a failure has one
        failure = report.first_failure
        if report.outcome is Outcome.NOT_STARTED and not failure:
            return NOT_STARTED_TEXT
        if failure is not None and failure.case.is_hidden:
            return f"{WHAT.get(failure.outcome, '')} {HIDDEN}".strip()
        page = Page()
        if failure is None:
            page.prose(plain(report.message), indent=0)
            if report.where:
                page.line(f"{Path(report.where.path).name}:{report.where.line}  {report.where.text}", indent=2)
        else:
            page.lines += case_page(_short(failure), display=lambda path: Path(path).name).lines[1:]
        return _own_paths(textwrap.dedent(page.text()).strip("\n"), report)

    @property
    def _measured(self) -> str:
        """Figures of the tier."""
        report, result = self.report, self.result
        if report is None or result is None or not report.cases:
            return ""
        found = paragraphs(report, result)
        return "\n".join(line for each in found for line in ([each.op] if each.op else []) + list(each.lines))


def _short(failure: CaseResult) -> CaseResult:
    """The case with its texts cut: a message may be as long as the student wants."""
    where = replace(failure.where, text=plain(failure.where.text, 200)) if failure.where else None
    return replace(failure, message=plain(failure.message), where=where)


def _own_paths(text: str, report: Report | None) -> str:
    """Where files lay when they were graded is nobody's business."""
    folder = Path(report.path).parent if report and report.path else None
    return text.replace(f"{folder}/", "") if folder and folder.is_absolute() else text
