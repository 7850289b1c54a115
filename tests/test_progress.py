"""The record of attempts: what is kept, what survives, and what is said when the disk refuses."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from nobody import as_nobody

from gpuprep import progress as progress_module
from gpuprep.errors import ProgressError
from gpuprep.exercise import Exercise, Hint, Target
from gpuprep.model import Case, CaseResult, Diagnosis, Measurement, Outcome, Report, Sample, Tier, TierResult, Timing
from gpuprep.practice.checking import last_diagnosis
from gpuprep.practice.hints import next_hint
from gpuprep.progress import Progress

PACKAGE_PARENT = Path(progress_module.__file__).resolve().parents[1]

WRITER = """
import sys
from pathlib import Path
from gpuprep.model import Outcome, Report
from gpuprep.progress import Progress

path, name, n_attempts = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
assert "torch" not in sys.modules
print("ready", flush=True)
sys.stdin.readline()
with Progress(path) as progress:
    for k in range(n_attempts):
        report = Report(name, Outcome.NOT_STARTED, message=f"{name} {k} " + "x" * 500)
        print(progress.record(report, {"ex.py": f"{name} {k}".encode()}), flush=True)
"""


def _writer(path: Path, name: str, n_attempts: int) -> subprocess.Popen[str]:
    """A process that records attempts once it is told to, and prints each id after the commit."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), name, str(n_attempts)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PACKAGE_PARENT)},
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == "ready\n"
    return writer


def _write_at_once(path: Path, n_processes: int, n_attempts: int) -> list[int]:
    """Lets several processes start writing at the same moment; every id that they acknowledged."""
    writers = [_writer(path, f"ex_{k:02}", n_attempts) for k in range(n_processes)]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    acknowledged = [int(line) for writer in writers for line in writer.communicate()[0].split()]
    assert [writer.returncode for writer in writers] == [0] * n_processes
    return acknowledged


def _kill_while_writing(path: Path, n_kills: int) -> int:
    """Kills a writer again and again at random moments; the number of attempts that were acknowledged in all."""
    rng = random.Random(n_kills)
    n_acknowledged = 0
    for number in range(n_kills):
        writer = _writer(path, "ex_01", 10**6)
        assert writer.stdin is not None
        assert writer.stdout is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
        acknowledged = [int(writer.stdout.readline()) for _ in range(rng.randrange(30))]
        writer.send_signal(signal.SIGKILL)
        # What is still in the pipe was acknowledged too; a last line without its end was not.
        rest = writer.communicate()[0]
        acknowledged += [int(line) for line in rest.splitlines(keepends=True) if line.endswith("\n")]
        n_acknowledged += len(acknowledged)
        if not path.exists():  # killed before the file was made
            assert acknowledged == []
            continue
        with sqlite3.connect(path) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)], f"after kill {number}"
        connection.close()
        with Progress(path) as progress:
            attempts = progress.attempts("ex_01")
            for attempt in attempts:
                [source] = progress.sources(attempt).values()
                assert attempt.report["message"].startswith(f"{source.decode()} "), f"after kill {number}"
        assert set(acknowledged) <= {attempt.id for attempt in attempts}, f"after kill {number}"
    return n_acknowledged


def failed(exercise_id: str = "ex_01", outcome: Outcome = Outcome.RAISED) -> Report:
    """A report without cases."""
    return Report(exercise_id, outcome, message="it went wrong", path="exercises/ex.py", exercise_hash="old")


def passed(exercise_id: str = "ex_01", *, share: float | None = None, exercise_hash: str = "old") -> Report:
    """PROVISIONAL without a share of the card's copy rate; gold from 0.95 up."""
    case = Case({"n": 33, "dtype": "float32"})
    results = (CaseResult(case, "cpu", Outcome.PASSED),)
    if share is None:
        tiers = (TierResult(Tier.CORRECT, Outcome.PASSED), TierResult(Tier.SPEED, Outcome.SKIPPED, "no GPU"))
        return Report(exercise_id, Outcome.PROVISIONAL, tiers, results, exercise_hash=exercise_hash)
    measured = Measurement(Target("share_of_copy", 0.80, 0.95), share, share, share)
    timing = Timing(case, "cuda", 1.0, 0.9, 1.1, 100, (measured,))
    tiers = (TierResult(Tier.CORRECT, Outcome.PASSED), TierResult(Tier.SPEED, Outcome.PASSED))
    return Report(exercise_id, Outcome.PASSED, tiers, results, (timing,), exercise_hash=exercise_hash)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".gpuprep" / "progress.db"


@pytest.fixture
def progress(path: Path) -> Iterator[Progress]:
    with Progress(path) as opened:
        yield opened


def test_an_attempt_comes_back_with_everything(progress: Progress) -> None:
    """What was recorded is read back: the columns and the whole report, NaN samples included."""
    case = Case({"n": 33, "dtype": "float32"})
    wrong = CaseResult(
        case,
        "cpu",
        Outcome.WRONG_VALUES,
        "1 of 33 wrong",
        samples=(Sample((32,), 1.0, float("nan")),),
        n_wrong=1,
        n_total=33,
    )
    report = Report(
        "ex_01",
        Outcome.WRONG_VALUES,
        cases=(wrong,),
        path="/w/exercises/ex_01.py",
        file_hash="f",
        exercise_hash="e",
        device="cpu",
        versions={"torch": "2.13.0"},
        seed=7,
        elapsed_s=0.5,
    )

    number = progress.record(report)

    attempt = progress.last("ex_01")
    assert attempt is not None
    assert (attempt.id, attempt.exercise_id, attempt.outcome) == (number, "ex_01", Outcome.WRONG_VALUES)
    assert (attempt.path, attempt.file_hash, attempt.exercise_hash) == ("/w/exercises/ex_01.py", "f", "e")
    assert (attempt.device, attempt.is_gold, attempt.elapsed_s) == ("cpu", False, 0.5)
    assert attempt.at.endswith("+00:00")
    assert json.dumps(attempt.report) == json.dumps(report.as_dict())


def test_records_of_an_older_version_are_still_read(progress: Progress, path: Path) -> None:
    """A report that an earlier gpuprep recorded, in which `timing` was one, counts and tells what it told."""
    wrong = CaseResult(
        Case({"n": 33}), "cpu", Outcome.WRONG_VALUES, "wrong", Diagnosis("tail", "the mask"), n_wrong=1, n_total=33
    )
    progress.record(passed(share=0.97))
    progress.record(Report("ex_02", Outcome.WRONG_VALUES, cases=(wrong,), exercise_hash="old"))
    progress.close()
    connection = sqlite3.connect(path)
    for number, text in connection.execute("SELECT id, report FROM attempts").fetchall():
        report = json.loads(text)
        timings = report.pop("timings")
        for figure in (figure for timing in timings for figure in timing["figures"]):
            del figure["target"]["of"]
        old = json.dumps({**report, "version": 1, "timing": next(iter(timings), None)})
        connection.execute("UPDATE attempts SET report = ? WHERE id = ?", (old, number))
    connection.commit()
    connection.close()

    assert progress.best()["ex_01"].is_gold
    assert progress.latest()["ex_01"].report["timing"]["figures"][0]["value"] == 0.97
    assert last_diagnosis(progress.last("ex_02")) == "tail"


def test_figures_and_versions_have_columns(progress: Progress, path: Path) -> None:
    """The measured figures and the versions can be queried without opening the report."""
    progress.record(passed(share=0.97))

    with sqlite3.connect(path) as connection:
        figures, is_gold = connection.execute("SELECT figures, is_gold FROM attempts").fetchone()
    connection.close()

    assert json.loads(figures) == [{"of": "", "figure": "share_of_copy", "value": 0.97, "low": 0.97, "high": 0.97}]
    assert is_gold == 1


def test_a_path_that_is_not_utf8_is_kept_readable(progress: Progress) -> None:
    """A file name with undecodable bytes doesn't keep an attempt from being recorded."""
    progress.record(Report("ex_01", Outcome.NOT_STARTED, message="m", path=os.fsdecode(b"/w/\xff.py")))

    attempt = progress.last("ex_01")
    assert attempt is not None
    assert attempt.path == "/w/\\udcff.py"


def test_attempts_are_listed_oldest_first(progress: Progress) -> None:
    """attempts() gives one exercise's attempts in the order in which they were made."""
    numbers = [progress.record(failed()) for _ in range(3)]
    progress.record(failed("ex_02"))

    assert [attempt.id for attempt in progress.attempts("ex_01")] == numbers
    assert progress.counts() == {"ex_01": 3, "ex_02": 1}
    assert progress.latest()["ex_01"].id == numbers[-1]


def test_gold_is_better_than_a_later_pass(progress: Progress) -> None:
    """best() prefers gold to a pass, a pass to a provisional one, and any of them to failures."""
    gold = progress.record(passed(share=0.97))
    progress.record(passed(share=0.85))
    progress.record(passed())
    progress.record(failed())
    progress.record(passed("ex_02"))
    full = progress.record(passed("ex_02", share=0.85))
    progress.record(failed("ex_02"))
    provisional = progress.record(passed("ex_03"))
    progress.record(failed("ex_03"))

    assert {key: attempt.id for key, attempt in progress.best().items()} == {
        "ex_01": gold,
        "ex_02": full,
        "ex_03": provisional,
    }


def test_among_equals_the_latest_counts(progress: Progress) -> None:
    """A second pass replaces the first in best(); of failures the latest counts, however bad."""
    progress.record(passed(share=0.85, exercise_hash="old"))
    again = progress.record(passed(share=0.85, exercise_hash="new"))
    progress.record(failed("ex_02", Outcome.TOO_SLOW))
    worse = progress.record(failed("ex_02", Outcome.COMPILE_FAILED))

    assert progress.best()["ex_01"].id == again
    assert progress.best()["ex_02"].id == worse


def test_hints_come_one_by_one_and_the_last_stays(progress: Progress) -> None:
    """show_hint() goes up the ladder by one a call and stays on its last step."""
    assert progress.hints_shown("ex_01") == 0
    assert [progress.show_hint("ex_01", 3) for _ in range(5)] == [0, 1, 2, 2, 2]
    assert progress.hints_shown("ex_01") == 3
    assert progress.hints_shown("ex_02") == 0


def test_a_hint_needs_something_to_choose_from(progress: Progress) -> None:
    """An exercise without hints is the caller's mistake, and nothing is recorded."""
    with pytest.raises(ValueError, match="ex_01"):
        progress.show_hint("ex_01", 0)
    assert progress.hints_shown("ex_01") == 0


def test_a_seen_solution_stays_seen(progress: Progress, path: Path) -> None:
    """The mark is set once, may be set again, and outlives the process."""
    progress.mark_solution_seen("ex_01")
    progress.mark_solution_seen("ex_01")

    with Progress(path) as reopened:
        assert reopened.solution_seen("ex_01")
        assert not reopened.solution_seen("ex_02")
        assert reopened.solutions_seen() == {"ex_01"}


def test_reading_a_missing_file_is_empty_and_creates_nothing(progress: Progress, path: Path) -> None:
    """Commands that only look work in a fresh workspace and leave it as it is."""
    assert progress.attempts("ex_01") == ()
    assert progress.last("ex_01") is None
    assert progress.latest() == progress.best() == progress.counts() == {}
    assert progress.hints_shown("ex_01") == 0
    assert not progress.solution_seen("ex_01")
    assert not path.parent.exists()


def test_a_file_that_was_only_just_created_reads_as_empty(progress: Progress, path: Path) -> None:
    """Between another process's creating the file and its first attempt, there is nothing to read."""
    path.parent.mkdir()
    path.touch()
    assert progress.best() == {}


def test_what_is_recorded_is_visible_to_an_open_reader(path: Path) -> None:
    """A reader that stays open sees what another connection records."""
    with Progress(path) as writer, Progress(path) as reader:
        writer.record(failed())
        assert reader.counts() == {"ex_01": 1}
        writer.record(failed())
        assert reader.counts() == {"ex_01": 2}


def test_a_reader_can_go_on_to_record(path: Path) -> None:
    """One Progress may read first and record afterwards."""
    with Progress(path) as first:
        first.record(failed())
    with Progress(path) as second:
        assert second.counts() == {"ex_01": 1}
        second.record(failed())
        assert second.counts() == {"ex_01": 2}


def test_writes_use_the_write_ahead_log_and_full_sync(progress: Progress) -> None:
    """An acknowledged attempt is on the disk: WAL mode, synchronous FULL (2)."""
    progress.record(failed())
    connection = progress._connection
    assert connection is not None
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_an_older_schema_is_migrated(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of an older version is brought up to date by a reader as by a writer, and keeps its attempts."""
    with Progress(path) as progress:
        progress.record(failed())
    added = ("ALTER TABLE attempts ADD COLUMN note TEXT NOT NULL DEFAULT 'none'",)
    monkeypatch.setattr(progress_module, "_MIGRATIONS", (*progress_module._MIGRATIONS, added))

    with Progress(path) as progress:
        assert progress.counts() == {"ex_01": 1}
        progress.record(failed())
        assert progress._rows("SELECT DISTINCT note FROM attempts") == [("none",)]


def test_a_newer_schema_asks_for_an_upgrade(path: Path) -> None:
    """A file that a newer gpuprep wrote is neither read nor written; the error says to upgrade."""
    with Progress(path) as progress:
        progress.record(failed())
    _sql(path, "PRAGMA user_version = 999")

    with Progress(path) as progress:
        for action in (progress.best, lambda: progress.record(failed())):
            with pytest.raises(ProgressError) as caught:
                action()
            assert str(path) in caught.value.message
            assert "upgrade" in (caught.value.next_step or "")


def test_an_outcome_of_a_newer_version_is_an_error_that_names_the_file(path: Path) -> None:
    """A row that makes no sense is reported, not guessed at."""
    with Progress(path) as progress:
        progress.record(failed())
        _sql(path, "UPDATE attempts SET outcome = 'MELTED'")
        with pytest.raises(ProgressError, match="MELTED") as caught:
            progress.best()
    assert str(path) in caught.value.message


def _sql(path: Path, statement: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(statement)
    connection.close()


def _garbage(path: Path) -> None:
    path.write_bytes(b"this is no database. " * 400)


def _cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def _another_database(path: Path) -> None:
    _sql(path, "DROP TABLE attempts")


@pytest.mark.parametrize("damage", [_garbage, _cut_short, _another_database])
def test_a_damaged_file_is_named_with_the_way_out(path: Path, damage: Callable[[Path], None]) -> None:
    """Reading and recording both refuse a damaged file and say how to move it aside; doing so mends it."""
    with Progress(path) as progress:
        for _ in range(5):
            progress.record(failed())
    damage(path)

    for action in (Progress.best, lambda progress: progress.record(failed())):
        with Progress(path) as progress, pytest.raises(ProgressError) as caught:
            action(progress)
        assert str(path) in caught.value.message
        assert "mv " in (caught.value.next_step or "")

    command = (caught.value.next_step or "").split(": ", 1)[1]
    subprocess.run(["sh", "-c", command], check=True)
    with Progress(path) as progress:
        progress.record(failed())
        assert progress.counts() == {"ex_01": 1}


def test_a_full_disk_loses_only_the_running_attempt(path: Path) -> None:
    """SQLite's own "database or disk is full" becomes a ProgressError, and what was there stays readable."""
    with Progress(path) as progress:
        progress.record(failed())
        connection = progress._connection
        assert connection is not None
        (n_pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {n_pages}")
        big = Report("ex_01", Outcome.RAISED, message="x" * 100_000)
        with pytest.raises(ProgressError, match="full") as caught:
            progress.record(big)
        assert str(path) in caught.value.message
        assert caught.value.next_step
        assert progress.counts() == {"ex_01": 1}
        connection.execute("PRAGMA max_page_count = 100000")
        progress.record(big)
        assert progress.counts() == {"ex_01": 2}


def test_a_file_that_stays_locked_is_reported(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When another process never lets go, the error says so after the busy timeout."""
    monkeypatch.setattr("gpuprep.database.BUSY_TIMEOUT_S", 0.1)
    with Progress(path) as progress:
        progress.record(failed())
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")

    with Progress(path) as progress:
        with pytest.raises(ProgressError, match="locked"):
            progress.record(failed())
        assert progress.counts() == {"ex_01": 1}
        blocker.close()
        progress.record(failed())


def test_a_folder_in_the_files_place_is_reported(path: Path) -> None:
    """A path that is a folder can be neither read nor written, and the error names it."""
    path.mkdir(parents=True)
    with Progress(path) as progress:
        for action in (progress.best, lambda: progress.record(failed())):
            with pytest.raises(ProgressError) as caught:
                action()
            assert str(path) in caught.value.message


def test_a_state_folder_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    """A file where the state folder should be stops the recording with an error that names the path."""
    (tmp_path / ".gpuprep").write_text("in the way")
    with Progress(tmp_path / ".gpuprep" / "progress.db") as progress, pytest.raises(ProgressError) as caught:
        progress.record(failed())
    assert ".gpuprep" in caught.value.message
    assert caught.value.next_step


def test_a_read_only_folder_is_read_but_not_written(open_folder: Path) -> None:
    """Without the right to write, what was recorded is shown and recording names the path and a next step."""
    path = open_folder / "progress.db"
    with Progress(path) as progress:
        progress.record(failed())
    path.chmod(0o444)
    open_folder.chmod(0o555)

    def look_and_record() -> str:
        with Progress(path) as progress:
            counts = progress.counts()
            try:
                progress.record(failed())
            except ProgressError as error:
                return json.dumps([counts, error.message, error.next_step, progress.counts()])
        return "recorded"

    counts, message, next_step, counts_after = json.loads(as_nobody(look_and_record))
    assert counts == counts_after == {"ex_01": 1}
    assert str(path) in message
    assert str(open_folder) in next_step
    assert sorted(open_folder.iterdir()) == [path]


def test_a_hint_is_shown_where_nothing_may_be_written(open_folder: Path) -> None:
    """The one that would come next, and that it was not noted."""
    exercise = Exercise("ex_01", "x", "X", "00_first", "triton", "x", 5, tuple(map(Hint, ("one", "two", "three"))))
    path = open_folder / "progress.db"
    with Progress(path) as progress:
        assert next_hint(exercise, progress).text == "one"
    path.chmod(0o444)
    open_folder.chmod(0o555)

    def look_twice() -> str:
        with Progress(path) as progress:
            shown = [next_hint(exercise, progress) for _ in range(2)]
        return json.dumps([[hint.text, hint.unrecorded] for hint in shown])

    first, second = json.loads(as_nobody(look_twice))
    assert first == second
    assert first[0] == "two"
    assert str(path) in first[1]


def test_an_unreadable_folder_is_reported(open_folder: Path) -> None:
    """A folder that can't even be entered is an error, not an empty record."""
    hidden = open_folder / "hidden"
    with Progress(hidden / "progress.db") as progress:
        progress.record(failed())
    hidden.chmod(0o000)

    assert as_nobody(lambda: str(Progress(hidden / "progress.db").counts())).startswith("ProgressError")
    hidden.chmod(0o755)


def test_processes_that_write_at_once_lose_nothing(path: Path) -> None:
    """Four processes record at the same time into a file that none of them has created yet: all is kept."""
    acknowledged = _write_at_once(path, 4, 40)

    with Progress(path) as progress:
        assert progress.counts() == {f"ex_{k:02}": 40 for k in range(4)}
        kept = [attempt.id for k in range(4) for attempt in progress.attempts(f"ex_{k:02}")]
    assert sorted(acknowledged) == sorted(kept) == list(range(1, 161))


def test_first_creation_is_a_race_that_all_win(tmp_path: Path) -> None:
    """Processes that create the file at the same moment wait for each other: none fails, none loses its attempt."""
    for number in range(3):
        path = tmp_path / str(number) / "progress.db"
        assert sorted(_write_at_once(path, 6, 1)) == [1, 2, 3, 4, 5, 6]


def test_a_kill_loses_nothing_acknowledged(path: Path) -> None:
    """After each of a few `kill -9` during writes the file is sound and holds all that was acknowledged."""
    assert _kill_while_writing(path, 4) >= 4


@pytest.mark.soak
def test_two_thousand_attempts_at_once_are_kept(path: Path) -> None:
    """Four processes record five hundred attempts each at once: two thousand are kept."""
    acknowledged = _write_at_once(path, 4, 500)

    with Progress(path) as progress:
        assert sum(progress.counts().values()) == 2000
    assert sorted(acknowledged) == list(range(1, 2001))


@pytest.mark.soak
def test_fifty_kills_lose_nothing_acknowledged(path: Path) -> None:
    """After each of fifty `kill -9` during writes the file is sound and holds all that was acknowledged."""
    assert _kill_while_writing(path, 50) >= 50


@pytest.mark.soak
def test_first_creation_race_repeated(tmp_path: Path) -> None:
    """The race to create the file is won by all, fifty times over."""
    for number in range(50):
        assert len(_write_at_once(tmp_path / str(number) / "progress.db", 6, 1)) == 6
