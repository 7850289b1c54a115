"""What `gpuprep grade` shows of a class."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sample_reports as samples
from golden_files import assert_golden

from gpuprep.classroom.assignment import Assigned, Assignment, Late
from gpuprep.classroom.grade import Graded
from gpuprep.classroom.journal import Grade, Noted
from gpuprep.classroom.scoring import Row, row
from gpuprep.confinement.permits import Level
from gpuprep.model import Outcome, Report, Tier
from gpuprep.render import machine
from gpuprep.render.classroom import graded_document, graded_page, outcome_mark, row_page

SECOND = replace(samples.EXERCISE, id="ex_02")
DUE = datetime(2026, 3, 1, tzinfo=UTC)
ASSIGNMENT = Assignment("Homework 1", (Assigned(samples.EXERCISE, 2.0), Assigned(SECOND)), due=DUE, late=Late(0.1))


def made_row(name: str, first: Report | str, second: Report | str | None, day: int = 1, refused: str = "") -> Row:
    """A row; text in place of a report is the grader's fault."""
    submitted = DUE.replace(month=2, day=28) if day == 1 else DUE.replace(day=day)
    noted = Noted(name, "", submitted, {"ex_02": refused} if refused else {}, ())
    grades = {
        exercise_id: Grade(name, exercise_id, tuple(Tier), *((None, found) if isinstance(found, str) else (found,)))
        for exercise_id, found in (("ex_01", first), ("ex_02", second))
        if found is not None
    }
    return row(ASSIGNMENT, noted, grades)


@pytest.fixture
def graded() -> Graded:
    """A class with one of each kind."""
    rows = (
        made_row("ada", samples.provisional(), samples.timed()),
        made_row("bob", samples.wrong_values(), samples.without_cases(Outcome.NOT_STARTED), day=3),
        made_row("Ottilie Zwölfmillionengroschen", "the grader's process hung", None, refused="two files"),
    )
    return Graded(ASSIGNMENT, rows, Path("hw1"), Level.FULL, 4, 1, 12.4)


def test_page_of_a_class(graded: Graded) -> None:
    """A line a submission, then outcomes by exercise, what is pending and what is to be rerun."""
    lines = "".join(row_page(row).text() for row in graded.rows)
    assert_golden("grade", lines + "\n" + graded_page(graded).text())


def test_missing_sandbox_is_told(graded: Graded) -> None:
    """Who grades strangers' files without one should know."""
    assert "no sandbox" in graded_page(replace(graded, sandbox=Level.NONE)).text()


def test_every_outcome_has_a_mark() -> None:
    """MISSING and REFUSED among them."""
    words = [outcome_mark(outcome).word for outcome in (*Outcome, "MISSING", "REFUSED")]
    assert len(set(words)) == len(words)


def test_document_has_every_row(graded: Graded) -> None:
    """With points and the fate of each tier; it is valid JSON."""
    document = json.loads(machine.dumps(graded_document(graded, 3)))
    assert (document["command"], document["exit_code"], document["sandbox"]) == ("grade", 3, "full")
    ada, bob, last = document["submissions"]
    assert ada["exercises"][0]["tiers"] == {"correct": "won", "work": "won", "speed": "pending"}
    assert (ada["score"], ada["max_score"], ada["pending_points"]) == (2.333333, 2.333333, 0.666667)
    assert (bob["score"], bob["max_score"], bob["days_late"]) == (0.0, 3.0, 2)
    assert [score["outcome"] for score in last["exercises"]] == ["GRADER_FAULT", "REFUSED"]
