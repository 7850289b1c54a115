"""What an assignment keeps from students: further seeds and shapes, and what of their checks may be told.

A check with hidden cases is one of its own, in processes of its own, after the one that students see. So nothing that a
submission says, prints or raises in the open one can come from a hidden case. Of a hidden one a student is told what
became of it, and nothing else; the instructor has it whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gpuprep import yaml_nodes
from gpuprep.classroom.assignment import Assignment
from gpuprep.curriculum import Curriculum
from gpuprep.model import IS_HIDDEN, Case, CaseResult, Outcome, Report, Tier, TierResult

MESSAGE = "in a case that stays hidden"


def refuse_senseless_shapes(assignment: Assignment, path: Path, curriculum: Curriculum) -> None:
    """Make every shape's case once.

    Args:
        assignment: whose shapes.
        path: its file, for what is said about a line.
        curriculum: whose graders make the cases.

    Raises:
        CurriculumError: a shape can't be had, or makes no sense; the message starts `file:line`.
    """
    from gpuprep.grading.loading import load_grader
    from gpuprep.grading.shapes import ShapeError, refuse_senseless

    for assigned in assignment.exercises:
        if assigned.shapes:
            grader = load_grader(curriculum, assigned.exercise)
            for each in assigned.shapes:
                try:
                    refuse_senseless(grader, each.shape)
                except ShapeError as error:
                    raise yaml_nodes.fault(path, each.line, f"{assigned.id}: {error.message}") from error


def is_worth_hidden_checks(report: Report) -> bool:
    """True where the open check leaves something for a hidden one to find: what is not correct can't get any worse."""
    correct = report.tier(Tier.CORRECT)
    return correct is not None and correct.outcome is Outcome.PASSED


def told(opened: Report, hidden: Sequence[Report]) -> Report:
    """The report that counts, in which nothing can be read of a hidden case but that it failed, and how.

    Args:
        opened: of the check that students see.
        hidden: of those that they don't.
    """
    worse = [report for report in hidden if _is_worse(report, opened)]
    if not worse:
        return opened
    worst = min(worse, key=lambda report: report.outcome.precedence)
    shown = worst.first_failure
    cases = [result for result in opened.cases if not result.outcome.is_failure]
    if shown is not None:
        case = Case({IS_HIDDEN: True}, shown.case.tier)
        cases.append(CaseResult(case, shown.device, shown.outcome, MESSAGE))
    return replace(
        opened,
        outcome=worst.outcome,
        tiers=tuple(_bare(result) for result in worst.tiers),
        cases=tuple(cases),
        timings=(),
        message=MESSAGE,
        where=None,
        elapsed_s=opened.elapsed_s + sum(report.elapsed_s for report in hidden),
    )


def _is_worse(report: Report, opened: Report) -> bool:
    """True where a hidden check takes something away that the open one had given."""
    found = {result.tier: result.outcome for result in opened.tiers}
    return any(result.outcome.is_failure and found.get(result.tier) is Outcome.PASSED for result in report.tiers)


def _bare(result: TierResult) -> TierResult:
    # What a tier was skipped for may be in the words of the code that was graded.
    return replace(result, reason=MESSAGE) if result.reason else result
