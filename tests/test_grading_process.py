"""The worker's process: what it inherits, how it ends, and that nothing of it stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from waiting import SOON_S, are_gone, is_running, soon

from gpuprep.channel import NONCE_BYTES
from gpuprep.errors import GraderFaultError
from gpuprep.grading import births, process
from gpuprep.grading.process import WorkerDiedError, WorkerProcess, WorkerTimeoutError, clean

CHECKOUT = Path(__file__).resolve().parent.parent


def in_time() -> float:
    return time.monotonic() + 60


def asked_to_load(worker: WorkerProcess, path: Path, *, deadline: float | None = None) -> dict[str, object]:
    request = {"do": "load", "path": str(path), "function": "f", "driver": None}
    return worker.ask(request, deadline=deadline or in_time())


@pytest.fixture
def learner(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a learner's file."""

    def write(text: str) -> Path:
        path = tmp_path / "solution.py"
        path.write_text(textwrap.dedent(text))
        return path

    return write


@pytest.fixture(scope="module")
def shared_worker() -> Iterator[WorkerProcess]:
    """A worker for tests that leave it alive."""
    with WorkerProcess("cpu") as worker:
        worker.wait_until_ready()
        yield worker


# What a worker is


def test_ready_worker_names_its_versions(shared_worker: WorkerProcess) -> None:
    """The first message says which versions the learner's code will meet, and whether work can be counted."""
    assert {"python", "torch", "triton", "numpy"} <= set(shared_worker.versions)
    assert shared_worker.can_count
    assert shared_worker.why_not == ""


def test_worker_says_nothing_of_its_own_settings(learner: Callable[[str], Path]) -> None:
    """Memory is poisoned by a mode of torch that warns of operations; a learner's own warnings are shown."""
    path = learner("""
        import warnings
        import torch
        torch.zeros(4).put_(torch.tensor([0]), torch.ones(1))
        warnings.warn("mine")
        def f(): ...
    """)
    with WorkerProcess("cpu") as worker:
        worker.wait_until_ready()
        assert asked_to_load(worker, path)["status"] == "loaded"
        assert soon(lambda: "mine" in worker.output())
        assert "determinis" not in worker.output()


def test_environment_is_an_allow_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is named passes; tokens, PYTHON* and LD_PRELOAD don't."""
    for name in ("SECRET_TOKEN", "PYTHONPATH", "PYTHONSTARTUP", "LD_PRELOAD", "TRITON_INTERPRET", "GITHUB_TOKEN"):
        monkeypatch.setenv(name, "evil")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/lib")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    on_cpu, on_card = births.environment("cpu"), births.environment("cuda")
    assert "evil" not in {*on_cpu.values(), *on_card.values()}
    assert set(on_card) <= {*births._ENVIRONMENT, "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"}
    assert set(on_cpu) <= {*on_card, "TRITON_INTERPRET"}
    assert on_cpu["LD_LIBRARY_PATH"] == "/opt/lib"
    assert (on_cpu["TRITON_INTERPRET"], on_cpu["CUDA_VISIBLE_DEVICES"]) == ("1", "")
    assert on_card["CUDA_VISIBLE_DEVICES"] == "3"
    assert "TRITON_INTERPRET" not in on_card


def test_descriptors_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker inherits its channel, its stacks and its output, and no other file of ours."""
    monkeypatch.setattr(births, "_BOOTSTRAP", "import time; print('up', flush=True); time.sleep(600)")
    ours = os.memfd_create("ours", 0)
    try:
        with WorkerProcess("cpu") as worker:
            assert soon(lambda: "up" in worker.output())
            names = [str(Path(f"/proc/{worker.pid}/fd/{number}").readlink()) for number in _descriptors(worker.pid)]
    finally:
        os.close(ours)
    assert "/dev/null" in names
    assert not any("memfd:ours" in name for name in names)
    assert len(names) == 5


def _descriptors(pid: int | str = "self") -> list[str]:
    return [entry.name for entry in Path(f"/proc/{pid}/fd").iterdir()]


def test_own_session(shared_worker: WorkerProcess) -> None:
    """A Ctrl-C at the terminal reaches the trusted side alone: the worker is in a session of its own."""
    pid = shared_worker.pid
    assert os.getsid(pid) == pid != os.getsid(0)


# Output

CLEANED = {
    "plain": (b"plain text\n\tindented", "plain text\n\tindented"),
    "colour": (b"\x1b[1;31mred\x1b[0m", "red"),
    "cursor": (b"\x1b[2J\x1b[Hgone\x1b[?25l", "gone"),
    "title": (b"\x1b]0;evil\x07text", "text"),
    "title, other end": (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
    "title without end": (b"\x1b]0;evil\nnext line", "\nnext line"),
    "sequence without end": (b"text\x1b[31", "text31"),
    "lone escape": (b"a\x1b", "a"),
    "two bytes": (b"\x1bcreset", "reset"),
    "carriage return": (b"safe\revil", "safeevil"),
    "backspace and bell": (b"a\x08\x07b\x00", "ab"),
    "delete": (b"a\x7fb", "ab"),
    "8-bit control": ("a\x9b31mb\x85".encode(), "a31mb"),
    "no UTF-8": (b"a\xff\xfeb", "a��b"),
    "other scripts": ("ü 漢字 🚀".encode(), "ü 漢字 🚀"),
}


@pytest.mark.parametrize(("raw", "expected"), CLEANED.values(), ids=CLEANED)
def test_output_is_cleaned(raw: bytes, expected: str) -> None:
    """Escape sequences and control characters never reach a terminal; newlines and tabs stay."""
    assert clean(raw) == expected


@pytest.mark.parametrize("seed", range(3))
def test_no_control_character_survives(seed: int) -> None:
    """Whatever bytes are printed, what is shown is text."""
    import random

    data = random.Random(seed).randbytes(5000) + b"\x1b" * 3 + bytes(range(256)) * 2
    text = clean(data)
    assert all(character in "\n\t" or (character >= " " and not "\x7f" <= character <= "\x9f") for character in text)


def test_what_was_printed(shared_worker: WorkerProcess, learner: Callable[[str], Path]) -> None:
    """stdout and stderr are both captured, and both end at the cap."""
    path = learner(
        """
        import os, sys
        def f(): ...
        os.write(1, b"spam" * 20_000)
        print("to stdout", flush=True)
        print("to stderr", file=sys.stderr, flush=True)
        """
    )
    assert asked_to_load(shared_worker, path)["status"] == "loaded"
    assert soon(lambda: "to stderr" in shared_worker.output())
    assert "to stdout" in shared_worker.output()
    assert len(shared_worker.output()) <= process.OUTPUT_KEPT_BYTES


# Endings


def test_request_that_cannot_be_sent(shared_worker: WorkerProcess) -> None:
    """A grader whose arguments are of no known kind is at fault, not the worker."""
    with pytest.raises(GraderFaultError):
        shared_worker.ask({"do": "call", "args": [object()]}, deadline=in_time())


ENDINGS = {
    "exit code 0": ("import os; os._exit(0)", "exit code 0"),
    "exit code 7": ("import os; os._exit(7)", "exit code 7"),
    "segmentation fault": ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
    "abort": ("import os; os.abort()", "SIGABRT"),
    "signal without a name": ("import os; os.kill(os.getpid(), 40)", "40"),
}


@pytest.mark.parametrize(("code", "how"), ENDINGS.values(), ids=ENDINGS)
def test_death_is_named(monkeypatch: pytest.MonkeyPatch, code: str, how: str) -> None:
    """A process that ends before it answers says how, by exit code or by signal."""
    monkeypatch.setattr(births, "_BOOTSTRAP", code)
    with WorkerProcess("cpu") as worker, pytest.raises(WorkerDiedError) as caught:
        worker.ask({"do": "load"}, deadline=in_time())
    assert how in caught.value.how


GARBAGE = (
    "import socket, sys, time; end = socket.socket(fileno=int(sys.argv[2])); end.send(b'nonsense'); time.sleep(600)"
)


def test_garbage_on_the_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that writes nonsense to its channel is ended."""
    monkeypatch.setattr(births, "_BOOTSTRAP", GARBAGE)
    with WorkerProcess("cpu") as worker:
        with pytest.raises(WorkerDiedError):
            worker.ask({"do": "load"}, deadline=in_time())
        assert are_gone([worker.pid])


def test_time_limit_kills_and_names_the_line(learner: Callable[[str], Path]) -> None:
    """At the deadline the worker is killed, and the line that it was on is known."""
    path = learner("def f(): ...\nwhile True:\n    sum(())\n")
    with WorkerProcess("cpu") as worker:
        worker.wait_until_ready()
        with pytest.raises(WorkerTimeoutError):
            asked_to_load(worker, path, deadline=time.monotonic() + 0.5)
        assert are_gone([worker.pid])
        line = worker.last_line(path)
    assert line is not None
    assert line.line in (2, 3)


def test_line_is_not_taken_from_what_was_printed(learner: Callable[[str], Path]) -> None:
    """A learner's own traceback on stderr doesn't pass for the place of the crash."""
    path = learner(
        """
        import ctypes, sys
        print(f'  File "{__file__}", line 2 in f', file=sys.stderr, flush=True)
        ctypes.string_at(0)
        """
    )
    with WorkerProcess("cpu") as worker:
        worker.wait_until_ready()
        with pytest.raises(WorkerDiedError):
            asked_to_load(worker, path)
        line = worker.last_line(path)
    assert line is not None
    assert line.text == "ctypes.string_at(0)"


def test_python_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an interpreter to start, the machinery is at fault, and nothing stays open."""
    before = len(_descriptors())
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(GraderFaultError):
        WorkerProcess("cpu")
    assert len(_descriptors()) == before


def test_worker_that_dies_before_it_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that can't even import is the grader's fault; its last line says why."""
    monkeypatch.setattr(births, "_BOOTSTRAP", "raise ImportError('no torch today')")
    with WorkerProcess("cpu") as worker, pytest.raises(GraderFaultError) as caught:
        worker.wait_until_ready()
    assert "no torch today" in caught.value.message
    assert caught.value.next_step


def test_worker_that_never_gets_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that hangs while it starts is the grader's fault too."""
    monkeypatch.setattr(births, "_BOOTSTRAP", "import time; time.sleep(600)")
    monkeypatch.setattr(process, "START_LIMIT_S", 0.3)
    with WorkerProcess("cpu") as worker:
        with pytest.raises(GraderFaultError):
            worker.wait_until_ready()
        assert are_gone([worker.pid])


# Nothing stays

ANSWERS_NOTHING = "import time; time.sleep(600)"


def test_start_and_stop_leave_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds of starting and stopping leave no process, no descriptor and no thread."""
    import threading

    monkeypatch.setattr(births, "_BOOTSTRAP", ANSWERS_NOTHING)
    before = (len(_descriptors()), threading.active_count())
    pids = []
    for _ in range(5):
        with WorkerProcess("cpu") as worker:
            pids.append(worker.pid)
        worker.stop()
    assert not any(map(is_running, pids))
    assert (len(_descriptors()), threading.active_count()) == before


def test_stop_after_death(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is dead already can be stopped."""
    monkeypatch.setattr(births, "_BOOTSTRAP", "pass")
    with WorkerProcess("cpu") as worker:
        assert are_gone([worker.pid])
    assert not is_running(worker.pid)


def test_two_workers_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopping one worker leaves the other alone, and so do other children of ours."""
    other = subprocess.Popen([sys.executable, "-c", ANSWERS_NOTHING])
    try:
        monkeypatch.setattr(births, "_BOOTSTRAP", ANSWERS_NOTHING)
        with WorkerProcess("cpu") as first:
            with WorkerProcess("cpu") as second:
                assert is_running(second.pid)
            assert not is_running(second.pid)
            assert is_running(first.pid)
        assert not is_running(first.pid)
        assert is_running(other.pid)
    finally:
        other.kill()
        other.wait()


DAEMON = """
import os, sys, time
for _ in range(2):
    if os.fork():
        break
    os.setsid()
else:
    open({mark!r}, "w").write(str(os.getpid()))
time.sleep(600)
"""


def test_descendants_die_with_the_worker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A grandchild in a session of its own, with the output pipe open, goes too, whether or not its parent lives."""
    mark = tmp_path / "pid"
    monkeypatch.setattr(births, "_BOOTSTRAP", DAEMON.format(mark=str(mark)))
    with WorkerProcess("cpu"):
        assert soon(lambda: mark.exists() and mark.read_text() != "")
        pid = int(mark.read_text())
        assert is_running(pid)
    assert are_gone([pid])


# The trusted side's own end

TRUSTED = """
import sys, time
from gpuprep.grading.process import WorkerProcess
with WorkerProcess("cpu") as worker:
    worker.wait_until_ready()
    print(worker.pid, flush=True)
    time.sleep(600)
"""

CHECKING = """
import sys
from pathlib import Path
from gpuprep import curriculum
from gpuprep.grading import session
known = curriculum.load(Path(sys.argv[1]))
path = Path(sys.argv[2])
def tell(event):
    print(event, flush=True)
session.check(known.exercise("ex_01"), known, path, device="cpu", timeout_s=300, on_event=tell)
"""


def started(code: str, *arguments: str) -> subprocess.Popen[str]:
    """A Python process in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        process_group=0,
    )


def test_killed_trusted_side_takes_the_worker_along() -> None:
    """`kill -9` of the trusted side leaves no worker behind."""
    with started(TRUSTED) as trusted:
        assert trusted.stdout is not None
        pid = int(trusted.stdout.readline())
        assert is_running(pid)
        trusted.send_signal(signal.SIGKILL)
    assert are_gone([pid])


@pytest.mark.soak
def test_ctrl_c_leaves_no_process(learner: Callable[[str], Path]) -> None:
    """An interrupted check ends at once, and its worker with it, an endless loop notwithstanding."""
    path = learner("def add(x, y):\n    while True:\n        pass\n")
    with started(CHECKING, str(CHECKOUT), str(path)) as trusted:
        assert trusted.stdout is not None
        for event in trusted.stdout:
            if "case 1" in event:
                break
        workers = psutil.Process(trusted.pid).children(recursive=True)
        assert workers
        time.sleep(0.2)
        os.killpg(trusted.pid, signal.SIGINT)
        assert trusted.wait(timeout=SOON_S) != 0
    assert are_gone(workers)


def test_nonce_is_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every worker gets a nonce of its own."""
    monkeypatch.setattr(births, "_BOOTSTRAP", ANSWERS_NOTHING)
    with WorkerProcess("cpu") as first, WorkerProcess("cpu") as second:
        assert first._channel._nonce != second._channel._nonce
        assert len(first._channel._nonce) == NONCE_BYTES
