"""PrairieLearn: `results.json` of an external grader, as https://prairielearn.readthedocs.io/en/latest/externalGrading/.

The score is a share of what could be graded. Where that is nothing, the submission is not gradable: then PrairieLearn
takes neither points nor an attempt. What being late costs is the business of its assessments.
"""

from __future__ import annotations

from typing import Any

from gpuprep.render.findings import Finding, plain
from gpuprep.render.gradebooks.standing import Standing, of_points, rounded
from gpuprep.render.machine import Document

MAX_TEXTS = 70_000
"""Characters of all texts together. PrairieLearn takes 1 MB, and JSON may write a character with up to 12 bytes."""


def results(standing: Standing) -> Document:
    """`results.json`; a test that was not graded has 0 of 0 points, which is shown as neither right nor wrong."""
    limit = min(4000, MAX_TEXTS // (2 * len(standing.findings) + 1))
    message = "\n".join([of_points(standing.points, standing.max_points), *standing.notes(has_penalty=False)])
    tests = [_test(each, limit) for each in standing.findings]
    if not standing.max_points:
        return {
            "gradable": False,
            "format_errors": [plain(message, limit)],
            "message": plain(message, limit),
            "tests": tests,
        }
    return {
        "gradable": True,
        "score": rounded(standing.points / standing.max_points),
        "message": plain(message, limit),
        "tests": tests,
    }


def _test(finding: Finding, limit: int) -> dict[str, Any]:
    return {
        "name": finding.name,
        "description": finding.headline,
        "points": rounded(finding.points),
        "max_points": rounded(finding.max_points),
        "message": plain(finding.text, limit),
        "output": plain(finding.printed, limit),
    }
