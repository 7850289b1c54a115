"""The sources of attempts: kept once, small, verified, and never in the way of the attempt itself."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from nobody import as_nobody

from gpuprep import attempt_sources, curriculum
from gpuprep import progress as progress_module
from gpuprep.errors import ProgressError
from gpuprep.model import Outcome, Report
from gpuprep.progress import Progress

NAME = "ex_01_vector_add.py"
OLD_SCHEMA = progress_module._MIGRATIONS[:1]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".gpuprep" / "progress.db"


@pytest.fixture
def progress(path: Path) -> Iterator[Progress]:
    with Progress(path) as opened:
        yield opened


def _report(exercise_id: str = "ex_01") -> Report:
    return Report(exercise_id, Outcome.RAISED, message="no", exercise_hash="e")


def _stored(path: Path) -> list[tuple[str, int]]:
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT hash, length(content) FROM sources").fetchall()
    connection.close()
    return rows


def _record_as_before(path: Path, n_attempts: int) -> None:
    """What the first version of the record looked like: attempts without sources, hints as a number."""
    path.parent.mkdir(exist_ok=True)
    connection = sqlite3.connect(path)
    for statement in OLD_SCHEMA[0]:
        connection.execute(statement)
    values = ("ex_01", "RAISED", "2026-01-02T03:04:05+00:00", "p", "f", "e", "cpu", 0, 0.5, "[]", "{}")
    for _ in range(n_attempts):
        connection.execute(
            "INSERT INTO attempts (exercise_id, outcome, at, path, file_hash, exercise_hash, device, is_gold,"
            " elapsed_s, figures, versions, report) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*values, json.dumps(_report().as_dict())),
        )
    connection.executemany("INSERT INTO hints VALUES (?, ?)", [("ex_01", 2), ("ex_02", 1), ("ex_03", 0)])
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    connection.close()


def test_a_source_comes_back_as_it_was(progress: Progress) -> None:
    """Every file of an attempt is given back byte for byte, whatever it holds."""
    files = {NAME: b"x = 1\r\n\xff\x00", "ex_01_vector_add.cu": "// Σ\n".encode(), "empty.cu": b""}
    progress.record(_report(), files)

    attempt = progress.last("ex_01")

    assert attempt is not None
    assert progress.sources(attempt) == files
    assert attempt.unkept == ""


def test_an_unchanged_file_is_stored_once(progress: Progress, path: Path) -> None:
    """Checks of the same content, of other exercises too, share one copy."""
    for exercise_id in ("ex_01", "ex_01", "ex_02"):
        progress.record(_report(exercise_id), {NAME: b"x = 1\n"})
    progress.record(_report(), {NAME: b"x = 2\n"})

    assert len(_stored(path)) == 2
    assert [len(attempt.sources) for attempt in progress.attempts("ex_01")] == [1, 1, 1]


def test_a_hundred_attempts_cost_little(progress: Progress, path: Path) -> None:
    """A hundred versions of the longest reference take less than four kilobytes each, and less than half of it."""
    root = curriculum.default_root()
    longest = max(root.glob("reference/*/*.py"), key=lambda file: file.stat().st_size).read_bytes()
    for number in range(100):
        progress.record(_report(), {NAME: longest + f"# version {number}\n".encode()})

    sizes = [size for _, size in _stored(path)]

    assert len(sizes) == 100
    assert sum(sizes) / 100 < max(4096, len(longest) / 2)


def test_a_file_that_is_too_large_is_not_kept_and_said(progress: Progress, monkeypatch: pytest.MonkeyPatch) -> None:
    """The attempt is recorded, its source is not, and the reason names the file."""
    monkeypatch.setattr(attempt_sources, "MAX_FILE_BYTES", 1024)
    number = progress.record(_report(), {NAME: b"x" * 1025})

    attempt = progress.last("ex_01")

    assert attempt is not None
    assert (attempt.id, attempt.sources) == (number, ())
    assert NAME in attempt.unkept
    assert progress.unkept(number) == attempt.unkept


def test_a_full_record_keeps_attempts_and_says_that_sources_are_lost(
    progress: Progress, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the cap new content is refused, what is there stays, and content that is there already is still kept."""
    first, second = os.urandom(400), os.urandom(400)
    monkeypatch.setattr(attempt_sources, "MAX_STORED_BYTES", 700)
    progress.record(_report(), {NAME: first})
    refused = progress.record(_report(), {NAME: second})
    again = progress.record(_report(), {NAME: first})

    assert "most" in progress.unkept(refused)
    assert progress.unkept(again) == ""
    assert len(_stored(path)) == 1
    assert progress.counts() == {"ex_01": 3}
    assert progress.sources(progress.attempts("ex_01")[0]) == {NAME: first}


def test_why_there_is_no_source_is_remembered(progress: Progress) -> None:
    """A reason that the caller gives is kept with the attempt."""
    number = progress.record(_report(), unkept="the file changed while it was checked")
    assert progress.unkept(number) == "the file changed while it was checked"


@pytest.mark.parametrize("damage", ["DELETE FROM sources", "UPDATE sources SET content = x'00'"])
def test_a_damaged_source_is_an_error_that_names_the_file(progress: Progress, path: Path, damage: str) -> None:
    """A source that is gone or altered is reported, never shown as if it were the learner's."""
    progress.record(_report(), {NAME: b"x = 1\n"})
    attempt = progress.last("ex_01")
    assert attempt is not None
    connection = sqlite3.connect(path)
    connection.execute(damage)
    connection.commit()
    connection.close()

    with pytest.raises(ProgressError, match=NAME) as caught:
        progress.sources(attempt)
    assert str(path) in caught.value.message


def test_a_record_from_before_sources_is_migrated(path: Path) -> None:
    """Old attempts stay, without sources; the hints that were shown count; new attempts keep their source."""
    _record_as_before(path, 3)

    with Progress(path) as progress:
        assert progress.counts() == {"ex_01": 3}
        assert [progress.hints_shown(f"ex_0{number}") for number in (1, 2, 3)] == [2, 1, 0]
        assert progress.show_hint("ex_01", 3) == 2
        progress.record(_report(), {NAME: b"x = 1\n"})
        attempts = progress.attempts("ex_01")
        assert [bool(attempt.sources) for attempt in attempts] == [False, False, False, True]
        assert progress.sources(attempts[0]) == {}


def test_an_old_record_that_cannot_be_written_is_read(open_folder: Path) -> None:
    """In a read-only folder a record of the first version is shown all the same, and stays as it is."""
    path = open_folder / "progress.db"
    _record_as_before(path, 2)
    before = path.read_bytes()
    path.chmod(0o444)
    open_folder.chmod(0o555)

    def look() -> str:
        with Progress(path) as progress:
            return f"{progress.counts()} {progress.hints_shown('ex_01')}"

    assert as_nobody(look) == "{'ex_01': 2} 2"
    assert path.read_bytes() == before
