"""The journal: what was recorded is there after any end, and nothing else is resumed with it."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sample_reports as samples
from nobody import as_nobody

from gpuprep.classroom.journal import FILE_NAME, Grade, Identity, Journal, Noted
from gpuprep.errors import ProgressError, UsageError
from gpuprep.model import Tier

IDENTITY = Identity("a", "c", "0.1.0", "cpu", "full")
ADA = Noted("ada", "1", datetime(2026, 3, 1, tzinfo=UTC), {"ex_02": "two files"}, ("note",))
BOB = Noted("bob", "2", datetime(2026, 3, 2, tzinfo=UTC), {}, ())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a journal of ada and bob."""
    with Journal(tmp_path) as journal:
        assert not journal.has_begun
        journal.begin(IDENTITY, [ADA, BOB], "title: Homework 1")
    return tmp_path


def test_journal_remembers(folder: Path) -> None:
    """Submissions in their order, and grades with reports and faults as they were."""
    grades = [
        Grade("ada", "ex_01", (Tier.CORRECT, Tier.SPEED), samples.too_much_work(), n_checks=3),
        Grade("bob", "ex_01", fault="it died \ud800"),
    ]
    with Journal(folder) as journal:
        for grade in grades:
            journal.record(grade)
    with Journal(folder) as journal:
        assert journal.has_begun
        assert journal.identity() == IDENTITY
        assert journal.submissions() == (ADA, BOB)
        assert list(journal.grades()) == [grades[0], replace(grades[1], fault="it died \\ud800")]


def test_same_class_is_resumed(folder: Path) -> None:
    """Its files' times may have changed, as they do when they are copied."""
    with Journal(folder) as journal:
        journal.refuse_another(IDENTITY, [replace(ADA, submitted=BOB.submitted), BOB])
        assert journal.submissions()[0].submitted == ADA.submitted


@pytest.mark.parametrize(
    ("identity", "submissions", "said"),
    [
        (replace(IDENTITY, assignment="b"), [ADA, BOB], "the assignment has changed"),
        (replace(IDENTITY, curriculum="d"), [ADA, BOB], "a grader or a stub has changed"),
        (replace(IDENTITY, sandbox="none"), [ADA, BOB], "sandbox was full, and is none"),
        (replace(IDENTITY, gpuprep="0.2.0"), [ADA, BOB], "gpuprep was 0.1.0"),
        (IDENTITY, [ADA], "submission 'bob' is gone"),
        (IDENTITY, [ADA, BOB, replace(BOB, name="eve")], "submission 'eve' is new"),
        (IDENTITY, [ADA, replace(BOB, hash="3")], "submission 'bob' has changed"),
    ],
)
def test_another_class_is_refused(folder: Path, identity: Identity, submissions: list[Noted], said: str) -> None:
    """With what differs."""
    with Journal(folder) as journal, pytest.raises(UsageError, match=said):
        journal.refuse_another(identity, submissions)


def test_grade_is_recorded_once(folder: Path) -> None:
    """A second one for the same file is our own bug."""
    with Journal(folder) as journal:
        journal.record(Grade("bob", "ex_01", fault="it died"))
        with pytest.raises(sqlite3.IntegrityError):
            journal.record(Grade("bob", "ex_01", fault="it died"))


def test_grade_is_a_report_or_a_fault() -> None:
    """Never both, never neither."""
    with pytest.raises(ValueError, match="either"):
        Grade("ada", "ex_01")
    with pytest.raises(ValueError, match="either"):
        Grade("ada", "ex_01", report=samples.wrong_values(), fault="it died")


def test_a_journal_that_cannot_be_written_is_read(open_folder: Path) -> None:
    """Looking at a class needs no right to change it; grading does, and says so."""
    path = open_folder / FILE_NAME
    with Journal(open_folder) as journal:
        journal.begin(IDENTITY, [ADA, BOB], "title: Homework 1")
    path.chmod(0o444)
    open_folder.chmod(0o555)

    def look_and_record() -> str:
        with Journal(open_folder) as journal:
            names = [noted.name for noted in journal.submissions()]
            try:
                journal.record(Grade("bob", "ex_01", fault="it died"))
            except ProgressError as error:
                return json.dumps([names, error.message])
        return "recorded"

    names, message = json.loads(as_nobody(look_and_record))
    assert names == ["ada", "bob"]
    assert message.startswith(f"The journal of the class {path} can't be written")
    assert sorted(open_folder.iterdir()) == [path]


def test_damaged_journal_is_told(folder: Path) -> None:
    """With its path, not with a traceback."""
    with sqlite3.connect(folder / FILE_NAME) as connection:
        connection.execute("INSERT INTO grades VALUES ('ada', 'ex_01', 0, '', '[]', 1, '', x'00', NULL)")
    connection.close()
    with Journal(folder) as journal, pytest.raises(ProgressError, match=f"The journal of the class .*{FILE_NAME}"):
        list(journal.grades())
