"""`gpuprep watch` as a learner meets it: a real process in a pseudo-terminal, real keys, real saves, real verdicts."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import termios
import time
from pathlib import Path

import psutil
import pytest
from waiting import are_gone
from watch_latency import latencies_s
from watch_terminal import GPUPREP, WatchTerminal, save_by_renaming, save_in_place, save_with_backup, watching

from gpuprep import workspace
from gpuprep.curriculum import Curriculum
from gpuprep.progress import Progress

# Newer Pythons warn of a fork beside threads, which a test before this one may have left.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")

CHECKOUT = Path(__file__).resolve().parent.parent
WRONG = CHECKOUT / "tests" / "wrong"
PASSED = "PASSED|PROVISIONAL"
NEEDS_GXX = pytest.mark.skipif(shutil.which("g++") is None, reason="the CUDA emulator needs g++")
MEDIAN_LIMIT_S, P95_LIMIT_S = 0.3, 0.5
WITH_A_CARD = """
import sys
from gpuprep.grading import card
card.card_is_likely = lambda: True
sys.argv = ["gpuprep", "watch"]
from gpuprep.cli import main
main()
"""
LOOPS = "from pathlib import Path\nPath({mark!r}).touch()\nwhile True:\n    pass\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, curriculum: Curriculum) -> Path:
    """A workspace of this checkout's curriculum, to be copied."""
    folder = tmp_path_factory.mktemp("made") / "gym"
    workspace.init(folder, curriculum, curriculum_root=curriculum.root)
    return folder


@pytest.fixture
def gym(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh workspace, far from any pool that runs in the background."""
    for name in ("NO_COLOR", "FORCE_COLOR", "WATCHFILES_FORCE_POLLING"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return Path(shutil.copytree(made, tmp_path / "gym"))


def file_of(gym: Path, curriculum: Curriculum, exercise_id: str) -> Path:
    """The learner's file."""
    return workspace.find(gym).exercise_path(curriculum.exercise(exercise_id))


def reference_of(curriculum: Curriculum, exercise_id: str, suffix: str = ".py") -> str:
    """What passes."""
    path = curriculum.reference_path(curriculum.exercise(exercise_id)).with_suffix(suffix)
    return path.read_text(encoding="utf-8")


def n_attempts(gym: Path, exercise_id: str) -> int:
    """How many checks were recorded."""
    with Progress(workspace.find(gym).progress_path) as record:
        return record.counts().get(exercise_id, 0)


def family(terminal: WatchTerminal) -> list[psutil.Process]:
    """The watch and all that came of it."""
    return [terminal.process, *terminal.process.children(recursive=True)]


def grown(terminal: WatchTerminal) -> list[psutil.Process]:
    """The watch with a pool whose template has been started."""
    deadline = time.monotonic() + 60
    while len(family(terminal)) < 3 and time.monotonic() < deadline:
        terminal.take(0.05)
    return family(terminal)


def test_vector_add_from_a_failure_to_the_next_exercise(gym: Path, curriculum: Curriculum) -> None:
    """In 80×24: a wrong save, its diagnosis, the hint that answers it, the fix, the pass, and n leads on."""
    path = file_of(gym, curriculum, "ex_01")
    with watching(gym) as terminal:
        shown = terminal.wait("waiting for a save")
        assert "ex_01 Vector add  not tried" in shown
        assert "solution" not in shown
        assert "n next" not in shown
        save_by_renaming(path, (WRONG / "ex_01_vector_add" / "drops_the_tail.py").read_text(encoding="utf-8"))
        shown = terminal.wait("attempt 1, ")
        assert "ex_01 Vector add  WRONG_VALUES" in shown
        assert "likely cause: " in shown
        terminal.press("h")
        shown = terminal.wait("hint . of ")
        assert "last check found" in shown
        assert "WRONG_VALUES" in shown
        save_with_backup(path, reference_of(curriculum, "ex_01"))
        shown = terminal.wait("attempt 2, ")
        assert re.search(rf"ex_01 Vector add  ({PASSED})", shown)
        assert "hint 2" not in shown
        assert "1 of " in shown.splitlines()[0]
        assert "n next ex_02" in shown
        terminal.press("n")
        shown = terminal.wait("ex_02 Reduction  not tried")
        assert "attempt" not in shown
        assert terminal.leave() == 0
    assert n_attempts(gym, "ex_01") == 2


@NEEDS_GXX
def test_cuda_exercise_from_a_failure_to_the_next_exercise(gym: Path, curriculum: Curriculum) -> None:
    """The same in 120×40, from the list, with a `.cu` that is saved beside the `.py`."""
    path = file_of(gym, curriculum, "ex_15")
    with watching(gym, columns=120, rows=40) as terminal:
        terminal.wait("waiting for a save")
        terminal.press("l")
        terminal.wait("filter: ")
        terminal.press("warp")
        terminal.wait(r"filter: warp▏  1 of")
        terminal.press("\r")
        terminal.wait("ex_15 Vectorised add, warp reduce  not tried")
        wrong = WRONG / "ex_15_vector_add_warp_reduce" / "no_tail.cu"
        save_in_place(path, reference_of(curriculum, "ex_15"))
        save_in_place(path.with_suffix(".cu"), wrong.read_text(encoding="utf-8"))
        terminal.wait("WRONG_VALUES|NEVER_WRITTEN")
        terminal.press("h")
        terminal.wait("last check found")
        save_by_renaming(path.with_suffix(".cu"), reference_of(curriculum, "ex_15", ".cu"))
        shown = terminal.wait(rf"ex_15 Vectorised add, warp reduce  ({PASSED})")
        assert "n next ex_16" in shown
        terminal.press("n")
        terminal.wait("ex_16 Coalesced transpose  not tried")
        assert terminal.leave() == 0


def test_keys_and_saves_during_a_check(gym: Path, curriculum: Curriculum) -> None:
    """A key is answered while a check runs, and two saves meanwhile make one more check."""
    path = file_of(gym, curriculum, "ex_01")
    slow = "import time\ntime.sleep({seconds})\n" + reference_of(curriculum, "ex_01")
    with watching(gym) as terminal:
        terminal.wait("waiting for a save")
        save_in_place(path, slow.format(seconds=2))
        terminal.wait("checking cpu: loading")
        terminal.press("l")
        terminal.wait("filter: ", limit_s=1.5)
        terminal.press("\x1b")
        for seconds in ("0.1", "0.2"):
            save_in_place(path, slow.format(seconds=seconds))
            terminal.take(0.15)
        terminal.wait("attempt 2, ")
        terminal.take(1.0)
        assert terminal.leave() == 0
    assert n_attempts(gym, "ex_01") == 2


def test_leaving_puts_the_terminal_right_and_leaves_no_process(gym: Path) -> None:
    """The other screen is left, the cursor is back, the line discipline is what it was, and the pool is gone."""
    with watching(gym) as terminal:
        before = termios.tcgetattr(terminal.child.child_fd)
        terminal.wait("waiting for a save")
        assert termios.tcgetattr(terminal.child.child_fd) != before
        processes = grown(terminal)
        assert len(processes) >= 3
        terminal.press("q")
        terminal.wait("next: gpuprep watch")
        assert termios.tcgetattr(terminal.child.child_fd) == before
        assert terminal.wait_for_end() == 0
        assert terminal.raw.rindex(b"\x1b[?1049l") > terminal.raw.rindex(b"\x1b[?1049h")
        assert terminal.raw.rindex(b"\x1b[?25h") > terminal.raw.rindex(b"\x1b[?25l")
    assert are_gone(processes)


def test_ctrl_c_ends_an_endless_loop_with_all_its_processes(gym: Path, curriculum: Curriculum, tmp_path: Path) -> None:
    """Whatever a learner's code is doing then; nothing is recorded for it."""
    mark = tmp_path / "runs"
    with watching(gym) as terminal:
        terminal.wait("waiting for a save")
        save_in_place(file_of(gym, curriculum, "ex_01"), LOOPS.format(mark=str(mark)))
        terminal.wait_for(lambda _: mark.exists(), "the learner's code")
        processes = family(terminal)
        assert len(processes) >= 4
        assert terminal.leave("\x03", limit_s=10) == 130
    assert are_gone(processes)
    assert n_attempts(gym, "ex_01") == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_it_as_well(gym: Path, number: signal.Signals) -> None:
    """The terminal is put right first, and a shell is told which signal it was."""
    with watching(gym) as terminal:
        terminal.wait("waiting for a save")
        processes = grown(terminal)
        os.kill(terminal.child.pid, number)
        assert terminal.wait_for_end() == 128 + number
        assert b"\x1b[?1049l" in terminal.raw
    assert are_gone(processes)


def test_killed_watch_takes_its_pool_along(gym: Path) -> None:
    """Nobody has to have a chance to clear away: the pool lives as long as its owner."""
    with watching(gym) as terminal:
        terminal.wait("waiting for a save")
        processes = grown(terminal)
        os.kill(terminal.child.pid, signal.SIGKILL)
        assert terminal.wait_for_end() == -signal.SIGKILL
    assert are_gone(processes, limit_s=30)


def test_ctrl_z_gives_the_terminal_back_to_the_shell_for_a_while(gym: Path) -> None:
    """It stops like any program, and comes back where it was; what was saved meanwhile is checked then."""
    path = f"{Path(GPUPREP).parent}:{os.environ['PATH']}"
    terminal = WatchTerminal(["bash", "--norc", "-i"], gym, environment={"PS1": "shell> ", "PATH": path})
    try:
        terminal.wait("shell>")
        terminal.press("gpuprep watch\n")
        terminal.wait("waiting for a save")
        terminal.press("\x1a")
        terminal.wait(r"Stopped +gpuprep watch")
        save_in_place(gym / "exercises" / "00_foundations" / "ex_01_vector_add.py", "no Python\n")
        terminal.press("echo $((6 * 7))\n")
        terminal.wait(r"(?m)^42$")
        n_screens = terminal.raw.count(b"\x1b[?1049h")
        terminal.press("fg\n")
        terminal.wait("COMPILE_FAILED")
        assert terminal.raw.count(b"\x1b[?1049h") == n_screens + 1
        terminal.press("q")
        terminal.wait("next: gpuprep watch")
        assert terminal.leave("exit\n") == 0
    finally:
        terminal.child.close(force=True)


def test_keys_behind_ctrl_z_are_not_lost(gym: Path) -> None:
    """Where no shell is there to stop for, it goes on with what was typed."""
    with watching(gym) as terminal:
        terminal.wait("waiting for a save")
        terminal.press("\x1al")
        terminal.wait("filter: ")
        assert terminal.leave("\x03") == 130


def test_terminal_that_is_gone_takes_the_watch_along(gym: Path) -> None:
    """A window that is closed leaves no process behind."""
    with watching(gym) as terminal:
        terminal.wait("waiting for a save")
        processes = grown(terminal)
        terminal.child.ptyproc.fileobj.close()
        assert are_gone(processes, limit_s=30)


def test_resized_terminal_is_drawn_anew(gym: Path) -> None:
    """Wider and higher, then so small that hardly anything fits."""
    with watching(gym) as terminal:
        terminal.wait("waiting for a save")
        terminal.resize(120, 40)
        terminal.wait_for(lambda text: "─" * 120 in text.splitlines()[37], "the edge of the larger screen")
        terminal.resize(30, 6)
        terminal.wait_for(lambda text: "q quit" in text.splitlines()[-1], "the keys on the small screen")
        assert terminal.leave() == 0


def test_no_color_shows_the_same_without_colours(gym: Path) -> None:
    """Cursor movements are needed, colours are not."""
    with watching(gym, environment={"NO_COLOR": "1"}) as terminal:
        shown = terminal.wait("q quit")
        assert "ex_01 Vector add  not tried" in shown
        terminal.press("l")
        assert "▸ · ex_01" in terminal.wait("filter: ")
        assert terminal.leave("\x03") == 130
        assert re.search(rb"\x1b\[[0-9;]*m", terminal.raw) is None


def test_colours_are_there_otherwise(gym: Path) -> None:
    """So that the test above means something."""
    with watching(gym) as terminal:
        terminal.wait("q quit")
        assert terminal.leave() == 0
        assert re.search(rb"\x1b\[[0-9;]+m", terminal.raw)


def test_polling_says_so_and_finds_saves(gym: Path, curriculum: Curriculum) -> None:
    """Where nothing tells of changes, they are looked for."""
    with watching(gym, environment={"WATCHFILES_FORCE_POLLING": "1"}) as terminal:
        terminal.wait(r"polling \(WATCHFILES_FORCE_POLLING is set\)")
        save_by_renaming(file_of(gym, curriculum, "ex_01"), "no Python\n")
        terminal.wait("attempt 1, ")
        assert terminal.leave() == 0


def test_bench_has_the_terminal_and_gives_it_back(gym: Path, curriculum: Curriculum) -> None:
    """The command runs as if typed; here it finds no card after all, says so, and a key leads back."""
    terminal = WatchTerminal([sys.executable, "-c", WITH_A_CARD], gym, environment={"CUDA_VISIBLE_DEVICES": ""})
    try:
        terminal.wait("waiting for a save")
        assert "bench" not in terminal.text
        save_in_place(file_of(gym, curriculum, "ex_01"), "no Python\n")
        terminal.wait("b bench")
        terminal.press("b")
        shown = terminal.wait("press a key to go back to the watch")
        assert "error: " in shown
        n_screens = terminal.raw.count(b"\x1b[?1049h")
        terminal.press(" ")
        terminal.wait_for(lambda _: terminal.raw.count(b"\x1b[?1049h") > n_screens, "the screen again")
        terminal.wait("b bench")
        assert terminal.leave() == 0
    finally:
        terminal.child.close(force=True)


def test_bare_command_in_a_workspace_watches(gym: Path) -> None:
    """Where somebody sits at a terminal; in a pipe it shows what is next."""
    terminal = WatchTerminal([GPUPREP], gym)
    try:
        terminal.wait("waiting for a save")
        assert terminal.leave() == 0
    finally:
        terminal.child.close(force=True)
    piped = subprocess.run([GPUPREP], cwd=gym, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
    assert "next: gpuprep check ex_01" in piped.stdout


def test_watch_needs_a_terminal(gym: Path) -> None:
    """Without one it says what to type instead."""
    ran = subprocess.run(
        [GPUPREP, "watch"], cwd=gym, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    assert ran.returncode == 2
    assert "gpuprep check" in ran.stderr


def test_json_is_a_line_a_check_and_needs_no_terminal(gym: Path, curriculum: Curriculum) -> None:
    """For an editor that listens; a signal ends it."""
    save_in_place(file_of(gym, curriculum, "ex_01"), "no Python\n")
    command = [GPUPREP, "watch", "--json"]
    with subprocess.Popen(
        command, cwd=gym, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout is not None
        documents = [json.loads(process.stdout.readline())]
        save_in_place(file_of(gym, curriculum, "ex_01"), reference_of(curriculum, "ex_01"))
        documents.append(json.loads(process.stdout.readline()))
        processes = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    assert [document["command"] for document in documents] == ["watch", "watch"]
    assert [document["exit_code"] for document in documents] == [1, 0]
    assert documents[0]["reports"][0]["outcome"] == "COMPILE_FAILED"
    assert are_gone(processes)


@pytest.mark.soak
def test_verdict_comes_in_a_blink(gym: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """From a save of ex_01 to its verdict on the screen, without a card and with cores to spare."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    times_s = sorted(latencies_s(tmp_path / "timed", 60))
    told = f"{[round(1000 * time_s) for time_s in times_s]} ms, load {os.getloadavg()}"
    assert statistics.median(times_s) <= MEDIAN_LIMIT_S, told
    assert statistics.quantiles(times_s, n=20)[-1] <= P95_LIMIT_S, told
