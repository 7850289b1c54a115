"""Results as JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import sample_reports as samples

from gpuprep.errors import ProgressError, UsageError
from gpuprep.model import Outcome, Report
from gpuprep.render import machine


def parsed(document: machine.Document) -> machine.Document:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    loaded = json.loads(machine.dumps(document), parse_constant=refuse)
    assert isinstance(loaded, dict)
    return loaded


@pytest.mark.parametrize(
    "report",
    [
        samples.timed(),
        samples.timed_apart(),
        samples.provisional(),
        samples.wrong_values(),
        samples.without_cases(Outcome.NOT_STARTED),
    ],
)
def test_check_document(report: Report) -> None:
    """A check's document names its version, command, exit code and every report with its outcome."""
    document = parsed(machine.checks([(samples.EXERCISE, report)], 1))
    assert (document["version"], document["command"], document["exit_code"]) == (2, "check", 1)
    assert document["error"] is None
    [only] = document["reports"]
    assert only["outcome"] == report.outcome
    assert only["title"] == "Vector add"
    assert only["is_gold"] is report.is_gold
    assert [case["name"] for case in only["cases"]] == [result.case.name for result in report.cases]
    assert [timing["name"] for timing in only["timings"]] == [timing.case.name for timing in report.timings]


def test_numbers_that_json_lacks() -> None:
    """NaN and the infinities become text."""
    sample = replace(samples.WRONG_CASE.samples[0], expected=float("-inf"))
    report = replace(samples.wrong_values(), cases=(replace(samples.WRONG_CASE, samples=(sample,)),))
    [only] = parsed(machine.checks([(samples.EXERCISE, report)], 1))["reports"]
    assert only["cases"][0]["samples"] == [{"index": [1018], "expected": "-inf", "got": "nan"}]


def test_what_was_not_recorded_is_part_of_the_document() -> None:
    """One document even where the record failed: its error stands inside."""
    graded = [(samples.EXERCISE, samples.timed())]
    document = parsed(machine.checks(graded, 2, required="speed", unrecorded=ProgressError("disk full")))
    assert document["error"]["message"] == "disk full"
    assert document["required"] == ["speed"]


def test_error_document() -> None:
    """An error has its kind, message, next step and exit code."""
    document = parsed(machine.error(UsageError("no", next_step="yes"), exit_code=2))
    assert document == {
        "version": 2,
        "error": {"kind": "UsageError", "message": "no", "next_step": "yes", "exit_code": 2},
    }


def test_text_is_ascii() -> None:
    """The text survives any encoding, lone surrogates of file names among them."""
    text = machine.dumps(machine.document("x", path=Path("caf\u00e9\udc80.py"), title="×"))
    assert text.isascii()
    assert json.loads(text)["title"] == "×"
