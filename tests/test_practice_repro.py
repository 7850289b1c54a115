"""The failing input of the last attempt, as a script that stands alone."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gpuprep.curriculum import Curriculum, Module
from gpuprep.errors import GpuprepError, GraderFaultError, WorkspaceError
from gpuprep.exercise import Exercise, Hint
from gpuprep.model import Case, CaseResult, Outcome, Report, Tier
from gpuprep.practice.repro import ReproScript, repro
from gpuprep.practice.repro_script import ReproFacts, script_text
from gpuprep.progress import Progress
from gpuprep.workspace import Workspace

EXERCISE = Exercise("ex_01", "double", "Double", "00_first", "pytorch", "", 10, (Hint("think"),))

GRADER = """
from gpuprep.grader import Case, ErrorModel, Expected, Grader


class Double(Grader):
    function = "double"
    parameters = ("x", "factor")

    def cases(self, rng):
        return []

    def inputs(self, case, draw):
        return draw.like(case, case["n"]), 2

    def oracle(self, case, x, factor):
        expected = Expected(x.double() * factor, case["dtype"])
        x.zero_()
        return (expected,)

    def honest(self, case, x, factor, order=None):
        return (factor * x,)

    def error_model(self, case):
        return ErrorModel(1)


GRADER = Double()
"""

LEARNER = """
import os

import torch

INTERPRETED = os.environ.get("TRITON_INTERPRET")


def double(x, factor):
    print("interpreted", INTERPRETED, "stride", x.stride(), "fresh memory", torch.empty(1).item())
    out = factor * x
    out[31] += 0.5
    return out
"""

IN_TRITON = """
import torch
import triton
import triton.language as tl


@triton.jit
def _double_kernel(x_ptr, out_ptr, factor, n, step):
    lanes = tl.arange(0, 64)
    x = tl.load(x_ptr + lanes * step, mask=lanes < n)
    tl.store(out_ptr + lanes, factor * x + 0 * tl.sum(x), mask=lanes < n)


def double(x, factor):
    out = torch.empty_like(x)
    _double_kernel[(1,)](x, out, factor, x.numel(), x.stride(0))
    return out
"""

SLOT = Case({"n": 33, "dtype": "float32", "layout": "strided"})


@pytest.fixture
def curriculum(tmp_path: Path) -> Curriculum:
    root = tmp_path / "content"
    found = Curriculum(root, "All", (Module("00_first", "First", ("ex_01",)),), (EXERCISE,), ())
    for path in (found.grader_path(EXERCISE), found.stub_path(EXERCISE)):
        path.parent.mkdir(parents=True)
        path.write_text(GRADER)
    return found


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A folder whose name a careless script would stumble over."""
    found = Workspace(tmp_path / 'it\'s "mine"', None, None)
    path = found.exercise_path(EXERCISE)
    path.parent.mkdir(parents=True)
    path.write_text(LEARNER)
    return found


@pytest.fixture
def progress(workspace: Workspace) -> Iterator[Progress]:
    with Progress(workspace.progress_path) as opened:
        yield opened


def _failed(
    outcome: Outcome = Outcome.WRONG_VALUES, *, case: Case = SLOT, device: str = "cpu", message: str = "1 is wrong"
) -> CaseResult:
    return CaseResult(case, device, outcome, message)


def _record(
    progress: Progress,
    curriculum: Curriculum,
    workspace: Workspace,
    *results: CaseResult,
    outcome: Outcome = Outcome.WRONG_VALUES,
    message: str = "",
) -> None:
    progress.record(
        Report(
            "ex_01",
            outcome,
            cases=results,
            message=message,
            path=str(workspace.exercise_path(EXERCISE)),
            exercise_hash=curriculum.exercise_hash(EXERCISE),
            seed=7,
        )
    )


def _run(script: ReproScript, cwd: Path) -> str:
    """What the script prints when it is run as a learner would, far from the package."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script.path)],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env={name: value for name, value in os.environ.items() if name not in ("TRITON_INTERPRET", "PYTHONPATH")},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_masked_lanes_hold_what_they_held_in_the_check(
    curriculum: Curriculum, workspace: Workspace, progress: Progress, tmp_path: Path
) -> None:
    """A kernel that adds them up is as wrong in the script as it was there."""
    workspace.exercise_path(EXERCISE).write_text(IN_TRITON)
    _record(progress, curriculum, workspace, _failed())

    script = repro(workspace, curriculum, progress, replace(EXERCISE, language="triton"))
    assert "got nan; 33 of 33 elements differ" in _run(script, tmp_path)


def test_the_script_runs_the_failing_input_and_shows_the_error(
    curriculum: Curriculum, workspace: Workspace, progress: Progress, tmp_path: Path
) -> None:
    """The script names the case and the verdict, calls the function as the check did, and finds the wrong element."""
    passed = CaseResult(Case({"n": 1, "dtype": "float32"}), "cpu", Outcome.PASSED)
    nasty = 'quotes """ and \\ and\nlines'
    _record(progress, curriculum, workspace, passed, _failed(message=nasty))

    script = repro(workspace, curriculum, progress, EXERCISE)
    printed = _run(script, tmp_path)

    assert script.case_name == SLOT.name
    assert script.path == workspace.state_dir / "repro" / "ex_01_double.py"
    assert SLOT.name in printed
    assert nasty in printed
    assert "interpreted 1 stride (2,) fresh memory nan" in printed
    assert re.search(r"largest error 0\.5 at \[31\]", printed)
    assert "1 of 33 elements differ" in printed


def test_the_script_needs_no_gpuprep_and_survives_a_move(
    curriculum: Curriculum, workspace: Workspace, progress: Progress
) -> None:
    """Nothing of gpuprep is imported, and the learner's file is found from the script's own place."""
    _record(progress, curriculum, workspace, _failed())
    text = repro(workspace, curriculum, progress, EXERCISE).path.read_text()

    assert "import gpuprep" not in text
    assert "from gpuprep" not in text
    assert str(workspace.root) not in text


def test_in_a_terminal_the_function_runs_under_the_debugger(
    curriculum: Curriculum, workspace: Workspace, progress: Progress
) -> None:
    """With a terminal for stdin, pdb stops at the first line of the learner's function."""
    _record(progress, curriculum, workspace, _failed())
    script = repro(workspace, curriculum, progress, EXERCISE)

    controller, terminal = pty.openpty()
    os.write(controller, b"p factor + 40\nc\n")
    done = subprocess.run(
        [sys.executable, str(script.path)], stdin=terminal, capture_output=True, text=True, check=False, timeout=60
    )
    os.close(terminal)
    os.close(controller)

    assert done.returncode == 0, done.stderr
    assert "(Pdb) 42" in done.stdout
    assert "largest error 0.5" in done.stdout


def test_the_saved_inputs_are_the_checks_own(curriculum: Curriculum, workspace: Workspace, progress: Progress) -> None:
    """The same seed gives the same tensors: strides and guard bands kept, untouched by the oracle."""
    import torch

    from gpuprep.grader import Draw
    from gpuprep.grading.loading import case_seed

    _record(progress, curriculum, workspace, _failed())
    script = repro(workspace, curriculum, progress, EXERCISE)

    saved = torch.load(script.inputs_path, weights_only=True)
    x, factor = saved["inputs"]
    expected = Draw(case_seed(7, SLOT)).like(SLOT, 33)
    assert torch.equal(x, expected)
    assert x.stride() == expected.stride()
    assert x.storage_offset() == expected.storage_offset()
    assert factor == 2
    assert saved["expected"][0].dtype == torch.float32
    assert torch.equal(saved["expected"][0], 2 * x)


def test_the_case_that_decided_the_verdict_is_taken(
    curriculum: Curriculum, workspace: Workspace, progress: Progress
) -> None:
    """Of several failures, the one with the report's outcome; what was skipped is no failure."""
    skipped = _failed(Outcome.SKIPPED, case=Case({"n": 1, "dtype": "float32"}))
    wrong = _failed(case=Case({"n": 3, "dtype": "float32"}))
    shape = _failed(Outcome.WRONG_SHAPE, case=Case({"n": 31, "dtype": "float32"}))
    _record(progress, curriculum, workspace, skipped, wrong, shape, outcome=Outcome.WRONG_SHAPE)

    assert repro(workspace, curriculum, progress, EXERCISE).case_name == "n=31 float32"


def test_a_failure_on_a_card_runs_compiled(curriculum: Curriculum, workspace: Workspace, progress: Progress) -> None:
    """A case that failed on the GPU is loaded there, and the interpreter stays off."""
    _record(progress, curriculum, workspace, _failed(device="cuda"))
    text = repro(workspace, curriculum, progress, EXERCISE).path.read_text()

    assert "DEVICE = 'cuda'" in text
    assert 'os.environ["TRITON_INTERPRET"] = "1"' not in text


def test_a_timed_case_needs_the_card_again(
    curriculum: Curriculum, workspace: Workspace, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The timed case's inputs are drawn on the card, so without one the error says what is missing."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    timed = Case({"n": 64, "dtype": "float32"}, Tier.SPEED, ("cuda",))
    _record(progress, curriculum, workspace, _failed(case=timed, device="cuda"))

    with pytest.raises(GpuprepError, match="GPU") as caught:
        repro(workspace, curriculum, progress, EXERCISE)
    assert caught.value.next_step


def _hide(progress: Progress, where: str) -> None:
    """Marks all recorded cases as hidden, in one of the places that could say so."""
    statement = {
        "tier": "UPDATE attempts SET report = json_set(report, '$.cases[0].case.tier', 'hidden')",
        "case": "UPDATE attempts SET report = json_set(report, '$.cases[0].case.hidden', json('true'))",
        "result": "UPDATE attempts SET report = json_set(report, '$.cases[0].hidden', json('true'))",
    }[where]
    with progress._writing() as connection:
        connection.execute(statement)


@pytest.mark.parametrize("where", ["tier", "case", "result"])
def test_a_hidden_case_is_never_written(
    curriculum: Curriculum, workspace: Workspace, progress: Progress, where: str
) -> None:
    """A failure on hidden cases only gives nothing away."""
    _record(progress, curriculum, workspace, _failed())
    _hide(progress, where)

    with pytest.raises(GpuprepError, match="hidden"):
        repro(workspace, curriculum, progress, EXERCISE)
    assert not (workspace.state_dir / "repro").exists()


def test_beside_a_hidden_case_an_open_one_is_written(
    curriculum: Curriculum, workspace: Workspace, progress: Progress
) -> None:
    """The first failure that is not hidden is taken."""
    _record(progress, curriculum, workspace, _failed(), _failed(case=Case({"n": 3, "dtype": "float32"})))
    _hide(progress, "case")

    assert repro(workspace, curriculum, progress, EXERCISE).case_name == "n=3 float32"


@pytest.mark.parametrize("outcome", [Outcome.COMPILE_FAILED, Outcome.NOT_STARTED, Outcome.WRONG_SIGNATURE])
def test_a_failure_before_any_case_has_no_input(
    curriculum: Curriculum, workspace: Workspace, progress: Progress, outcome: Outcome
) -> None:
    """The error says so, and what to type instead."""
    _record(progress, curriculum, workspace, outcome=outcome, message="it does not parse")

    with pytest.raises(GpuprepError, match=outcome) as caught:
        repro(workspace, curriculum, progress, EXERCISE)
    assert caught.value.next_step


def test_without_an_attempt_there_is_no_input(curriculum: Curriculum, workspace: Workspace, progress: Progress) -> None:
    """The error says to check first."""
    with pytest.raises(GpuprepError, match="ex_01") as caught:
        repro(workspace, curriculum, progress, EXERCISE)
    assert caught.value.next_step == "gpuprep check ex_01"


def test_after_a_pass_there_is_no_input(curriculum: Curriculum, workspace: Workspace, progress: Progress) -> None:
    """Only the last attempt counts: an older failure isn't dug out."""
    _record(progress, curriculum, workspace, _failed())
    passed = CaseResult(SLOT, "cpu", Outcome.PASSED)
    _record(progress, curriculum, workspace, passed, outcome=Outcome.PROVISIONAL)

    with pytest.raises(GpuprepError, match="passed"):
        repro(workspace, curriculum, progress, EXERCISE)


def test_a_changed_exercise_must_be_checked_again(
    curriculum: Curriculum, workspace: Workspace, progress: Progress
) -> None:
    """Another grader would draw other inputs; none are invented."""
    _record(progress, curriculum, workspace, _failed())
    curriculum.grader_path(EXERCISE).write_text(GRADER + "# changed\n")

    with pytest.raises(GpuprepError, match="changed") as caught:
        repro(workspace, curriculum, progress, EXERCISE)
    assert caught.value.next_step == "gpuprep check ex_01"


def test_a_graded_file_that_is_gone_is_named(curriculum: Curriculum, workspace: Workspace, progress: Progress) -> None:
    """Without the learner's file there is nothing to run."""
    _record(progress, curriculum, workspace, _failed())
    workspace.exercise_path(EXERCISE).unlink()

    with pytest.raises(GpuprepError, match="ex_01_double"):
        repro(workspace, curriculum, progress, EXERCISE)


def test_a_grader_that_breaks_is_the_graders_fault(
    curriculum: Curriculum, workspace: Workspace, progress: Progress
) -> None:
    """An exception from the grader's own code is not the learner's."""
    _record(progress, curriculum, workspace, _failed(case=Case({"rows": 3})))

    with pytest.raises(GraderFaultError, match="KeyError"):
        repro(workspace, curriculum, progress, EXERCISE)


def test_a_folder_that_cannot_be_written_is_named(
    curriculum: Curriculum, workspace: Workspace, progress: Progress
) -> None:
    """What the disk refuses is an error that names the path."""
    _record(progress, curriculum, workspace, _failed())
    (workspace.state_dir / "repro").write_text("in the way")

    with pytest.raises(WorkspaceError, match="repro"):
        repro(workspace, curriculum, progress, EXERCISE)


def test_a_driver_makes_the_calls(tmp_path: Path) -> None:
    """Where one call is not the whole exercise, the script drives the learner's file as the worker does."""
    import torch

    learner, driver = tmp_path / "w" / "learner.py", tmp_path / "driver.py"
    script, inputs = tmp_path / "w" / ".gpuprep" / "repro" / "s.py", tmp_path / "w" / ".gpuprep" / "repro" / "i.pt"
    script.parent.mkdir(parents=True)
    learner.write_text("class Counter:\n    def step(self, x):\n        return x + 1\n")
    driver.write_text(
        "def drive(module, x):\n    counter = module.Counter()\n    return counter.step(counter.step(x))\n"
    )
    torch.save({"inputs": (torch.zeros(()),), "expected": (torch.tensor(3.0),)}, inputs)
    facts = ReproFacts("ex", "n=1", Outcome.RACE, "differs", "cpu", "Counter", learner, driver, "i.pt", is_triton=False)
    script.write_text(script_text(facts, tmp_path / "w"))

    printed = _run(ReproScript(script, inputs, "n=1"), tmp_path)

    assert "largest error 1 at []: expected 3, got 2" in printed
    assert "order" in printed
