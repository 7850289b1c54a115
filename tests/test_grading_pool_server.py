"""A pool in the background: found by who may, asked, hung up on, stopped, and gone without a trace."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from waiting import are_gone

from gpuprep.curriculum import Curriculum
from gpuprep.errors import WorkspaceError
from gpuprep.grading import pool_address, pool_client, pool_line
from gpuprep.grading.pool_client import PoolStatus
from gpuprep.grading.session import check
from gpuprep.model import Outcome
from gpuprep.practice import checking
from gpuprep.practice.checking import Options, check_file
from gpuprep.workspace import Workspace

CHECKOUT = Path(__file__).resolve().parent.parent


# Many processes that wait for each other: on a busy machine they take minutes.
pytestmark = pytest.mark.soak


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A runtime folder of these tests' own, so that they never meet a pool that somebody works with."""
    folder = tmp_path_factory.mktemp("runtime")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        yield folder


@pytest.fixture(scope="module")
def server(runtime: Path) -> Iterator[PoolStatus]:
    """A pool that runs."""
    started = pool_client.start()
    yield started
    pool_client.stop()
    assert are_gone([started.pid, *started.templates.values()])


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A runtime folder in which no pool runs; pools that a test starts there are stopped."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


def solution(folder: Path, body: str) -> Path:
    """A file to grade as ex_01."""
    path = folder / "ex_01_vector_add.py"
    path.write_text(f"import os, time, torch\n{body}", encoding="utf-8")
    return path


def graders(server: PoolStatus) -> list[psutil.Process]:
    """The server's children that are no templates."""
    children = psutil.Process(server.pid).children()
    return [child for child in children if child.pid not in server.templates.values()]


def test_report_is_the_one_of_a_check_in_this_process(curriculum: Curriculum, server: PoolStatus) -> None:
    """A right file and a wrong one come to the same, case for case, through the pool."""
    exercise = curriculum.exercise("ex_01")
    for path in (curriculum.reference_path(exercise), CHECKOUT / "tests/wrong/ex_01_vector_add/drops_the_tail.py"):
        here = check(exercise, curriculum, path, device="cpu")
        there = pool_client.check(exercise, curriculum, path, device="cpu")
        assert there is not None
        assert there.outcome is here.outcome
        assert [(case.case.tier, case.outcome) for case in there.cases] == [
            (c.case.tier, c.outcome) for c in here.cases
        ]
        assert (there.path, there.file_hash, there.exercise_hash) == (here.path, here.file_hash, here.exercise_hash)
        assert there.versions == here.versions


def test_events_arrive_as_they_happen(curriculum: Curriculum, server: PoolStatus) -> None:
    """Whoever waits sees what is being done."""
    exercise, events = curriculum.exercise("ex_01"), list[str]()
    pool_client.check(exercise, curriculum, curriculum.reference_path(exercise), device="cpu", on_event=events.append)
    assert events[0] == "starting"
    assert any("case 2 of" in event for event in events)


def test_error_of_the_set_up_is_raised_here(curriculum: Curriculum, server: PoolStatus, tmp_path: Path) -> None:
    """What `check` would raise is raised, with the same next step."""
    with pytest.raises(WorkspaceError) as caught:
        pool_client.check(curriculum.exercise("ex_01"), curriculum, tmp_path / "gone.py")
    assert caught.value.next_step == "gpuprep reset ex_01"


def test_check_runs_where_it_was_asked_for(
    curriculum: Curriculum, server: PoolStatus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folder and environment are the asker's, not the pool's; a relative path means the same."""
    solution(tmp_path, "raise ValueError((os.getcwd(), os.environ['TRITON_CACHE_DIR']))")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRITON_CACHE_DIR", "/of/the/asker")
    report = pool_client.check(curriculum.exercise("ex_01"), curriculum, Path("ex_01_vector_add.py"), device="cpu")
    assert report is not None
    assert repr((str(tmp_path), "/of/the/asker")) in report.message


LOOPS = "open({mark!r}, 'w').write(str(os.getpid()))\ndef add(x, y):\n    while True: pass\n"


def test_whoever_hangs_up_is_forgotten(curriculum: Curriculum, server: PoolStatus, tmp_path: Path) -> None:
    """When the asker goes away, its grader, its worker and the guardian go too; the pool stays."""
    mark = tmp_path / "pid"
    path = solution(tmp_path, LOOPS.format(mark=str(mark)))
    pool_client.begin(curriculum.exercise("ex_01"), curriculum.root, path, "cpu", None)
    (line,) = pool_client._begun.values()
    deadline = time.monotonic() + 30
    while not (mark.exists() and mark.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    worker = psutil.Process(int(mark.read_text()))
    pids = [worker.pid, worker.ppid(), *(grader.pid for grader in graders(server))]
    assert len(pids) == 3
    with line:
        pool_client._begun.clear()
    assert are_gone(pids)
    assert pool_client.status() == server


def test_grader_that_dies_leaves_the_check_to_the_asker(curriculum: Curriculum, server: PoolStatus) -> None:
    """Without an answer there is no verdict: the caller grades by itself."""

    def kill(_event: str) -> None:
        for grader in graders(server):
            grader.kill()

    exercise = curriculum.exercise("ex_01")
    path = curriculum.reference_path(exercise)
    assert pool_client.check(exercise, curriculum, path, device="cpu", on_event=kill) is None


def test_call_ahead_is_used_by_the_next_check(curriculum: Curriculum, server: PoolStatus) -> None:
    """A line that was opened early serves one check, and the next opens its own."""
    exercise = curriculum.exercise("ex_01")
    pool_line.call_ahead()
    assert len(pool_line._ahead) == 1
    for _ in range(2):
        report = pool_client.check(exercise, curriculum, curriculum.reference_path(exercise), device="cpu")
        assert report is not None
        assert report.outcome is Outcome.PROVISIONAL
        assert pool_line._ahead == []


@pytest.mark.parametrize("name", ["LD_LIBRARY_PATH", "PYTHONPATH", "LANG"])
def test_pool_of_another_environment_is_not_used(
    curriculum: Curriculum, server: PoolStatus, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """What a fork can't take over makes another pool."""
    monkeypatch.setenv(name, "/somewhere/else")
    exercise = curriculum.exercise("ex_01")
    assert pool_client.status() is None
    assert pool_client.check(exercise, curriculum, curriculum.reference_path(exercise), device="cpu") is None


def test_pool_of_another_version_is_not_used(server: PoolStatus, monkeypatch: pytest.MonkeyPatch) -> None:
    """The version is part of the name."""
    monkeypatch.setattr(pool_address.gpuprep, "__version__", "0.0.1")
    assert pool_client.status() is None


def test_greeting_with_another_name_is_refused(server: PoolStatus) -> None:
    """A pool whose file got another name does not answer to it."""
    with pool_address.opened_folder() as folder:
        assert folder is not None
        end = pool_address.connect(folder, pool_address.key())
    assert end is not None
    with pool_line.Line(end, {"name": "another", "is_for_check": False}) as line:
        assert [list(answer) for answer in line.answers()] == [["refused"]]


def test_nonsense_harms_nobody(server: PoolStatus) -> None:
    """Whoever speaks another language is hung up on."""
    with pool_address.opened_folder() as folder:
        assert folder is not None
        end = pool_address.connect(folder, pool_address.key())
    assert end is not None
    with end:
        end.sendall(b"\xff{]\n")
        end.settimeout(5)
        assert end.recv(100) == b""
    assert pool_client.status() == server


def test_start_twice_is_once(server: PoolStatus) -> None:
    """A second start finds the first one's pool."""
    assert pool_client.start() == server


def test_files_are_private(server: PoolStatus, runtime: Path) -> None:
    """The folder is its user's alone, and holds one socket."""
    folder = runtime / "gpuprep"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [stat.S_ISSOCK(path.stat().st_mode) for path in folder.iterdir()] == [True]


def test_template_that_was_killed_is_replaced(curriculum: Curriculum, server: PoolStatus) -> None:
    """The pool starts it anew before the next check."""
    os.kill(server.templates["interpreted"], signal.SIGKILL)
    exercise = curriculum.exercise("ex_01")
    report = pool_client.check(exercise, curriculum, curriculum.reference_path(exercise), device="cpu")
    assert report is not None
    assert report.outcome is Outcome.PROVISIONAL
    now = pool_client.status()
    assert now is not None
    server.templates.update(now.templates)
    assert psutil.pid_exists(now.templates["interpreted"])


def test_idle_pool_ends_and_leaves_nothing(empty: Path) -> None:
    """After its time without a question, neither process nor socket is left."""
    started = pool_client.start(idle_s=0.3)
    assert are_gone([started.pid, *started.templates.values()])
    assert list((empty / "gpuprep").iterdir()) == []


def test_stop_ends_all(empty: Path) -> None:
    """`stop` returns when nobody listens any more, and says how many it stopped."""
    started = pool_client.start()
    assert pool_client.stop() == 1
    assert pool_client.status() is None
    assert are_gone([started.pid, *started.templates.values()])
    assert list((empty / "gpuprep").iterdir()) == []
    assert pool_client.stop() == 0


def test_what_a_killed_pool_left_is_cleared_away(empty: Path) -> None:
    """Its templates end with it; its socket is removed by the next who asks."""
    started = pool_client.start()
    os.kill(started.pid, signal.SIGKILL)
    assert are_gone([started.pid, *started.templates.values()])
    assert len(list((empty / "gpuprep").iterdir())) == 1
    assert pool_client.status() is None
    assert list((empty / "gpuprep").iterdir()) == []


def test_folder_that_others_may_enter_is_not_used(empty: Path) -> None:
    """Neither asked nor listened in."""
    folder = empty / "gpuprep"
    folder.mkdir()
    folder.chmod(0o755)
    assert pool_client.status() is None
    with pytest.raises(WorkspaceError, match="open to others"):
        pool_client.start()


def test_folder_that_is_a_link_is_not_used(empty: Path) -> None:
    """Somebody else could have laid it."""
    (empty / "target").mkdir(mode=0o700)
    (empty / "gpuprep").symlink_to(empty / "target")
    with pool_address.opened_folder() as folder:
        assert folder is None


def test_home_folder_serves_without_a_runtime_folder(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no XDG_RUNTIME_DIR, it is a folder in the user's cache, however long its path."""
    home = empty / ("long" * 40)
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(home))
    with pool_address.opened_folder(is_new=True) as folder:
        assert folder is not None
        with pool_address.listen(folder, "name") or pytest.fail("not listening") as listener:
            assert pool_address.listen(folder, "name") is None
            with pool_address.connect(folder, "name") or pytest.fail("not connected") as end:
                accepted, _ = listener.accept()
                with accepted:
                    assert pool_address.is_own(accepted)
                    assert pool_address.is_own(end)
    assert (home / ".cache" / "gpuprep" / "run" / "name.sock").exists()


def test_a_silent_pool_is_given_up(curriculum: Curriculum, empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that accepts and says nothing costs its limit and no more."""
    monkeypatch.setattr(pool_line, "ANSWER_LIMIT_S", 0.2)
    exercise = curriculum.exercise("ex_01")
    with pool_address.opened_folder(is_new=True) as folder:
        assert folder is not None
        with pool_address.listen(folder, pool_address.key()) or pytest.fail("not listening"):
            started = time.monotonic()
            assert pool_client.check(exercise, curriculum, curriculum.reference_path(exercise)) is None
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("said", [b"[1]\n", b"{\n", b'{"report": {"version": 1}}\n', b'{"report": 3}\n', b""])
def test_answer_that_is_none_is_no_verdict(curriculum: Curriculum, empty: Path, said: bytes) -> None:
    """A broken answer is as good as no pool."""
    exercise = curriculum.exercise("ex_01")
    with pool_address.opened_folder(is_new=True) as folder:
        assert folder is not None
        with pool_address.listen(folder, pool_address.key()) or pytest.fail("not listening") as listener:
            pool_client.begin(exercise, curriculum.root, Path("x.py"), "cpu", None)
            accepted, _ = listener.accept()
            with accepted:
                accepted.sendall(said)
                accepted.shutdown(socket.SHUT_WR)
                assert pool_client.check(exercise, curriculum, Path("x.py"), device="cpu") is None


def test_what_must_count_is_not_asked_of_a_pool(
    curriculum: Curriculum, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--require` grades in this process: whoever listens under a pool's name could say anything."""
    exercise = curriculum.exercise("ex_01")
    workspace = Workspace(tmp_path, None, None)
    path = workspace.exercise_path(exercise)
    path.parent.mkdir(parents=True)
    path.write_bytes(curriculum.stub_path(exercise).read_bytes())
    asked: list[object] = []
    monkeypatch.setattr(pool_client, "check", lambda *args, **_: asked.append(args))
    monkeypatch.setattr(pool_client, "begin", lambda *args: asked.append(args))
    options = Options(required="speed")
    checking.ask_ahead(workspace, curriculum, [exercise], options)
    assert check_file(workspace, curriculum, exercise, options).report.outcome is Outcome.NOT_STARTED
    assert asked == []


def gpuprep(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    command = [sys.executable, "-m", "gpuprep", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=120)


def test_command_uses_a_pool_that_runs(server: PoolStatus, tmp_path: Path, curriculum: Curriculum) -> None:
    """`gpuprep check` shows and records what the pool found."""
    assert gpuprep("init", "--from", str(CHECKOUT), ".", folder=tmp_path).returncode == 0
    exercise = curriculum.exercise("ex_01")
    path = Workspace(tmp_path, None, None).exercise_path(exercise)
    path.write_bytes(curriculum.reference_path(exercise).read_bytes())
    ran = gpuprep("check", "ex_01", "--device", "cpu", "--json", folder=tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert json.loads(ran.stdout)["reports"][0]["outcome"] == "PROVISIONAL"
    listed = json.loads(gpuprep("list", "--json", folder=tmp_path).stdout)
    assert listed["exercises"][0]["outcome"] == "PROVISIONAL"


def test_ctrl_c_at_the_command_ends_the_check(server: PoolStatus, tmp_path: Path, curriculum: Curriculum) -> None:
    """The command says that nothing was recorded, and nothing goes on in the pool."""
    assert gpuprep("init", "--from", str(CHECKOUT), ".", folder=tmp_path).returncode == 0
    mark = tmp_path / "pid"
    path = Workspace(tmp_path, None, None).exercise_path(curriculum.exercise("ex_01"))
    path.write_text("import os\n" + LOOPS.format(mark=str(mark)), encoding="utf-8")
    command = [sys.executable, "-m", "gpuprep", "check", "ex_01", "--device", "cpu"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path) as ran:
        deadline = time.monotonic() + 30
        while not (mark.exists() and mark.read_text()) and time.monotonic() < deadline:
            time.sleep(0.02)
        # The pool is quicker than the command, which still imports what it shows a verdict with.
        time.sleep(1)
        ran.send_signal(signal.SIGINT)
        _, said = ran.communicate(timeout=20)
    assert ran.returncode == 130
    assert b"nothing was recorded" in said
    assert are_gone([int(mark.read_text())])


def test_pool_command(empty: Path) -> None:
    """`gpuprep pool` starts, shows and stops one."""

    def told(*arguments: str) -> dict[str, object]:
        ran = gpuprep("pool", *arguments, "--json", folder=empty)
        assert ran.returncode == 0, ran.stderr
        return {key: value for key, value in json.loads(ran.stdout).items() if key in ("running", "pid")}

    assert told() == {"running": False, "pid": None}
    started = told("start")
    assert started["running"] is True
    assert told("status") == started
    assert told("stop") == {"running": False, "pid": None}
    assert are_gone([int(str(started["pid"]))])
