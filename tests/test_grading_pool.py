"""Workers from a pool: the same verdicts as cold ones, nothing carried from check to check, nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from waiting import are_gone, descendants, soon

from gpuprep.authoring.wrong import wrong_files
from gpuprep.curriculum import Curriculum
from gpuprep.grading import births, pool, session
from gpuprep.grading.pool import WarmPool
from gpuprep.grading.session import check
from gpuprep.model import Outcome, Report

CHECKOUT = Path(__file__).resolve().parent.parent
IMPORTS = "import os, signal, sys, time\nimport torch\nimport triton\nimport triton.language as tl\n"
N_SAMPLE = 10
N_SOAK = 300

Graded = Callable[..., Report]


@pytest.fixture
def own_pool() -> Iterator[WarmPool]:
    """A pool that a test may break."""
    with WarmPool() as made:
        yield made


@pytest.fixture
def graded(curriculum: Curriculum, tmp_path: Path) -> Graded:
    """Grades a text as a solution of ex_01."""

    def grade(body: str, warm: WarmPool | None, *, timeout_s: float | None = None) -> Report:
        path = tmp_path / "ex_01_vector_add.py"
        path.write_text(IMPORTS + textwrap.dedent(body), encoding="utf-8")
        exercise = curriculum.exercise("ex_01")
        return check(exercise, curriculum, path, device="cpu", timeout_s=timeout_s, pool=warm)

    return grade


def said(report: Report) -> str:
    """The message that decided the outcome."""
    failure = report.first_failure
    return report.message or (failure.message if failure else "")


def reference(curriculum: Curriculum) -> str:
    """The solution of ex_01, to put something before or behind."""
    return curriculum.reference_path(curriculum.exercise("ex_01")).read_text(encoding="utf-8")


def found(report: Report) -> dict[str, Any]:
    """All of a report that must not depend on how its workers were started."""
    cases = [
        (case.case.name, case.outcome, case.diagnosis, case.where, case.work, case.n_wrong, repr(case.samples))
        for case in report.cases
    ]
    return {"outcome": report.outcome, "cases": cases, "tiers": report.tiers, "versions": report.versions}


SAME_AS_COLD = ("ex_01", "ex_02", "ex_04")


@pytest.mark.parametrize("exercise_id", SAME_AS_COLD)
@pytest.mark.parametrize("n_wrong", [0, 1, 2])
def test_verdict_is_the_cold_one(
    curriculum: Curriculum,
    warm_pool: WarmPool,
    monkeypatch: pytest.MonkeyPatch,
    exercise_id: str,
    n_wrong: int,
) -> None:
    """From the same seed, a reference and wrong files get the same report to the last element and counted byte."""
    monkeypatch.setattr(session.secrets, "randbits", lambda _: 20260707)
    exercise = curriculum.exercise(exercise_id)
    path = [curriculum.reference_path(exercise), *wrong_files(curriculum, exercise)[::5]][n_wrong]
    cold, warm = (check(exercise, curriculum, path, device="cpu", pool=source) for source in (None, warm_pool))
    assert found(warm) == found(cold)


def test_worker_comes_from_the_template(graded: Graded, warm_pool: WarmPool) -> None:
    """A check with a pool forks: the learner's process descends from the template, by way of its guardian."""
    body = """
        def add(x, y):
            guardian = open(f"/proc/{os.getppid()}/stat").read()
            raise ValueError(f"descends from {guardian.rsplit(')', 1)[1].split()[1]}")
    """
    report = graded(body, warm_pool)
    assert f"descends from {warm_pool.pids()['interpreted']}" in said(report)


LEAVES_TRACES = """
    import numpy as np
    tl.load = torch.zeros = torch.empty_like = triton.cdiv = None
    torch.Tensor.numel = lambda self: 1
    torch.set_default_dtype(torch.float64)
    sys.modules["planted"] = sys
    sys.path.insert(0, "/planted")
    os.environ["PLANTED"] = "1"
    os.chdir("/")
    os.umask(0)
    np.random.seed(1)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    def add(x, y): return None
"""
TRACES = """
    found = [name for name, is_there in {
        "patched": None in (tl.load, torch.zeros, torch.empty_like, triton.cdiv) or torch.ones(2).numel() == 1,
        "dtype": torch.get_default_dtype() != torch.float32,
        "module": "planted" in sys.modules,
        "path": "/planted" in sys.path,
        "variable": "PLANTED" in os.environ,
        "folder": os.getcwd() == "/",
        "umask": os.umask(0o22) == 0,
        "handler": signal.getsignal(signal.SIGTERM) != signal.SIG_DFL,
        "solution": hasattr(sys.modules.get("solution"), "LEAVES"),
    }.items() if is_there]
    raise ValueError(f"found {found}")
"""


def test_checks_do_not_see_each_other(graded: Graded, warm_pool: WarmPool) -> None:
    """What one check patches, imports or sets is not there in the next one."""
    first = graded(LEAVES_TRACES, warm_pool)
    assert first.outcome is Outcome.WRONG_SIGNATURE
    assert "found []" in said(graded(TRACES, warm_pool))


def test_worker_has_the_environment_and_the_folder_of_now(
    graded: Graded, warm_pool: WarmPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A template that was started elsewhere, with other variables, forks a worker that is here, with these."""
    warm_pool.start("interpreted")
    monkeypatch.setenv("TRITON_CACHE_DIR", "/of/now")
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    monkeypatch.chdir(tmp_path)
    report = graded("raise ValueError((os.getcwd(), dict(os.environ)))", warm_pool)
    assert str(tmp_path) in said(report)
    assert "/of/now" in said(report)
    assert "SECRET_TOKEN" not in said(report)


def test_random_numbers_differ_between_checks(graded: Graded, warm_pool: WarmPool) -> None:
    """Forks don't repeat each other's draws."""
    body = "import random, numpy\nraise ValueError((random.random(), numpy.random.random()))"
    assert said(graded(body, warm_pool)) != said(graded(body, warm_pool))


def test_descriptors_are_the_workers_own(graded: Graded, warm_pool: WarmPool) -> None:
    """A forked worker has its stdio, its channel and the file for its stacks, and no socket of the template's."""
    body = """
        links = {number: os.readlink(f"/proc/self/fd/{number}") for number in range(64)
                 if os.path.exists(f"/proc/self/fd/{number}") or os.path.islink(f"/proc/self/fd/{number}")}
        sockets = [name for name in links.values() if name.startswith("socket:")]
        raise ValueError(f"{len(links)} descriptors, {len(sockets)} sockets, stdin {links[0]}")
    """
    assert "5 descriptors, 1 sockets, stdin /dev/null" in said(graded(body, warm_pool))


@pytest.mark.parametrize(
    ("body", "outcome", "word"),
    [
        ("import ctypes\ndef add(x, y):\n    ctypes.string_at(0)\n", Outcome.CRASHED, "SIGSEGV"),
        ("def add(x, y): os._exit(0)\n", Outcome.CRASHED, "exit code 0"),
        ("def add(x, y): os.closerange(3, 64)\n", Outcome.CRASHED, ""),
        ("def add(x, y): os.kill(os.getpid(), 40)\n", Outcome.CRASHED, "40"),
        ("def add(x, y): raise SystemExit(0)\n", Outcome.RAISED, "SystemExit"),
    ],
    ids=["segfault", "exit", "closes the channel", "signal", "sys.exit"],
)
def test_death_is_named(graded: Graded, warm_pool: WarmPool, body: str, outcome: Outcome, word: str) -> None:
    """How a forked worker ended is told as exactly as of a cold one."""
    report = graded(body, warm_pool)
    assert report.outcome is outcome
    assert word in said(report)


def test_endless_loop_is_ended_and_its_line_named(graded: Graded, warm_pool: WarmPool) -> None:
    """The limit holds, and the guardian asks for the stack before it kills."""
    report = graded("def add(x, y):\n    while True:\n        x.numel()\n", warm_pool, timeout_s=1)
    assert report.outcome is Outcome.TIMED_OUT
    assert report.first_failure is not None
    assert report.first_failure.where is not None
    assert report.first_failure.where.line in (6, 7)


def test_output_is_kept(graded: Graded, warm_pool: WarmPool) -> None:
    """What is printed reaches the report, cleaned."""
    assert graded("def add(x, y): print('\\033[31mred')\n", warm_pool).stdout.startswith("red\n")


DAEMON = """
    def add(x, y):
        for _ in range(3):
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    with open({mark!r}, "a") as file:
                        file.write(f"{{os.getpid()}}\\n")
                    time.sleep(600)
                os._exit(0)
        while not os.path.exists({mark!r}) or len(open({mark!r}).readlines()) < 3:
            time.sleep(0.01)
        {then}
"""
ENDS = {
    "returns": "return None",
    "crashes": "os.kill(os.getpid(), signal.SIGSEGV)",
    "hangs": "time.sleep(600)",
    "kills its guardian": "os.kill(os.getppid(), signal.SIGKILL); time.sleep(600)",
}


@pytest.mark.parametrize("then", ENDS.values(), ids=ENDS)
def test_descendants_die_with_the_check(graded: Graded, warm_pool: WarmPool, tmp_path: Path, then: str) -> None:
    """Processes in sessions of their own are found and killed, however the worker ends."""
    mark = tmp_path / "pids"
    graded(DAEMON.format(mark=str(mark), then=then), warm_pool, timeout_s=3)
    pids = [int(line) for line in mark.read_text().split()]
    assert len(pids) >= 3
    assert are_gone(pids)


def test_worker_that_kills_its_guardian_fails_its_own_check_only(
    curriculum: Curriculum, graded: Graded, warm_pool: WarmPool
) -> None:
    """The parent that a worker can kill is nobody but its own guardian."""
    template = warm_pool.pids().get("interpreted")
    report = graded("def add(x, y):\n    os.kill(os.getppid(), signal.SIGKILL)\n    time.sleep(600)\n", warm_pool)
    assert report.outcome is Outcome.CRASHED
    assert graded(reference(curriculum), warm_pool).outcome is Outcome.PROVISIONAL
    assert template in (None, warm_pool.pids()["interpreted"])


KILLS_THE_TEMPLATE = """
import os, signal
os.kill(int(open(f"/proc/{os.getppid()}/stat").read().rsplit(")", 1)[1].split()[1]), signal.SIGKILL)
"""


def test_worker_that_kills_the_template_changes_no_verdict(
    curriculum: Curriculum, graded: Graded, own_pool: WarmPool
) -> None:
    """Its own check goes on under its guardian, and the next one gets a new template."""
    body = reference(curriculum)
    assert graded(body + KILLS_THE_TEMPLATE, own_pool).outcome is Outcome.PROVISIONAL
    killed = own_pool.pids()["interpreted"]
    assert graded(body, own_pool).outcome is Outcome.PROVISIONAL
    assert own_pool.pids()["interpreted"] != killed


def test_template_that_keeps_dying_is_given_up(
    curriculum: Curriculum, graded: Graded, own_pool: WarmPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After MAX_STARTS, workers are started cold, and verdicts are what they were."""
    monkeypatch.setattr(pool, "_BOOTSTRAP", "raise SystemExit")
    body = reference(curriculum)
    reports = [graded(body, own_pool) for _ in range(pool.MAX_STARTS + 1)]
    assert {report.outcome for report in reports} == {Outcome.PROVISIONAL}
    assert own_pool.fork("cpu", b"", births.Ends(0, 0, 0)) is None


def test_template_that_is_stopped_is_replaced(
    curriculum: Curriculum, graded: Graded, own_pool: WarmPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that hangs costs a while, once; it is killed, and the check goes on with a cold worker."""
    monkeypatch.setattr(pool, "BIRTH_LIMIT_S", 0.5)
    own_pool.start("interpreted")
    assert own_pool.wait_until_warm()
    stopped = own_pool.pids()["interpreted"]
    os.kill(stopped, signal.SIGSTOP)
    assert graded(reference(curriculum), own_pool).outcome is Outcome.PROVISIONAL
    assert are_gone([stopped])


def test_template_with_a_thread_refuses(
    curriculum: Curriculum, graded: Graded, own_pool: WarmPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A template in which something has started a thread forks nothing, and says why; the worker is started cold."""
    thread = "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start();"
    monkeypatch.setattr(pool, "_BOOTSTRAP", thread + pool._BOOTSTRAP)
    forks: list[births.Forked] = []
    fork = own_pool.fork

    def watched(*args: Any, **options: Any) -> births.Forked | None:
        if made := fork(*args, **options):
            forks.append(made)
        return made

    monkeypatch.setattr(own_pool, "fork", watched)
    assert graded(reference(curriculum), own_pool).outcome is Outcome.PROVISIONAL
    assert [made.why_not for made in forks] == ["2 threads are running"]


def test_borrower_of_a_pool_ends_its_workers_later(
    curriculum: Curriculum, graded: Graded, own_pool: WarmPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a fork of the pool's owner a verdict waits for no worker's end; `settle` does, with forked and cold ones."""
    own_pool.start("interpreted")
    assert own_pool.wait_until_warm()
    before = psutil.Process().num_fds()
    own_pool.lend()
    template = psutil.Process(own_pool.pids()["interpreted"])
    assert graded(reference(curriculum), own_pool).outcome is Outcome.PROVISIONAL
    own_pool.settle()
    assert are_gone([child.pid for child in template.children(recursive=True)])
    template.kill()
    assert graded(reference(curriculum), own_pool).outcome is Outcome.PROVISIONAL
    own_pool.settle()
    # The owner's socket was let go of.
    assert psutil.Process().num_fds() == before - 1


def test_borrower_of_a_cold_pool_waits_for_it(graded: Graded, curriculum: Curriculum, own_pool: WarmPool) -> None:
    """Lent before its imports are done, a template is waited for, or done without."""
    own_pool.start("interpreted")
    own_pool.lend()
    assert graded(reference(curriculum), own_pool).outcome is Outcome.PROVISIONAL
    own_pool.settle()


@pytest.mark.parametrize("name", ["LD_LIBRARY_PATH", "LANG"])
def test_what_a_fork_can_not_take_over_is_started_cold(
    own_pool: WarmPool, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A process reads some variables only when it starts; if they have changed since, there is no fork."""
    monkeypatch.setenv(name, "/changed")
    assert own_pool.fork("cpu", b"", births.Ends(0, 0, 0)) is None


LOOPS = "import os\nopen({mark!r}, 'w').write(str(os.getpid()))\ndef add(x, y):\n    while True: pass\n"
CLIENT = """
import sys
from pathlib import Path
from gpuprep import curriculum
from gpuprep.grading.pool import WarmPool
from gpuprep.grading.session import check
loaded = curriculum.load(Path(sys.argv[1]))
with WarmPool() as pool:
    try:
        check(loaded.exercise("ex_01"), loaded, Path(sys.argv[2]), device="cpu", pool=pool)
    except KeyboardInterrupt:
        pass
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=["kill", "term", "ctrl-c"])
def test_killed_client_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    """Worker, guardian and template are gone soon after the trusted side, even in an endless loop."""
    mark, path = tmp_path / "pid", tmp_path / "ex_01_vector_add.py"
    path.write_text(LOOPS.format(mark=str(mark)), encoding="utf-8")
    with subprocess.Popen([sys.executable, "-c", CLIENT, str(CHECKOUT), str(path)], cwd=CHECKOUT) as client:
        deadline = time.monotonic() + 60
        while not (mark.exists() and mark.read_text()) and time.monotonic() < deadline:
            time.sleep(0.05)
        worker = psutil.Process(int(mark.read_text()))
        guardian = worker.parent()
        assert guardian is not None
        pids = [worker.pid, guardian.pid, guardian.ppid()]
        client.send_signal(number)
    assert are_gone(pids)


def soak(graded: Graded, warm: WarmPool, body: str, n_checks: int) -> tuple[list[int], list[int]]:
    """What all but the first 3 checks left: descriptors and threads of this process, descriptors of the template, and
    processes; and the template's memory, before them and after."""

    def count() -> list[int]:
        this, template = psutil.Process(), psutil.Process(warm.pids()["interpreted"])
        return [this.num_fds(), this.num_threads(), template.num_fds()]

    def rss() -> int:
        return psutil.Process(warm.pids()["interpreted"]).memory_info().rss

    def left() -> list[int]:
        more = [max(now - then, 0) for now, then in zip(count(), before, strict=True)]
        return [*more, len(descendants() - known)]

    for _ in range(3):
        graded(body, warm)
    before, known, rss_before = count(), descendants(), rss()
    for _ in range(n_checks):
        assert graded(body, warm).outcome is Outcome.PROVISIONAL
    # A guardian says that all is clean before it exits itself; what has leaked stays.
    soon(lambda: not any(left()))
    return left(), [rss_before, rss()]


def test_some_checks_leave_nothing(curriculum: Curriculum, graded: Graded, warm_pool: WarmPool) -> None:
    """No process, descriptor, thread or memory is left by ten checks."""
    growth, (before, after) = soak(graded, warm_pool, reference(curriculum), N_SAMPLE)
    assert growth == [0, 0, 0, 0]
    assert after < 1.02 * before


@pytest.mark.soak
def test_many_checks_leave_nothing(curriculum: Curriculum, graded: Graded, warm_pool: WarmPool) -> None:
    """Nor by 300; and this process's own memory does not grow either."""
    this = psutil.Process()
    graded(reference(curriculum), warm_pool)
    own_before = this.memory_info().rss
    growth, (before, after) = soak(graded, warm_pool, reference(curriculum), N_SOAK)
    assert growth == [0, 0, 0, 0]
    assert after < 1.02 * before
    assert this.memory_info().rss < 1.05 * own_before + 2**22
