"""Classroom 50: `result.json` of one submission, schema `classroom50/result/v1`, whose scores are integers.

A score is in hundredths of a point: a weight of 2 is 200. An exercise's tiers share its hundredths so that they always
add up to it: three tiers of one point are 33, 34 and 33. What being late costs is taken from the total, rounded down.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from fractions import Fraction
from itertools import pairwise
from math import floor
from typing import Any

from gpuprep.classroom.scoring import ExerciseScore, Fate
from gpuprep.errors import UsageError
from gpuprep.render.findings import Finding
from gpuprep.render.gradebooks.standing import Standing, one_line
from gpuprep.render.machine import Document

SCHEMA = "classroom50/result/v1"
HUNDREDTHS = 100
"""In a point."""
_NEEDED = ("CLASSROOM", "ASSIGNMENT", "SUBMISSION_TAG", "COMMIT_URL", "RELEASE_URL")


def result(standing: Standing, environment: Mapping[str, str]) -> Document:
    """`result.json`.

    Args:
        standing: the submission.
        environment: of the autograder: Classroom 50's runner says there whose repository this is.

    Raises:
        UsageError: it does not say so.
    """
    if missing := [name for name in _NEEDED if not environment.get(name)]:
        raise UsageError(
            f"--format classroom50 needs {', '.join(missing)} in the environment, as Classroom 50's runner sets them",
            next_step="call gpuprep from an autograder.py of Classroom 50",
        )
    tests = _tests(standing)
    won = sum(test["score"] for test in tests)
    return {
        "schema": SCHEMA,
        "classroom": environment["CLASSROOM"],
        "assignment": environment["ASSIGNMENT"],
        "assignment_type": environment.get("ASSIGNMENT_TYPE") or "individual",
        "owner": environment.get("OWNER") or environment.get("USERNAME") or standing.name,
        "submission": environment["SUBMISSION_TAG"],
        "commit": environment["COMMIT_URL"],
        "release": environment["RELEASE_URL"],
        "review": environment.get("REVIEW_URL") or environment["COMMIT_URL"],
        "datetime": standing.student.noted.submitted.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        # As a fraction of its decimals: 0.7 of 100 is 70, not a hair less.
        "score": floor(Fraction(str(standing.row.kept)).limit_denominator(10**6) * won),
        "max-score": sum(test["max-score"] for test in tests),
        "tests": tests,
    }


def hundredths(score: ExerciseScore) -> list[int]:
    """An exercise's weight in hundredths of a point, shared among its tiers without losing any."""
    whole = round(score.weight * HUNDREDTHS)
    n_parts = len(score.fates) or 1
    edges = [floor(Fraction(whole * part, n_parts) + Fraction(1, 2)) for part in range(n_parts + 1)]
    return [end - start for start, end in pairwise(edges)]


def _tests(standing: Standing) -> list[dict[str, Any]]:
    parts = [part for score in standing.row.scores for part in hundredths(score)]
    pairs = list(zip(standing.findings, parts, strict=True))
    # A test passes or fails here, there is nothing between: what was not graded is left out.
    graded = [(finding, part) for finding, part in pairs if finding.fate in (Fate.WON, Fate.LOST)]
    # With no tests at all, the runner reports that no autograder is there, as a success.
    return [_test(finding, part) for finding, part in graded] or [_test(finding, 0) for finding, _ in pairs]


def _test(finding: Finding, part: int) -> dict[str, Any]:
    is_graded = finding.fate in (Fate.WON, Fate.LOST)
    return {
        "test-name": one_line(finding.name + ("" if is_graded else f" ({finding.headline})")),
        "passed": finding.fate is Fate.WON,
        "score": part if finding.fate is Fate.WON else 0,
        "max-score": part,
        "outcome": finding.outcome,
        "output": "\n".join(filter(None, (finding.headline, finding.text))),
    }
