"""The commands: wiring, exit codes, what goes to stdout and what to stderr. Grading itself is replaced."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import sample_reports as samples
from typer.testing import CliRunner

from gpuprep import cli, curriculum, workspace
from gpuprep.authoring import proof
from gpuprep.errors import GraderFaultError, ProgressError
from gpuprep.grading import session
from gpuprep.model import Outcome, Report
from gpuprep.practice import doctor
from gpuprep.progress import Progress

ENTRY = """\
      - id: ex_{number:02}
        name: {name}
        title: {title}
        language: triton
        summary: "write `{name}`"
        minutes: 10
        topics: [triton]
        hints: [{{text: nudge}}, {{for: [tail], text: more}}, {{text: outline}}]
"""
NAMES = {1: "vector_add", 2: "reduction", 3: "softmax"}


def write_curriculum(root: Path) -> Path:
    """Three exercises whose files hold next to nothing."""
    entries = "".join(
        ENTRY.format(number=number, name=name, title=name.replace("_", " ").capitalize())
        for number, name in NAMES.items()
    )
    head = "version: 1\ntitle: Tiny\nmodules:\n  - id: 00_first\n    title: First\n    exercises:\n"
    plans = "plans:\n  short:\n    title: Short\n    schedule:\n      - {when: Day 1, exercises: [ex_02, ex_09]}\n"
    files = {
        "curriculum.yaml": head + entries + plans,
        "exercises/00_first/README.md": "# First\n",
    }
    for number, name in NAMES.items():
        slug = f"ex_{number:02}_{name}"
        files[f"exercises/00_first/{slug}.py"] = f"def {name}():\n    raise NotImplementedError\n"
        files[f"reference/00_first/{slug}.py"] = (
            f"def {name}():\n    # BEGIN SOLUTION\n    return {number}\n    # END SOLUTION\n"
            "    # BEGIN PROMPT\n    # raise NotImplementedError\n    # END PROMPT\n"
        )
        files[f"graders/00_first/{slug}.py"] = "GRADER = None\n"
    for relative, text in files.items():
        path = root / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def gym(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh workspace of the tiny curriculum, and the current folder in it."""
    root = write_curriculum(tmp_path / "content")
    folder = tmp_path / "gym"
    workspace.init(folder, curriculum.load(root), curriculum_root=root)
    monkeypatch.chdir(folder)
    for name in ("NO_COLOR", "FORCE_COLOR", "VISUAL", "EDITOR"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Runs the console script's function in this process."""

    def call(*arguments: str) -> Ran:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["gpuprep", *arguments])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        captured = capsys.readouterr()
        code = stopped.value.code
        assert isinstance(code, int | None)
        return Ran(code or 0, captured.out, captured.err)

    return call


@pytest.fixture
def grading(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Replaces grading: each exercise gets the report (or the exception) that the test puts in; provisional if none."""
    results: dict[str, Any] = {}
    calls: list[dict[str, Any]] = []

    def check(exercise: Any, curriculum: Any, path: Path, **options: Any) -> Report:
        calls.append({"id": exercise.id, "path": path, **options})
        options["on_event"]("starting")
        result = results.get(exercise.id, samples.provisional())
        if isinstance(result, BaseException):
            raise result
        return replace(result, exercise_id=exercise.id, path=str(path))

    monkeypatch.setattr(session, "check", check)
    results["calls"] = calls
    return results


def recorded(gym: Path) -> dict[str, int]:
    with Progress(gym / ".gpuprep" / "progress.db") as progress:
        return progress.counts()


# --- check -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("report", "arguments", "code"),
    [
        (samples.timed(), [], 0),
        (samples.provisional(), [], 0),
        (samples.provisional(), ["--require", "speed"], 1),
        (samples.timed(), ["--require", "speed"], 1),
        (samples.trusted(), ["--require", "speed"], 0),
        (samples.provisional(), ["--require", "witnessed"], 1),
        (samples.wrong_values(), [], 1),
        (samples.timed(0.801), [], 1),
        (samples.without_cases(Outcome.SKIPPED), [], 1),
        (samples.without_cases(Outcome.GRADER_FAULT), [], 3),
        (GraderFaultError("graders/x.py is broken"), [], 3),
    ],
)
def test_check_exit_code(
    gym: Path, run: Callable[..., Ran], grading: dict[str, Any], report: Any, arguments: list[str], code: int
) -> None:
    """0 passed, 1 not passed or nothing graded, 3 the grader's fault; provisional passes unless speed is required."""
    grading["ex_01"] = report
    ran = run("check", "ex_01", *arguments)
    assert ran.code == code
    assert "ex_01 Vector add" in ran.out.splitlines()[0]
    assert recorded(gym) == {"ex_01": 1}


@pytest.mark.parametrize(
    ("reports", "code"),
    [
        ([samples.timed(), samples.provisional()], 0),
        ([samples.wrong_values(), samples.provisional()], 1),
        ([samples.without_cases(Outcome.GRADER_FAULT), samples.wrong_values()], 3),
    ],
)
def test_worst_check_decides(
    gym: Path, run: Callable[..., Ran], grading: dict[str, Any], reports: list[Report], code: int
) -> None:
    """Of several checks the worst decides the exit code, and a summary ends the output."""
    grading["ex_01"], grading["ex_02"] = reports
    ran = run("check", "1", "reduction")
    assert ran.code == code
    assert "2 exercises checked" in ran.out
    assert recorded(gym) == {"ex_01": 1, "ex_02": 1}


def test_check_without_an_exercise(gym: Path, run: Callable[..., Ran], grading: dict[str, Any]) -> None:
    """Without EX the current exercise is checked; after its pass the next one is current."""
    run("check")
    run("check")
    assert [call["id"] for call in grading["calls"]] == ["ex_01", "ex_02"]


def test_check_all(gym: Path, run: Callable[..., Ran], grading: dict[str, Any]) -> None:
    """--all checks what is in the workspace, in order, and skips a file that is not there."""
    (gym / "exercises/00_first/ex_02_reduction.py").unlink()
    ran = run("check", "--all")
    assert [call["id"] for call in grading["calls"]] == ["ex_01", "ex_03"]
    assert "2 exercises checked" in ran.out


def test_check_passes_its_options_on(gym: Path, run: Callable[..., Ran], grading: dict[str, Any]) -> None:
    """--device and --timeout reach the grader, with the workspace's file."""
    run("check", "3", "--device", "cpu", "--timeout", "2.5")
    [call] = grading["calls"]
    assert (call["device"], call["timeout_s"]) == ("cpu", 2.5)
    assert call["path"] == gym / "exercises/00_first/ex_03_softmax.py"


def test_check_json(gym: Path, run: Callable[..., Ran], grading: dict[str, Any]) -> None:
    """With --json stdout is one document and nothing else."""
    grading["ex_02"] = samples.wrong_values()
    ran = run("check", "1", "2", "--json")
    assert ran.json["exit_code"] == ran.code == 1
    assert [report["outcome"] for report in ran.json["reports"]] == ["PROVISIONAL", "WRONG_VALUES"]


def test_interrupted_check(gym: Path, run: Callable[..., Ran], grading: dict[str, Any]) -> None:
    """Ctrl-C keeps what was done before, records nothing for the interrupted one, and shows no traceback."""
    grading["ex_02"] = KeyboardInterrupt()
    ran = run("check", "--all")
    assert ran.code == 130
    assert ran.err == "interrupted; nothing was recorded for ex_02\n"
    assert recorded(gym) == {"ex_01": 1}


def test_interrupt_before_anything_has_begun(gym: Path) -> None:
    """Ctrl-C while a command is being imported ends it in silence."""
    program = """
import signal, sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "gpuprep.cli":
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
sys.argv = ["gpuprep", "list"]
from gpuprep.__main__ import main
main()
"""
    ran = subprocess.run([sys.executable, "-c", program], cwd=gym, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "")


def test_interrupt_that_is_swallowed(gym: Path, run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the middle of an import that drops the exception still ends the check, at its next event."""

    def check(*_: Any, on_event: Callable[[str], None], **__: Any) -> Report:
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        on_event("the next thing")
        return samples.provisional()

    signal.signal(signal.SIGINT, signal.default_int_handler)
    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(session, "check", check)
    assert run("check", "1").code == 130
    assert recorded(gym) == {}
    assert signal.getsignal(signal.SIGINT) is before


def test_unrecorded_check(
    gym: Path, run: Callable[..., Ran], grading: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A verdict that can't be recorded is still shown; the error follows, and the exit code is 2."""

    def refuse(self: Progress, report: Report, sources: object = None, *, unkept: str = "") -> int:
        raise ProgressError("the disk is full", next_step="df -h")

    monkeypatch.setattr(Progress, "record", refuse)
    ran = run("check", "1")
    assert ran.code == 2
    assert "PROVISIONAL" in ran.out
    assert ran.err == "error: the disk is full\nnext: df -h\n"
    as_json = run("check", "1", "--json")
    assert as_json.json["error"]["message"] == "the disk is full"
    assert as_json.json["reports"][0]["outcome"] == "PROVISIONAL"


def test_missing_file(gym: Path, run: Callable[..., Ran], grading: dict[str, Any]) -> None:
    """A missing exercise file is found before anything is graded."""
    (gym / "exercises/00_first/ex_02_reduction.py").unlink()
    ran = run("check", "1", "2")
    assert ran.code == 2
    assert "next: gpuprep reset ex_02" in ran.err
    assert not grading["calls"]


# --- usage and set-up ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "next_step"),
    [
        (["check", "sofmax"], "gpuprep list"),
        (["hint", "99"], "gpuprep list"),
        (["check", "exercises/00_first/ex_02_reduction.py"], "gpuprep check ex_02"),
        (["check", "other.cu"], "gpuprep list"),
        (["check", "1", "--all"], "gpuprep check --all"),
        (["solution", "1"], "gpuprep hint ex_01"),
        (["repro", "1"], "gpuprep check ex_01"),
    ],
)
def test_errors_have_a_next_step(
    gym: Path, run: Callable[..., Ran], grading: dict[str, Any], arguments: list[str], next_step: str
) -> None:
    """What a person can mend exits 2 with a line and a next step on stderr, nothing on stdout, no traceback."""
    ran = run(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: ")
    assert ran.err.splitlines()[-1] == f"next: {next_step}"


def test_error_as_json(gym: Path, run: Callable[..., Ran]) -> None:
    """With --json an error is a document on stdout, and text on stderr as ever."""
    ran = run("hint", "sofmax", "--json")
    assert ran.json["error"]["kind"] == "UnknownExerciseError"
    assert "ex_03" in ran.err


@pytest.mark.parametrize("arguments", [["check", "--device", "tpu"], ["check", "--timeout", "0"], ["nonsense"]])
def test_usage_errors(gym: Path, run: Callable[..., Ran], arguments: list[str]) -> None:
    """Options that make no sense exit 2."""
    assert run(*arguments).code == 2


def test_no_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., Ran]) -> None:
    """Outside a workspace every command says how to make one."""
    monkeypatch.chdir(tmp_path)
    for command in ("next", "check", "list", "progress", "hint", "reset", "solution", "open", "repro"):
        ran = run(command)
        assert (ran.code, ran.err.splitlines()[-1]) == (2, "next: gpuprep init")


def test_own_bugs_keep_their_traceback(gym: Path, grading: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that no person can mend is not dressed up as one that they can."""
    grading["ex_01"] = ZeroDivisionError("ours")
    monkeypatch.setattr(sys, "argv", ["gpuprep", "check", "1"])
    with pytest.raises(ZeroDivisionError):
        cli.main()


# --- the other commands ----------------------------------------------------------------------------------------------


def test_bare_command_in_a_workspace(gym: Path, run: Callable[..., Ran]) -> None:
    """`gpuprep` alone shows what to do now."""
    assert run().out == run("next").out
    assert "ex_01_vector_add.py" in run().out


def test_bare_command_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., Ran]) -> None:
    """Outside a workspace `gpuprep` alone shows the help and how to begin."""
    monkeypatch.chdir(tmp_path)
    ran = run()
    assert ran.code == 0
    assert "Usage: gpuprep" in ran.out
    assert "gpuprep init" in ran.err


def test_init(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., Ran]) -> None:
    """init makes a workspace of the named curriculum, and later runs keep to it."""
    root = write_curriculum(tmp_path / "content")
    monkeypatch.chdir(tmp_path)
    ran = run("init", "my gym", "--from", str(root), "--plan", "short")
    assert ran.code == 0
    assert ran.out.splitlines()[-1] == "next: cd 'my gym' && gpuprep next"
    monkeypatch.chdir(tmp_path / "my gym")
    assert run("next", "--json").json["current"]["id"] == "ex_02"
    again = run("init", "--json")
    assert again.json["created"] == []
    assert again.json["plan"] == "short"


def test_list_and_progress(gym: Path, run: Callable[..., Ran], grading: dict[str, Any]) -> None:
    """Both tell the same story, as text and as JSON."""
    grading["ex_01"] = samples.timed()
    run("check", "1")
    run("check", "2")
    assert "gold" in run("list").out
    assert "2 of 3 exercises done: 1 passed (1 gold), 1 provisional" in run("progress").out
    assert "triton" in run("progress", "--by", "topic").out
    listed, progress = run("list", "--json").json, run("progress", "--json").json
    assert (listed["command"], progress["command"]) == ("list", "progress")
    assert listed["exercises"] == progress["exercises"]
    assert listed["current"] == "ex_03"


def test_hints_climb(gym: Path, run: Callable[..., Ran], grading: dict[str, Any]) -> None:
    """Each call gives one hint more; the one that answers what the last check found comes first, and says so."""
    grading["ex_01"] = samples.wrong_values()
    run("check", "1")
    first = run("hint", "--json").json
    assert (first["number"], first["of"], first["chosen_for"]) == (2, 3, "tail")
    assert "nudge" in run("hint").out
    assert "outline" in run("hint").out


# --- where one stands ------------------------------------------------------------------------------------------------


def test_history_and_compare(gym: Path, run: Callable[..., Ran], grading: dict[str, Any]) -> None:
    """The attempts of a check, and the diff of the files that were graded."""
    path = gym / "exercises/00_first/ex_01_vector_add.py"
    assert "no attempts yet" in run("history").out
    grading["ex_01"] = samples.wrong_values()
    path.write_text("def vector_add():\n    return 2\n")
    run("check", "1")
    grading["ex_01"] = samples.provisional()
    path.write_text("def vector_add():\n    return 1\n")
    run("check", "1")

    found = run("history", "1")
    assert "ex_01 Vector add  provisional, 2 attempts" in found.out.splitlines()[0]
    assert "+    return 1" in found.out.splitlines()
    pair = run("compare", "1", "first", "last", "--json").json
    assert (pair["before"]["outcome"], pair["after"]["outcome"]) == ("WRONG_VALUES", "PROVISIONAL")
    assert "-    return 2" in pair["diff"][0]["lines"]
    wrong = run("compare", "1", "1", "7")
    assert wrong.code == 2
    assert "next: gpuprep history ex_01" in wrong.err


def test_a_source_that_is_not_kept_is_said(
    gym: Path, run: Callable[..., Ran], grading: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check counts and is recorded; a remark on stderr says that its source is not, and why."""
    monkeypatch.setattr("gpuprep.attempt_sources.MAX_FILE_BYTES", 8)
    ran = run("check", "1")
    assert ran.code == 0
    assert recorded(gym) == {"ex_01": 1}
    assert "without its source" in ran.err
    assert "ex_01_vector_add.py" in ran.err


def test_next_and_progress_follow_the_plan(gym: Path, run: Callable[..., Ran], grading: dict[str, Any]) -> None:
    """With a plan, `next` says where in it the exercise stands, and `progress` what is due."""
    run("init", "--plan", "short")
    shown = run("next")
    assert "ex_02" in shown.out.splitlines()[0]
    assert "short, Day 1; today is day 1 of 1: on time" in shown.out
    assert run("next", "--json").json["schedule"]["due"] == ["ex_02"]
    assert "due by now: ex_02" in run("progress").out
    plan = run("progress", "--by", "plan")
    assert "today" in plan.out
    assert "(ex_09)" in plan.out
    run("check")
    assert "Every exercise of plan short that is here is passed." in run("next").out


def test_progress_without_plan_or_checklist(gym: Path, run: Callable[..., Ran]) -> None:
    """A workspace without a plan, and a curriculum without a checklist, say so."""
    assert "follows no study plan" in run("progress", "--by", "plan").out
    assert "has no checklist" in run("progress", "--checklist").out
    both = run("progress", "--checklist", "--by", "topic")
    assert both.code == 2
    assert "next: gpuprep progress --checklist" in both.err


def test_reset(gym: Path, run: Callable[..., Ran]) -> None:
    """reset puts the stub back and says where the old file is."""
    path = gym / "exercises/00_first/ex_01_vector_add.py"
    path.write_text("mine\n")
    result = run("reset", "1", "--json").json
    assert "NotImplementedError" in path.read_text()
    assert (Path(result["backup"]) / path.name).read_text() == "mine\n"


def test_solution(gym: Path, run: Callable[..., Ran], grading: dict[str, Any]) -> None:
    """After a pass the solution alone is on stdout, without markers; --force works before one and is noted."""
    forced = run("solution", "2", "--force")
    assert "the record says so" in forced.err.replace("\n", " ")
    run("check", "1")
    ran = run("solution", "1")
    assert ran.out == "def vector_add():\n    return 1\n"
    assert run("list", "--json").json["exercises"][1]["solution_seen"] is True


def test_open(gym: Path, run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """open starts $VISUAL with its own arguments and the exercise's file."""
    said = tmp_path / "said"
    script = "import sys; open(sys.argv[1], 'w').write(sys.argv[2])"
    monkeypatch.setenv("VISUAL", f'{sys.executable} -c "{script}" {said}')
    assert run("open", "2").code == 0
    assert said.read_text() == str(gym / "exercises/00_first/ex_02_reduction.py")


def test_doctor(run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    """doctor needs no workspace; it exits 2 when something is missing, and says how to install it."""
    item = doctor.CheckupItem("Triton", doctor.Status.MISSING, "not installed", "pip install triton")
    monkeypatch.setattr(doctor, "diagnose", lambda: doctor.Checkup((item,)))
    ran = run("doctor")
    assert ran.code == 2
    assert "pip install triton" in ran.out
    assert run("doctor", "--json").json["items"][0]["status"] == "missing"


def test_dev_stubs(tmp_path: Path, run: Callable[..., Ran]) -> None:
    """dev stubs --check exits 1 while a stub is stale; without --check it is written."""
    root = write_curriculum(tmp_path / "content")
    (root / "exercises/00_first/ex_01_vector_add.py").write_text("old\n")
    assert run("dev", "stubs", "--check", "--curriculum", str(root)).code == 1
    assert run("dev", "stubs", "--curriculum", str(root)).code == 0
    assert run("dev", "stubs", "--check", "--curriculum", str(root)).code == 0


def test_dev_new(tmp_path: Path, run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    """dev new takes the curriculum around the current folder."""
    root = write_curriculum(tmp_path / "content")
    monkeypatch.chdir(root / "reference")
    ran = run("dev", "new", "ex_46", "row_sum", "--module", "00_first", "--json")
    assert ran.json["exercise_id"] == "ex_46"
    assert (root / "reference/00_first/ex_46_row_sum.py").is_file()


def test_dev_check(tmp_path: Path, run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    """dev check proves the exercises that are named, and exits 1 where a claim doesn't hold."""
    root = write_curriculum(tmp_path / "content")
    asked = []

    def prove(curriculum: Any, only: Any = None, on_event: Any = None) -> proof.Proof:
        asked.append([exercise.id for exercise in only] if only else None)
        return proof.Proof((proof.ProofItem("reference passes", "ex_01", holds=only is None),))

    monkeypatch.setattr(proof, "prove", prove)
    assert run("dev", "check", "--curriculum", str(root)).code == 0
    ran = run("dev", "check", "2", "--curriculum", str(root), "--json")
    assert (ran.code, ran.json["holds"]) == (1, False)
    assert asked == [None, ["ex_02"]]


def test_version_and_help() -> None:
    """Typer finds every command; --help has examples and the exit codes."""
    runner = CliRunner()
    version = runner.invoke(cli.app, ["--version"])
    assert (version.exit_code, version.stdout.split()[0]) == (0, "gpuprep")
    text = runner.invoke(cli.app, ["--help"]).stdout
    assert "Exit codes" in text
    for command in (
        "init",
        "next",
        "check",
        "list",
        "progress",
        "hint",
        "reset",
        "solution",
        "open",
        "repro",
        "doctor",
    ):
        assert command in text
        assert runner.invoke(cli.app, [command, "--help"]).exit_code == 0


# --- whole processes -------------------------------------------------------------------------------------------------


def process(*arguments: str, cwd: Path, **environment: str) -> Ran:
    program = "import sys; sys.argv[0] = 'gpuprep'; from gpuprep.cli import main; main()"
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=cwd,
        env={**kept, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def test_process_of_an_unstarted_check(gym: Path) -> None:
    """A real check of a stub: exit 1, no colour in the pipe, the graded file's path. It is no attempt."""
    ran = process("check", cwd=gym)
    assert (ran.code, ran.err) == (1, "")
    assert "NOT_STARTED" in ran.out.splitlines()[0]
    assert "exercises/00_first/ex_01_vector_add.py" in ran.out.splitlines()[1]
    assert "\x1b" not in ran.out
    assert recorded(gym) == {}


def test_a_stub_again_after_an_attempt_is_recorded(gym: Path, run: Callable[..., Ran], grading: dict[str, Any]) -> None:
    """Where the record says what the file was, it has to say that it is the stub again."""
    for report in (samples.wrong_values(), samples.without_cases(Outcome.NOT_STARTED)):
        grading["ex_01"] = report
        assert run("check", "ex_01").code == 1
    assert recorded(gym) == {"ex_01": 2}


def test_process_json(gym: Path) -> None:
    """JSON parses, also where the terminal's encoding knows only ASCII."""
    ran = process("next", "--json", cwd=gym, PYTHONIOENCODING="ascii")
    assert ran.json["current"]["id"] == "ex_01"


def test_process_in_ascii(gym: Path) -> None:
    """Text falls back to ASCII where the encoding has nothing else."""
    ran = process("progress", cwd=gym, PYTHONIOENCODING="ascii")
    assert ran.code == 0
    assert ran.out.isascii()


def test_process_error(tmp_path: Path) -> None:
    """An error exits 2 with its next step and no traceback."""
    ran = process("list", cwd=tmp_path)
    assert (ran.code, ran.out) == (2, "")
    assert "Traceback" not in ran.err
    assert ran.err.splitlines()[-1] == "next: gpuprep init"


def test_reader_that_goes_away(gym: Path) -> None:
    """A closed pipe makes no noise."""
    program = "import sys; from gpuprep.cli import main; sys.argv = ['gpuprep', 'list']; sys.stdin.read(); main()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", program], cwd=gym, **pipes) as running:  # type: ignore[call-overload]
        running.stdout.close()
        running.stdin.close()
        assert running.stderr.read() == b""


@pytest.mark.parametrize("command", [["list"], ["list", "--json"], ["--help"]])
def test_output_that_has_no_room(gym: Path, command: list[str]) -> None:
    """A full disk behind stdout is a line and a next step, too."""
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "gpuprep", *command],
            cwd=gym,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert ran.returncode == 2
    assert ran.stderr.splitlines() == [
        "error: what this prints can't be written: No space left on device",
        "next: df -h, and free some space",
    ]


def test_completion(gym: Path) -> None:
    """The shell is offered the ids, and names that begin with what is typed."""
    environment = {"_GPUPREP_COMPLETE": "complete_bash", "COMP_CWORD": "2"}
    ids = process(cwd=gym, COMP_WORDS="gpuprep hint ex_", **environment)
    assert ids.out.split() == ["ex_01", "ex_02", "ex_03"]
    names = process(cwd=gym, COMP_WORDS="gpuprep check soft", **environment)
    assert names.out.split() == ["softmax"]
    assert process(cwd=gym.parent, COMP_WORDS="gpuprep hint ex_", **environment).out.split() == []


HEAVY = ["torch", "triton", "numpy", "cupy", "pydantic", "rich", "yaml"]
REPORT_IMPORTS = f"print(*(set({HEAVY}) & set(sys.modules)), file=sys.stderr)"


def test_front_is_light(tmp_path: Path) -> None:
    """Importing the front imports nothing heavy, neither rich nor YAML."""
    program = f"import sys; import gpuprep.cli; {REPORT_IMPORTS}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stderr.split() == []


@pytest.mark.parametrize(
    "arguments",
    [["next"], ["list"], ["progress"], ["hint", "1"], ["reset", "1"], ["list", "--json"], ["pool", "status"]],
)
def test_quick_commands_stay_quick(gym: Path, arguments: list[str]) -> None:
    """A quick command in a pipe runs without torch, NumPy, pydantic and rich."""
    program = f"""
import sys
from gpuprep.cli import main
sys.argv = ["gpuprep", *{arguments}]
try:
    main()
finally:
    {REPORT_IMPORTS}
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=gym)
    assert done.stderr.split() == ["yaml"]
