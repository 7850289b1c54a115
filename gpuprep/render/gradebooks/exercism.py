"""Exercism: `results.json` of a test runner, version 3: https://exercism.org/docs/building/tooling/test-runners/interface.

It knows no points, only what passed. A tier that is pending is no test that ran, and is left out; one that is to be
graded again has the status `error`.
"""

from __future__ import annotations

from typing import Any

from gpuprep.classroom.scoring import Fate
from gpuprep.model import Outcome
from gpuprep.render.findings import Finding, plain
from gpuprep.render.gradebooks.standing import Standing
from gpuprep.render.machine import Document

VERSION = 3
MAX_OUTPUT = 500
"""Characters of what the student's code printed."""
MAX_MESSAGE = 16_000
"""Characters of the whole's message: 65 535 are allowed, and fewer where they take several bytes."""
_TRUNCATED = "Output was truncated. Please limit to 500 chars"
_STATUS = {Fate.WON: "pass", Fate.LOST: "fail", Fate.RERUN: "error"}
_NOTHING_RAN = (Outcome.COMPILE_FAILED, "MISSING", "REFUSED")


def results(standing: Standing) -> Document:
    """`results.json`; its status is `error` where no test ran at all."""
    task_ids = {score.exercise_id: number for number, score in enumerate(standing.row.scores, start=1)}
    ran = [each for each in standing.findings if each.fate is not Fate.PENDING]
    tests = [_test(each, task_ids[each.exercise_id]) for each in ran]
    if not any(_did_run(each) for each in ran):
        told = [f"{each.name}: {each.headline}\n{each.text}" for each in ran if each.outcome or each.fate is Fate.RERUN]
        message = plain("\n\n".join(told) or "\n".join(standing.notes()), MAX_MESSAGE)
        return {"version": VERSION, "status": "error", "message": message, "tests": tests}
    status = "pass" if all(each.fate is Fate.WON for each in ran) else "fail"
    return {"version": VERSION, "status": status, "message": None, "tests": tests}


def _did_run(finding: Finding) -> bool:
    """True where some case has told something."""
    is_failure = finding.fate is Fate.LOST and not finding.is_unreached and finding.outcome not in _NOTHING_RAN
    return finding.fate is Fate.WON or is_failure


def _test(finding: Finding, task_id: int) -> dict[str, Any]:
    command = f"gpuprep check {finding.exercise_id}"
    test: dict[str, Any] = {
        "name": finding.name,
        "test_code": command + (f"  # {finding.tier}" if finding.tier else ""),
        "status": _STATUS[finding.fate],
        "message": None if finding.fate is Fate.WON else "\n".join(filter(None, (finding.headline, finding.text))),
        "task_id": task_id,
    }
    if finding.printed:
        test["output"] = _output(finding.printed)
    return test


def _output(printed: str) -> str:
    if len(printed) <= MAX_OUTPUT:
        return printed
    return f"{printed[: MAX_OUTPUT - len(_TRUNCATED) - 1]}\n{_TRUNCATED}"
