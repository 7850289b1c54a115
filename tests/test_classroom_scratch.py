"""What a grading that was killed left, the next one removes; what another one uses stays."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
from waiting import are_gone

from gpuprep.classroom import scratch


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files of its own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_folder_goes_with_its_grading(places: Path) -> None:
    """And holds while it runs."""
    with scratch.own_folder() as folder:
        assert folder.parent == places
        assert scratch.clear_left() == ()
        assert folder.is_dir()
    assert list(places.iterdir()) == []


def test_what_was_left_is_removed(places: Path) -> None:
    """Nobody holds it: all that it belonged to were killed. Other folders are let alone."""
    (places / f"{scratch.PREFIX}dead" / "grader-1").mkdir(parents=True)
    (places / "gpuprep-grades").mkdir()
    with scratch.own_folder() as folder:
        assert sorted(places.iterdir()) == sorted([folder, places / "gpuprep-grades"])


def test_link_is_not_followed(places: Path) -> None:
    """It could lead anywhere."""
    (places / "mine" / "work").mkdir(parents=True)
    (places / f"{scratch.PREFIX}link").symlink_to(places / "mine")
    assert scratch.clear_left() == ()
    assert (places / "mine" / "work").is_dir()


def test_any_of_its_processes_holds_it(places: Path) -> None:
    """Graders live on for a moment when the command was killed, and clear away themselves."""
    (folder := places / f"{scratch.PREFIX}busy").mkdir()
    code = f"""if True:
        import sys; sys.path.append({str(Path(scratch.__file__).parents[2])!r})
        from pathlib import Path
        from gpuprep.classroom.scratch import hold
        hold(Path({str(folder)!r})); print(flush=True); sys.stdin.read()"""
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert scratch.clear_left() == ()
    finally:
        holder.kill()
        holder.communicate()
    assert scratch.clear_left() == (folder,)


@pytest.mark.parametrize("is_inside", [True, False])
def test_process_that_was_left_is_ended(places: Path, is_inside: bool) -> None:
    """A submission's, in its folder or with its environment; without a sandbox nothing else ends it."""
    (folder := places / f"{scratch.PREFIX}dead").mkdir()
    left = subprocess.Popen(
        ["sleep", "60"],
        cwd=folder if is_inside else "/",
        env={} if is_inside else {"TMPDIR": str(folder / "grader-1")},
        start_new_session=True,
    )
    try:
        assert scratch.clear_left() == (folder,)
        assert left.wait(10) == -9
    finally:
        left.kill()
        left.wait()


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root to make another user's folder")
def test_folder_of_another_user_is_his(places: Path) -> None:
    """He may be grading as well."""
    (folder := places / f"{scratch.PREFIX}theirs").mkdir()
    os.chown(folder, 12345, 12345)
    assert scratch.clear_left() == ()
    assert folder.is_dir()


HANGS = """
import os, time
if os.fork() == 0:
    os.setsid()
    os.execv("/bin/sleep", ["sleep", "4713"])
def add(x, y):
    time.sleep(300)
"""


@pytest.mark.soak
@pytest.mark.parametrize("is_all", [True, False])
def test_every_process_is_killed_at_once(places: Path, is_all: bool) -> None:
    """Or all but the submission's own: no process is left, and the next grading removes the one folder that is."""
    (places / "class" / "ada").mkdir(parents=True)
    (places / "class" / "ada" / "ex_01_vector_add.py").write_text(HANGS)
    (places / "hw.yaml").write_text("title: H\nexercises: [ex_01]\nlimits: {seconds: 100}\n")
    command = ["grade", str(places / "class"), "--assignment", str(places / "hw.yaml"), "--out", str(places / "out")]
    started = subprocess.Popen(
        [sys.executable, "-m", "gpuprep", *command, "--device", "cpu"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(places)},
    )
    tree = psutil.Process(started.pid)
    deadline = time.monotonic() + 120
    while not (theirs := [each for each in tree.children(recursive=True) if "4713" in command_of(each)]):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    killed = [tree, *tree.children(recursive=True)]
    for process in killed:
        if is_all or process not in theirs:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
    started.wait()
    left = [path for path in places.iterdir() if path.name.startswith(scratch.PREFIX)]
    assert len(left) == 1
    assert are_gone(killed, limit_s=60)
    assert scratch.clear_left() == tuple(left)


def command_of(process: psutil.Process) -> str:
    """Its command line; nothing where it has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
