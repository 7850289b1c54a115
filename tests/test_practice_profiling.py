"""`gpuprep profile`: when it refuses, and with what next step; what it shows of a workspace's file."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from sample_reports import provisional, timed, too_much_work, wrong_values

from gpuprep.curriculum import Curriculum
from gpuprep.errors import GpuprepError, UsageError
from gpuprep.exercise import Exercise
from gpuprep.grading import profile as looking
from gpuprep.grading.profiled import Profile
from gpuprep.model import Report
from gpuprep.practice.desk import Desk, desk_at
from gpuprep.practice.profiling import capability_of, nearest, profile_file, write_trace
from gpuprep.progress import Progress
from gpuprep.workspace import init


class NoCard:
    """A card that nothing is asked of: the looking itself is another test's."""

    name, capability, n_sms = "Pretended", "12.1", 170


@pytest.fixture
def desk(tmp_path: Path, curriculum: Curriculum) -> Desk:
    """A new workspace with ex_01's reference in place of its stub."""
    init(tmp_path / "gym", curriculum)
    desk = desk_at(tmp_path / "gym")
    exercise = desk.curriculum.exercise("ex_01")
    shutil.copy(desk.curriculum.reference_path(exercise), desk.workspace.exercise_path(exercise))
    return desk


def record(desk: Desk, report: Report) -> None:
    """Note a check."""
    with Progress(desk.workspace.progress_path) as progress:
        progress.record(report)


def seen(monkeypatch: pytest.MonkeyPatch, *, trace: bytes | None = None) -> list[dict[str, object]]:
    """Stand in for the looking; what it was asked for."""
    asked: list[dict[str, object]] = []

    def look(exercise: Exercise, _curriculum: Curriculum, path: Path, **options: object) -> Profile:
        asked.append(options)
        return Profile(exercise, str(path), str(options["capability"]), (), trace=trace)

    monkeypatch.setattr(looking, "profile", look)
    return asked


def ask(desk: Desk, **options: object) -> object:
    """Profile ex_01."""
    return profile_file(desk, desk.curriculum.exercise("ex_01"), lambda _: None, **options)  # type: ignore[arg-type]


def test_unchecked_file_is_refused(desk: Desk) -> None:
    """Nobody knows yet whether it is right."""
    with pytest.raises(GpuprepError, match="has not been checked") as raised:
        ask(desk)
    assert raised.value.next_step == "gpuprep check ex_01"


def test_wrong_file_is_refused(desk: Desk) -> None:
    """To tune what is wrong is to lose an evening."""
    record(desk, provisional())
    record(desk, wrong_values())
    with pytest.raises(GpuprepError, match="WRONG_VALUES") as raised:
        ask(desk)
    assert raised.value.next_step == "gpuprep check ex_01"


@pytest.mark.parametrize("report", [timed(0.5), too_much_work()], ids=lambda report: report.outcome)
def test_slow_verdict_is_what_it_is_for(desk: Desk, monkeypatch: pytest.MonkeyPatch, report: Report) -> None:
    """The values are right, and the question is what to do about the rest."""
    record(desk, report)
    seen(monkeypatch)
    assert ask(desk, find_card=lambda: None).outcome is report.outcome


def test_trace_without_a_card_is_refused(desk: Desk, tmp_path: Path) -> None:
    """Launches in an interpreter have no times, and nothing is written."""
    record(desk, provisional())
    with pytest.raises(GpuprepError, match="needs a GPU"):
        ask(desk, trace_path=tmp_path / "trace.json", find_card=lambda: None)
    assert not (tmp_path / "trace.json").exists()


def test_target_is_the_one_that_was_named(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the card's own, or the next lower one that is known; without a card the most common."""
    record(desk, provisional())
    asked = seen(monkeypatch)
    ask(desk, target="sm_80", find_card=lambda: None)
    ask(desk, find_card=lambda: None)
    ask(desk, find_card=NoCard)
    assert [options["capability"] for options in asked] == ["8.0", "9.0", "12.0"]


def test_unknown_target_names_the_known_ones() -> None:
    """Typed by hand, so typed wrong."""
    with pytest.raises(UsageError, match="sm_90"):
        capability_of("h100")
    assert capability_of("sm_120") == "12.0"


def test_nearest_is_never_a_newer_one() -> None:
    """A newer SM could hold more than this one does."""
    assert [nearest(name) for name in ("9.0", "8.7", "10.3", "6.1")] == ["9.0", "8.6", "10.0", "7.0"]


def test_trace_is_written(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Just as it came; and where none came, none is named."""
    record(desk, timed())
    path = tmp_path / "trace.json"
    seen(monkeypatch, trace=b"{}")
    assert ask(desk, trace_path=path, find_card=NoCard).trace_path == path
    assert path.read_bytes() == b"{}"
    seen(monkeypatch)
    assert ask(desk, trace_path=tmp_path / "other.json", find_card=NoCard).trace_path is None


def test_trace_that_cant_be_written_says_so(tmp_path: Path) -> None:
    """As a sentence."""
    with pytest.raises(UsageError, match="can't be written"):
        write_trace(tmp_path / "nowhere" / "trace.json", b"{}")


def test_changed_file_is_told(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The verdict was another file's; the file that was graded is known by its hash."""
    seen(monkeypatch)
    record(desk, provisional())
    assert ask(desk, find_card=lambda: None).has_changed
    import hashlib

    path = desk.workspace.exercise_path(desk.curriculum.exercise("ex_01"))
    record(desk, replace(provisional(), file_hash=hashlib.sha256(path.read_bytes()).hexdigest()))
    assert not ask(desk, find_card=lambda: None).has_changed


def test_command_shows_what_can_be_known(desk: Desk) -> None:
    """Without a card: counted work, the compiler's figures, and what is not known."""
    record(desk, provisional())
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "gpuprep", "profile", "ex_01", "--target", "sm_80", "--json"]
    done = subprocess.run(
        command, cwd=desk.workspace.root, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert (told["command"], told["target"], told["card"]) == ("profile", "sm_80", None)
    (operation,) = told["operations"]
    assert {figure["id"] for figure in operation["kernels"][0]["figures"]} >= {"registers", "occupancy"}
    assert {figure["id"] for figure in operation["work"]} >= {"bytes_loaded", "bytes_stored"}
    assert any("no GPU" in unknown["why"] for unknown in told["unknown"])
