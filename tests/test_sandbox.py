"""The sandbox: every exploit does its harm without it and none in it, references pass in it, and it leaves nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import pytest
from waiting import soon

from gpuprep import curriculum as curricula
from gpuprep.authoring.attack_table import attack_table
from gpuprep.authoring.exploits import Effect, Exploit, Exploited, exploits, read_exploit, try_exploit
from gpuprep.confinement import kernel, landlock, permits, rights
from gpuprep.confinement.permits import STRONGEST_FIRST, Confinement, Level
from gpuprep.curriculum import Curriculum
from gpuprep.errors import CurriculumError, GraderFaultError, UsageError, WorkspaceError
from gpuprep.grading import confining
from gpuprep.grading.confining import Cell, chosen_level, offered
from gpuprep.grading.guarded import Bounds
from gpuprep.grading.pool import WarmPool
from gpuprep.grading.process import WorkerDiedError, WorkerProcess
from gpuprep.grading.reports import report_from
from gpuprep.grading.session import check
from gpuprep.model import Outcome

CHECKOUT = Path(__file__).resolve().parent.parent
HERE = [level for level in STRONGEST_FIRST if not offered()[level]]
MISSING = {level: why for level, why in offered().items() if why}
EXPLOITS = exploits(curricula.load(CHECKOUT))
IN_EVERY_RUN = (
    "reads_the_reference reads_another_memory writes_the_grader connects_to_an_abstract_service writes_to_the_log "
    "kills_another multiplies uses_up_watches starts_from_a_descriptor asks_for_kernel_machinery "
    "makes_it_hard_to_clear_away"
).split()
"""One of a kind; the others take minutes."""

at_each_level = pytest.mark.parametrize(
    "level",
    [
        pytest.param(level, marks=pytest.mark.skipif(level in MISSING, reason=MISSING.get(level, "")))
        for level in Level
        if level is not Level.NONE
    ],
)


def in_time() -> float:
    return time.monotonic() + 60


@pytest.mark.parametrize("name", IN_EVERY_RUN)
@at_each_level
def test_exploit_does_no_harm(curriculum: Curriculum, warm_pool: WarmPool, name: str, level: Level) -> None:
    """Looked at from outside, nothing was read, changed, reached, left behind or taken."""
    exploit = next(exploit for exploit in EXPLOITS if exploit.name == name)
    assert try_exploit(exploit, curriculum, level, warm_pool).harm == ()


@pytest.mark.soak
@pytest.mark.parametrize("level", ["none", *HERE])
def test_table_holds_at_every_level(curriculum: Curriculum, level: str) -> None:
    """No attack gets through that isn't known to; an exploit does harm where nothing is confined, and only there."""
    table = attack_table(curriculum, device="cpu", sandbox=level)
    assert len(table.exploited) == len(EXPLOITS)
    assert [told for told in (*table.tried, *table.exploited, *table.judged) if is_surprising(told)] == []
    assert table.holds


def is_surprising(told: object) -> bool:
    if isinstance(told, Exploited):
        return told.effect not in (Effect.HELD, Effect.EXPECTED)
    return getattr(told, "fate", "caught") not in ("caught", "open") or not getattr(told, "is_accepted", True)


@pytest.mark.soak
@pytest.mark.skipif(os.geteuid() != 0, reason="the tests above ran as an ordinary user")
@pytest.mark.skipif(bool(MISSING), reason="not all levels are to be had here")
@pytest.mark.parametrize("level", HERE)
def test_no_exploit_does_harm_to_an_ordinary_user(level: Level) -> None:
    """Workers of somebody who can't become another user run as himself, and see files that are his own."""
    command = ["unshare", "--user", "--map-user=1000", "--map-group=1000", sys.executable, "-m", "gpuprep", "dev"]
    names = [exploit.name for exploit in EXPLOITS if not exploit.needs]
    done = subprocess.run(
        [*command, "attacks", "--sandbox", level, "--json", *names],
        capture_output=True,
        text=True,
        check=False,
        cwd=CHECKOUT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(json.loads(done.stdout)["exploits"]) == len(names)


@pytest.mark.parametrize(
    ("level", "harm", "harmless", "effect"),
    [
        (Level.NONE, ("read",), "", Effect.EXPECTED),
        (Level.NONE, (), "", Effect.IDLE),
        (Level.NONE, (), "it finds nothing", Effect.HELD),
        (Level.NONE, ("read",), "it finds nothing", Effect.HARM),
        (Level.FULL, (), "", Effect.HELD),
        (Level.FULL, ("read",), "", Effect.HARM),
    ],
)
def test_effect(level: Level, harm: tuple[str, ...], harmless: str, effect: Effect) -> None:
    """An exploit that does no harm anyway shows nothing of a sandbox, unless it says why not."""
    assert Exploited(Exploit(Path("x.py"), "It reads.", harmless), level, harm).effect is effect


@pytest.mark.parametrize("text", ["# harmles: no\n", "# harmless: no\n"])
def test_broken_exploit_is_named(tmp_path: Path, text: str) -> None:
    """An unknown declaration, and a file that does not say what it does."""
    (tmp_path / "exploit.py").write_text(text)
    with pytest.raises(CurriculumError, match=r"exploit\.py:1"):
        read_exploit(tmp_path / "exploit.py")


# What must still work


@pytest.mark.parametrize("exercise_id", ["ex_01", "ex_03", "ex_15", "ex_22"])
@at_each_level
def test_reference_passes_in_the_sandbox(
    curriculum: Curriculum, warm_pool: WarmPool, exercise_id: str, level: Level
) -> None:
    """Triton's interpreter, the CUDA emulator with its compiler, and plain torch find all that they need."""
    exercise = curriculum.exercise(exercise_id)
    path = curriculum.reference_path(exercise)
    report = check(exercise, curriculum, path, device="cpu", pool=warm_pool, witnessed=True, sandbox=level)
    assert report.outcome.is_pass, report.message or report.first_failure
    assert report.sandbox == level
    assert all(tier.outcome is Outcome.PASSED or tier.tier == "speed" for tier in report.tiers)


@pytest.mark.skipif(Level.FULL in MISSING, reason=MISSING.get(Level.FULL, ""))
def test_ranks_meet_in_a_network_of_their_own(curriculum: Curriculum, warm_pool: WarmPool) -> None:
    """Processes with namespaces of their own share a loopback interface, and talk over it."""
    exercise = curriculum.exercise("ex_28")
    path = curriculum.reference_path(exercise)
    report = check(exercise, curriculum, path, device="cpu", pool=warm_pool, world=2, sandbox="full")
    assert report.outcome.is_pass, report.message or report.first_failure


@pytest.mark.skipif(Level.LANDLOCK in MISSING, reason=MISSING.get(Level.LANDLOCK, ""))
def test_ranks_without_a_network_are_skipped_by_name(curriculum: Curriculum, warm_pool: WarmPool) -> None:
    """Where sockets can't be allowed for themselves alone, the check says so, and passes nothing."""
    exercise = curriculum.exercise("ex_28")
    path = curriculum.reference_path(exercise)
    report = check(exercise, curriculum, path, device="cpu", pool=warm_pool, world=2, sandbox="landlock")
    assert report.outcome is Outcome.SKIPPED
    assert confining.NEEDS_NETWORK in report.message


@at_each_level
def test_cold_worker_is_confined_before_it_imports(curriculum: Curriculum, tmp_path: Path, level: Level) -> None:
    """Without a template, all that a worker imports it finds in its sandbox."""
    secret = tmp_path / "secret"
    secret.write_text("kept")
    path = tmp_path / "solution.py"
    path.write_text(
        f"import sympy, torch.distributed\nprint('loaded')\ndef add(x, y): return open({str(secret)!r}).read()\n"
    )
    bounds = Cell(level, curriculum.exercise("ex_01"), curriculum, path).for_learner("cpu")
    with WorkerProcess("cpu", bounds=bounds) as worker:
        worker.wait_until_ready()
        load = {"do": "load", "path": str(path), "function": "add", "driver": None}
        assert worker.ask(load, deadline=in_time())["status"] == "loaded"
        answer = worker.ask({"do": "call", "args": [1, 2], "reverse": False}, deadline=in_time())
        assert answer["status"] == "raised"
        assert answer["type"] in ("FileNotFoundError", "PermissionError")
        assert "loaded" in worker.output()


@at_each_level
def test_how_a_confined_worker_ends_is_told(
    curriculum: Curriculum, warm_pool: WarmPool, tmp_path: Path, level: Level
) -> None:
    """A signal is named, and so is the line that it was at, whatever stands between worker and guardian."""
    path = tmp_path / "solution.py"
    for text, how in (("os.abort()", "SIGABRT"), ("os.kill(os.getpid(), 9)", "SIGKILL"), ("os._exit(7)", "code 7")):
        path.write_text(f"import os\ndef add(x, y): return x\n{text}\n")
        bounds = Cell(level, curriculum.exercise("ex_01"), curriculum, path).for_learner("cpu")
        with WorkerProcess("cpu", warm_pool, bounds=bounds) as worker:
            worker.wait_until_ready()
            load = {"do": "load", "path": str(path), "function": "add", "driver": None}
            with pytest.raises(WorkerDiedError, match=how):
                worker.ask(load, deadline=in_time())


@at_each_level
def test_line_of_an_endless_loop_is_named(
    curriculum: Curriculum, warm_pool: WarmPool, tmp_path: Path, level: Level
) -> None:
    """The time limit ends a confined worker too, and it can still say where it was."""
    exercise = curriculum.exercise("ex_01")
    path = tmp_path / "ex_01_vector_add.py"
    path.write_text("def add(x, y):\n    while True:\n        x = x\n")
    report = check(exercise, curriculum, path, device="cpu", pool=warm_pool, timeout_s=1.0, sandbox=level)
    assert report.outcome is Outcome.TIMED_OUT
    assert report.first_failure is not None
    assert report.first_failure.where is not None
    assert report.first_failure.where.line in (2, 3)


@at_each_level
def test_nothing_is_left_of_a_confined_worker(
    curriculum: Curriculum, warm_pool: WarmPool, tmp_path: Path, level: Level
) -> None:
    """Processes that left its session, and its folder, go with it."""
    path = tmp_path / "solution.py"
    path.write_text(
        textwrap.dedent("""
            import os, time
            from pathlib import Path
            def add(x, y): return x
            if os.fork() == 0:
                os.setsid()
                os.execv("/bin/sleep", ["sleep", "4711"])
            Path("left").write_text("behind")
        """)
    )
    bounds = Cell(level, curriculum.exercise("ex_01"), curriculum, path).for_learner("cpu")
    before = set(Path(tempfile.gettempdir()).glob("gpuprep-worker-*"))
    with WorkerProcess("cpu", warm_pool, bounds=bounds) as worker:
        worker.wait_until_ready()
        load = {"do": "load", "path": str(path), "function": "add", "driver": None}
        assert worker.ask(load, deadline=in_time())["status"] == "loaded"
        assert soon(lambda: "4711" in command_lines())
        worker.stop(is_awaited=True)
    assert "4711" not in command_lines()
    assert set(Path(tempfile.gettempdir()).glob("gpuprep-worker-*")) <= before


def command_lines() -> str:
    """Of all processes."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_text())
        except OSError:
            continue
    return "\n".join(found)


# What is chosen


def test_report_says_how_it_was_confined(curriculum: Curriculum, warm_pool: WarmPool) -> None:
    """The level is in the report and in its JSON, and comes back from there; without a sandbox it says so."""
    exercise = curriculum.exercise("ex_22")
    path = curriculum.reference_path(exercise)
    for asked, level in (("none", "none"), ("auto", str(next(iter(HERE), Level.NONE)))):
        report = check(exercise, curriculum, path, device="cpu", pool=warm_pool, sandbox=asked)
        document = json.loads(json.dumps(report.as_dict()))
        assert document["sandbox"] == level
        assert report_from(document).sandbox == level


@pytest.mark.gpu
@pytest.mark.parametrize("exercise_id", ["ex_01", "ex_15", "ex_22"])
@at_each_level
def test_card_is_used_in_the_sandbox(curriculum: Curriculum, exercise_id: str, level: Level) -> None:
    """Triton, CUDA C and torch are compiled, timed and audited over shared buffers, namespaces or not."""
    exercise = curriculum.exercise(exercise_id)
    report = check(exercise, curriculum, curriculum.reference_path(exercise), device="cuda", sandbox=level)
    assert report.outcome is Outcome.PASSED, report.message or report.first_failure
    assert report.sandbox == level


def test_unknown_sandbox_is_an_error() -> None:
    """A misspelt level confines nobody, so nothing is run."""
    with pytest.raises(UsageError):
        chosen_level("strong")


def test_level_that_is_not_offered_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was asked for is never replaced by less; `auto` takes the strongest that is left."""
    monkeypatch.setattr(confining, "offered", lambda: {Level.FULL: "forbidden", Level.LANDLOCK: ""})
    with pytest.raises(UsageError, match="forbidden"):
        chosen_level("full")
    assert chosen_level("auto") is Level.LANDLOCK
    monkeypatch.setattr(confining, "offered", lambda: {Level.FULL: "forbidden", Level.LANDLOCK: "unknown"})
    assert chosen_level("auto") is Level.NONE


def test_worker_that_can_not_be_confined_is_not_started(tmp_path: Path) -> None:
    """A file that is to be shown and isn't there: the grader's fault, with the reason, and no worker without it."""
    confinement = Confinement(Level.FULL, read=(str(tmp_path / "missing" / "file.py"),), uid=rights.own_user())
    with (
        WorkerProcess("cpu", bounds=Bounds(confinement)) as worker,
        pytest.raises(GraderFaultError, match=r"missing|unshare|namespaces"),
    ):
        worker.wait_until_ready()


def test_submission_that_is_a_link_is_refused(curriculum: Curriculum, tmp_path: Path) -> None:
    """It would show a file that its author could not see."""
    exercise = curriculum.exercise("ex_01")
    path = tmp_path / "ex_01.py"
    path.symlink_to(curriculum.reference_path(exercise))
    with pytest.raises(WorkspaceError, match="link"):
        Cell(Level.FULL, exercise, curriculum, path).for_learner("cpu")


# What is allowed


def test_hidden_folder_in_a_tree_that_may_be_read(tmp_path: Path) -> None:
    """What must not be read can lie in the package's own folder: of that, everything else may be."""
    tree = tmp_path / "package"
    for name in ("content/reference/deep", "content/exercises", "code"):
        (tree / name).mkdir(parents=True)
    (tree / "top.py").touch()
    whole, names = permits.without(str(tree), [str(tree / "content" / "reference")])
    assert set(whole) == {str(tree / name) for name in ("top.py", "code", "content/exercises")}
    assert set(names) == {str(tree), str(tree / "content")}


@at_each_level
def test_hidden_folder_can_not_be_read(tmp_path: Path, level: Level) -> None:
    """References that were installed beside the package, in a tree that every worker reads, stay unread."""
    tree = (tmp_path / "site-packages").resolve()
    for name in ("reference/ex_01.py", "code/module.py"):
        (tree / name).parent.mkdir(parents=True)
        (tree / name).write_text("text")
    confinement = Confinement(level, hidden=(str(tree / "reference"),), uid=rights.own_user())
    problem = problem_in(
        confinement,
        f"""
        assert open({str(tree / "code" / "module.py")!r}).read() == "text"
        assert refuses(lambda: open({str(tree / "reference" / "ex_01.py")!r}))
        """,
        tree,
    )
    assert not problem


@at_each_level
def test_sockets_where_there_is_a_card(level: Level) -> None:
    """CUDA opens a socket that waits for others, and doesn't start without one; nobody can be reached by it."""
    problem = problem_in(
        Confinement(level, device="cuda", uid=rights.own_user()),
        """
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as end:
            end.bind("\\0gpuprep-test-" + str(os.getpid()))
            end.listen()
            assert refuses(lambda: end.connect("\\0gpuprep-nobody"))
        for family, kind in ((socket.AF_UNIX, socket.SOCK_STREAM), (socket.AF_UNIX, socket.SOCK_DGRAM),
                             (socket.AF_INET, socket.SOCK_STREAM), (socket.AF_INET, socket.SOCK_SEQPACKET)):
            assert refuses(lambda: socket.socket(family, kind)), (family, kind)
        """,
    )
    assert not problem


@at_each_level
def test_pairs_of_sockets(level: Level) -> None:
    """What only its two ends can use is allowed; a datagram's socket is not, which can send to any address."""
    problem = problem_in(
        Confinement(level, uid=rights.own_user()),
        """
        for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
            one, other = socket.socketpair(socket.AF_UNIX, kind)
            one.send(b"x")
            assert other.recv(1) == b"x"
        assert refuses(lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))
        assert refuses(lambda: socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        """,
    )
    assert not problem


def problem_in(confinement: Confinement, body: str, *path: Path) -> str:
    """Run statements in a process that is confined, without a worker around them; `refuses` tells what fails.

    Args:
        confinement: of the process.
        body: statements.
        path: folders that Python looks for modules in, besides its own.

    Returns:
        What went wrong; empty if nothing did.
    """
    script = f"""
import json, os, socket, sys
sys.path += {[str(CHECKOUT), *map(str, path)]!r}
from gpuprep.confinement import lockdown
from gpuprep.confinement.permits import Confinement
from gpuprep.confinement.processes import start

def refuses(act):
    try:
        act()
    except (PermissionError, FileNotFoundError):
        return True
    return False

def work():
    lockdown.confine(confinement, folder)
{textwrap.indent(textwrap.dedent(body), "    ")}
    os._exit(0)

confinement = Confinement.from_dict(json.loads({json.dumps(confinement.as_dict())!r}))
with lockdown.private_folder(confinement) as folder:
    started = start(confinement, None, work)
    os.waitid(os.P_PID, started.pid, os.WEXITED | os.WNOWAIT)
    sys.exit(started.exit_code())
"""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, check=False)
    return done.stderr.decode() or (f"exit code {done.returncode}" if done.returncode else "")


def test_confinement_survives_its_way_to_a_template() -> None:
    """What a template is told is what was meant."""
    confinement = Confinement(Level.FULL, "cuda", ("/a",), ("/b",), ("/c",), (("d", "/e"),), has_loopback=True, uid=7)
    assert Confinement.from_dict(json.loads(json.dumps(confinement.as_dict()))) == confinement


def test_every_call_that_is_refused_has_a_number() -> None:
    """A name without a number would be refused nowhere."""
    from gpuprep.confinement import seccomp

    names = {*seccomp.REFUSED, *seccomp.OTHERS_FILES}
    assert names <= kernel.NUMBERS.keys()
    assert max(number for pair in kernel.NUMBERS.values() for number in pair if number) <= kernel.LAST_KNOWN


def test_older_kernels_get_the_rules_that_they_know() -> None:
    """Each form of a ruleset is shorter than the one before, and the last is what the first version knew."""
    sizes = [len(attempt.packed) for attempt in landlock._TO_TRY]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == 8


def test_root_has_no_user_to_become_in_a_small_range(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In a container with its own few users, no number is taken that could be somebody's."""
    read_text = Path.read_text
    for table, has_room in (("0 0 4294967295", True), ("0 100000 65536", True), ("0 1000 1", False)):

        def faked(path: Path, *args: object, table: str = table) -> str:
            return table if str(path) == "/proc/self/uid_map" else read_text(path)

        monkeypatch.setattr(os, "geteuid", lambda: 0)
        monkeypatch.setattr(Path, "read_text", faked)
        uid = rights.own_user()
        assert (uid > 1000) == has_room
        assert uid < 2**32 - 2**16
