"""GitHub Classroom's `autograding-*` actions: the document that autograding-grading-reporter reads.

The reporter takes a runner's result from the environment, `<RUNNER>_RESULTS`: base64 of JSON with `status`, `max_score`
and `tests`, each with `name`, `status`, `message` and `score`. It sends the sum of the scores to GitHub Classroom, and
divides by the number of tests, so there is always one.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from gpuprep.classroom.scoring import Fate
from gpuprep.render.findings import Finding
from gpuprep.render.gradebooks.standing import Standing, one_line, rounded
from gpuprep.render.machine import Document

VERSION = 1
_STATUS = {Fate.WON: "pass", Fate.LOST: "fail", Fate.RERUN: "error", Fate.PENDING: "error"}


def result(standing: Standing) -> Document:
    """What one runner found. Scores are after what being late costs: GitHub Classroom knows no due penalty."""
    # It knows no test that was neither passed nor failed: what was not graded is left out, unless nothing else is left.
    shown = standing.graded or standing.findings
    statuses = [_STATUS[each.fate] for each in shown]
    status = next((found for found in ("error", "fail") if found in statuses), "pass")
    return {
        "version": VERSION,
        "status": status,
        "max_score": rounded(standing.row.max_score),
        "tests": [_test(each, standing.row.kept) for each in shown],
    }


def encoded(standing: Standing) -> str:
    """The same as the reporter reads it: one line of base64."""
    return base64.b64encode(json.dumps(result(standing)).encode()).decode("ascii")


def _test(finding: Finding, kept: float) -> dict[str, Any]:
    return {
        "name": one_line(finding.name),
        "status": _STATUS[finding.fate],
        "score": rounded(kept * finding.points),
        "message": None if finding.fate is Fate.WON else "\n".join(filter(None, (finding.headline, finding.text))),
        "test_code": f"gpuprep check {finding.exercise_id}",
        "filename": finding.where.path if finding.where else "",
        "line_no": finding.where.line if finding.where else 0,
    }
