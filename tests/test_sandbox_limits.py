"""What a worker may take of the machine, and that too much of it is the worker's fault and nobody else's."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from test_sandbox import CHECKOUT, HERE, at_each_level

from gpuprep.confinement import metering
from gpuprep.confinement.permits import Level
from gpuprep.curriculum import Curriculum
from gpuprep.grading.pool import WarmPool
from gpuprep.grading.session import check
from gpuprep.model import Outcome, Report

MIB = 2**20
TAKES_50_GB = "import torch\ndef add(x, y):\n    return torch.zeros(50_000_000_000, dtype=torch.uint8)\n"
BY_TURNS = """
import mmap, os, time
def add(x, y):
    for _ in range(50):
        if os.fork() == 0:
            room = mmap.mmap(-1, 2**30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x8000)
            time.sleep(60)
            os._exit(len(room) >> 31)
    time.sleep(60)
"""


def graded(curriculum: Curriculum, path: Path, text: str, level: Level, pool: WarmPool | None = None) -> Report:
    """What a file gets for ex_01."""
    path.write_text(text)
    return check(curriculum.exercise("ex_01"), curriculum, path, device="cpu", pool=pool, timeout_s=40, sandbox=level)


@at_each_level
def test_fifty_gigabytes_at_once_are_refused(
    curriculum: Curriculum, warm_pool: WarmPool, tmp_path: Path, level: Level
) -> None:
    """By the kernel, which tells the file; and the grader goes on."""
    path = tmp_path / "ex_01_vector_add.py"
    report = graded(curriculum, path, TAKES_50_GB, level, warm_pool)
    assert report.outcome is Outcome.RAISED
    assert report.first_failure is not None
    assert "memory" in report.first_failure.message


@pytest.mark.soak
@at_each_level
def test_fifty_gigabytes_by_turns_are_the_end(
    curriculum: Curriculum, warm_pool: WarmPool, tmp_path: Path, level: Level
) -> None:
    """Of many processes, each of which takes little enough: the worker is killed, and the verdict says why."""
    report = graded(curriculum, tmp_path / "ex_01_vector_add.py", BY_TURNS, level, warm_pool)
    assert report.outcome is Outcome.CRASHED
    assert report.first_failure is not None
    assert "of memory, and was killed" in report.first_failure.message


@pytest.mark.skipif(not HERE, reason="no sandbox can be had here")
def test_worker_above_its_limit_is_killed(curriculum: Curriculum, tmp_path: Path) -> None:
    """With a limit that is soon reached: a guardian that looks, a kill, and a verdict that says what it was."""
    path = tmp_path / "ex_01_vector_add.py"
    path.write_text(BY_TURNS)
    script = f"""
        from pathlib import Path
        from gpuprep import curriculum as curricula
        from gpuprep.grading import guarded
        from gpuprep.grading.session import check
        limit = "from gpuprep.confinement import metering; metering.MAX_MEMORY_BYTES['cpu'] = 3 * 2**28;"
        guarded._GUARDIAN = guarded._GUARDIAN.replace("from gpuprep", limit + "from gpuprep", 1)
        curriculum = curricula.load(Path({str(curriculum.root)!r}))
        report = check(curriculum.exercise("ex_01"), curriculum, Path({str(path)!r}), device="cpu", sandbox="auto")
        print(report.outcome, report.message or report.first_failure.message)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("CRASHED"), done.stdout + done.stderr
    assert "took more than 0.75 GiB of memory, and was killed" in done.stdout


def test_oom_killer_takes_workers_first(tmp_path: Path) -> None:
    """When all memory of the machine is gone, it is not the grader that has to go."""
    script = f"""
        import os, sys
        sys.path.append({str(CHECKOUT)!r})
        from gpuprep.confinement.processes import start
        def work():
            os.write(1, open("/proc/self/oom_score_adj", "rb").read())
            os._exit(0)
        started = start(None, None, work)
        os.waitpid(started.pid, 0)
    """
    done = subprocess.run([sys.executable, "-I", "-S", "-c", textwrap.dedent(script)], capture_output=True, check=True)
    assert done.stdout.strip() == b"1000"


def test_meter_counts_what_children_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their memory, their memory files, and what they write into their folder."""
    monkeypatch.setitem(metering.MAX_MEMORY_BYTES, "cpu", 64 * MIB)
    monkeypatch.setitem(metering.MAX_STORED_BYTES, "cpu", 8 * MIB)
    assert _excess_of("room = bytearray(90 * 2**20)", "") == "took more than 0.0625 GiB of memory"
    hoard = "import os; hoard = os.memfd_create('x'); os.write(hoard, bytes(90 * 2**20))"
    assert _excess_of(hoard, "") == "took more than 0.0625 GiB of memory"
    assert _excess_of(f"open({str(tmp_path / 'file')!r}, 'wb').write(bytes(9 * 2**20))", str(tmp_path)).startswith(
        "wrote"
    )
    assert _excess_of("pass", "") == ""


def test_meter_counts_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million empty ones take no blocks."""
    monkeypatch.setattr(metering, "MAX_ENTRIES", 5)
    for number in range(9):
        (tmp_path / str(number)).mkdir()
    assert metering.stored(str(tmp_path))[0] > 5
    assert "files" in _excess_of("pass", str(tmp_path))


def _excess_of(text: str, folder: str) -> str:
    """What a meter says of a child that runs this."""
    code = f"{text}\nprint(flush=True)\nimport time\ntime.sleep(60)"
    child = subprocess.Popen([sys.executable, "-I", "-S", "-c", code], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        # The tests' own children are none of its.
        meter = metering.Meter("cpu", folder)
        pids = [child.pid]
        meter_of = pytest.MonkeyPatch()
        meter_of.setattr(metering, "descendants", lambda _: iter(pids))
        looks = [meter.excess() for _ in range(5)]
        meter_of.undo()
        return next(filter(None, looks), "")
    finally:
        child.kill()
        child.communicate()


def test_descendants_are_found() -> None:
    """Children, and theirs."""
    code = "import subprocess, sys; subprocess.run(['sleep', '30'])"
    child = subprocess.Popen([sys.executable, "-I", "-S", "-c", code], start_new_session=True)
    try:
        deadline = time.monotonic() + 10
        while len(found := list(metering.descendants(child.pid))) != 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(found) == 1
        assert child.pid in metering.descendants(os.getpid())
    finally:
        os.killpg(child.pid, 9)
        child.communicate()


def test_long_chain_of_forks_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Further than a recursion could go."""
    monkeypatch.setattr(metering, "_children", lambda pid: [pid + 1] if pid < 5000 else [])
    assert len(list(metering.descendants(0))) == 5000


def test_pages_of_a_fork_are_not_counted_twice() -> None:
    """A template's memory is not its workers'."""
    room = mmap.mmap(-1, 64 * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for place in range(0, 64 * MIB, 4096):
        room[place] = 1
    child = os.fork()
    if child == 0:
        time.sleep(30)
        os._exit(0)
    try:
        assert metering._roughly(child) >= 64 * MIB
        assert metering._exactly(child) < metering._roughly(child) - 24 * MIB
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
        room.close()
