"""The way home of a report: `as_dict`, JSON, and back."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest
import sample_reports as samples

from gpuprep.grading.reports import exercise_from, report_from
from gpuprep.model import REPORT_VERSION, Report

MAKERS = (
    samples.provisional,
    samples.timed,
    samples.timed_apart,
    samples.wrong_values,
    samples.too_much_work,
    samples.banned_call,
    samples.compile_failed,
)
REPORTS = {maker.__name__: maker() for maker in MAKERS}


def through_json(content: Any) -> Any:
    """What another process gets."""
    return json.loads(json.dumps(content))


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_report_comes_back_as_it_was(report: Report) -> None:
    """Every kind of report survives, down to enums, tuples, NaN and what stands in nested results."""
    assert repr(report_from(through_json(report.as_dict()))) == repr(report)


def test_exercise_comes_back_as_it_was() -> None:
    """So does an exercise."""
    assert exercise_from(through_json(asdict(samples.EXERCISE))) == samples.EXERCISE


BREAKS: dict[str, dict[str, Any]] = {
    "another version": {"version": REPORT_VERSION - 1},
    "an unknown outcome": {"outcome": "SPLENDID"},
    "an unknown field": {"bonus": 1},
    "a string for a number": {"seed": "7"},
    "a boolean for a number": {"seed": True},
    "a list for a text": {"message": ["x"]},
    "no cases": {"cases": None},
    "gold that is none": {"is_gold": "yes"},
    "a pass without a graded case": {"cases": [], "outcome": "PASSED", "message": "", "first_failure": None},
}


@pytest.mark.parametrize("change", BREAKS.values(), ids=BREAKS)
def test_what_no_report_gives_is_refused(change: dict[str, Any]) -> None:
    """Wrong types, missing or unknown fields, and states that a Report can't hold."""
    report = next(iter(REPORTS.values()))
    with pytest.raises(ValueError):  # noqa: PT011  any reason will do
        report_from({**through_json(report.as_dict()), **change})


def test_missing_field_is_refused() -> None:
    """A field that is left out is no default."""
    content = through_json(next(iter(REPORTS.values())).as_dict())
    del content["file_hash"]
    with pytest.raises(ValueError, match="file_hash"):
        report_from(content)
