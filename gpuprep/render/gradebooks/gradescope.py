"""Gradescope: `results.json` of one submission.

The format: https://gradescope-autograders.readthedocs.io/en/latest/specs/

Points are those before anything that being late costs: Gradescope knows when it was handed in, and has its own policy.
"""

from __future__ import annotations

from typing import Any

from gpuprep.classroom.scoring import Fate
from gpuprep.render.findings import Finding
from gpuprep.render.gradebooks.standing import Standing, of_points, rounded
from gpuprep.render.machine import Document

_STATUS = {Fate.WON: "passed", Fate.LOST: "failed"}


def results(standing: Standing) -> Document:
    """`results.json`; what was not graded is a test without a status and without points."""
    told = [of_points(standing.points, standing.max_points), *standing.notes(has_penalty=False)]
    return {
        "score": rounded(standing.points),
        "execution_time": round(standing.elapsed_s, 3),
        "output": "\n".join(told),
        "output_format": "text",
        "test_output_format": "text",
        "test_name_format": "text",
        "visibility": "visible",
        # What the container prints is the instructor's: it may name cases and places.
        "stdout_visibility": "hidden",
        "extra_data": standing.extra(),
        "tests": [_test(number, each) for number, each in enumerate(standing.findings, start=1)],
    }


def _test(number: int, finding: Finding) -> dict[str, Any]:
    test: dict[str, Any] = {
        "name": finding.name,
        "name_format": "text",
        "number": str(number),
        "output": _output(finding),
        "output_format": "text",
        "visibility": "visible",
        "tags": [finding.exercise_id, *([str(finding.tier)] if finding.tier else []), str(finding.fate)],
        "extra_data": {"outcome": finding.outcome, "pending_points": rounded(finding.pending_points)},
    }
    if finding.fate in _STATUS:
        test |= {
            "score": rounded(finding.points),
            "max_score": rounded(finding.max_points),
            "status": _STATUS[finding.fate],
        }
    return test


def _output(finding: Finding) -> str:
    printed = f"\nyour code printed:\n{finding.printed}" if finding.printed else ""
    return "\n".join(filter(None, (finding.headline, finding.text))) + printed
