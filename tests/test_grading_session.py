"""What a check makes of files that fail before, or instead of, computing something."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from waiting import are_gone

from gpuprep.curriculum import Curriculum
from gpuprep.errors import GraderFaultError, UsageError, WorkspaceError
from gpuprep.grading.session import check
from gpuprep.model import Outcome, Report, Tier

IMPORTS = "import torch\nimport triton\nimport triton.language as tl\n"


def graded(curriculum: Curriculum, folder: Path, body: str, *, timeout_s: float | None = None) -> Report:
    """Grade this text as a solution of ex_01."""
    path = folder / "ex_01_vector_add.py"
    path.write_text(IMPORTS + textwrap.dedent(body))
    return check(curriculum.exercise("ex_01"), curriculum, path, device="cpu", timeout_s=timeout_s)


BAD_FILES = {
    "syntax error": ("def add(x, y:\n    return x\n", Outcome.COMPILE_FAILED, "import"),
    "import error": ("import surely_not_installed\ndef add(x, y): return x\n", Outcome.RAISED, "surely_not_installed"),
    "missing function": ("def plus(x, y): return x\n", Outcome.WRONG_SIGNATURE, "plus"),
    "wrong signature": ("def add(x): return x\n", Outcome.WRONG_SIGNATURE, "add(x, y)"),
    "keyword only": ("def add(x, y, *, block): return x\n", Outcome.WRONG_SIGNATURE, "add(x, y)"),
    "not a function": ("add = 3\n", Outcome.WRONG_SIGNATURE, "add"),
    "recursion bomb": ("def add(x, y): return add(x, y)\n", Outcome.RAISED, "RecursionError"),
    "segfault": ("import ctypes\ndef add(x, y): ctypes.string_at(0)\n", Outcome.CRASHED, "SIGSEGV"),
    "exit code 0": ("import os\ndef add(x, y): os._exit(0)\n", Outcome.CRASHED, "exit code 0"),
    "exit while importing": ("import os\nos._exit(0)\n", Outcome.CRASHED, "import"),
    "sys.exit": ("import sys\ndef add(x, y): sys.exit(0)\n", Outcome.RAISED, "SystemExit"),
    "keyboard interrupt": ("def add(x, y): raise KeyboardInterrupt\n", Outcome.RAISED, "KeyboardInterrupt"),
    "no tensor": ("def add(x, y): return 3\n", Outcome.WRONG_SIGNATURE, "int"),
    "nothing": ("def add(x, y): pass\n", Outcome.WRONG_SIGNATURE, "NoneType"),
    "two tensors": ("def add(x, y): return torch.empty_like(x), torch.empty_like(x)\n", Outcome.WRONG_SIGNATURE, "2"),
    "a subclass": (
        "class Lazy(torch.Tensor): pass\ndef add(x, y): return torch.empty_like(x).as_subclass(Lazy)\n",
        Outcome.WRONG_SIGNATURE,
        "Lazy",
    ),
    "a TODO is left": ("def add(x, y): raise NotImplementedError('later')\n", Outcome.NOT_STARTED, "TODO"),
    "an operator of torch that lacks a back end": (
        "def add(x, y): return torch.ops.aten._nested_tensor_size(x)\n",
        Outcome.RAISED,
        "NotImplementedError",
    ),
    "reads the terminal": ("def add(x, y): return input()\n", Outcome.RAISED, "EOFError"),
    "closes the channel": ("import os\ndef add(x, y):\n    os.closerange(3, 64)\n", Outcome.CRASHED, ""),
    "asks for a device": (
        "def add(x, y):\n    torch.cuda.get_device_properties(0)\n    return x\n",
        Outcome.SKIPPED,
        "needs a GPU",
    ),
}


@pytest.mark.parametrize(("body", "outcome", "word"), BAD_FILES.values(), ids=BAD_FILES)
def test_bad_file_gets_a_clear_outcome(
    curriculum: Curriculum, tmp_path: Path, body: str, outcome: Outcome, word: str
) -> None:
    """Whatever a file does, a check ends with an outcome and a message that names the cause."""
    report = graded(curriculum, tmp_path, body)
    failure = report.first_failure
    assert report.outcome is outcome
    assert word in (report.message or (failure.message if failure else ""))


def test_endless_loop_names_the_running_line(curriculum: Curriculum, tmp_path: Path) -> None:
    """At the time limit the worker is killed, and the report says where it was."""
    report = graded(curriculum, tmp_path, "def add(x, y):\n    while True:\n        x.numel()\n", timeout_s=2)
    assert report.outcome is Outcome.TIMED_OUT
    assert report.first_failure is not None
    assert report.first_failure.where is not None
    assert report.first_failure.where.line in (5, 6)


def test_fault_inside_the_library_names_the_learners_line(curriculum: Curriculum, tmp_path: Path) -> None:
    """`tl.sum` is a kernel function itself: what goes wrong in there went wrong at the line that called it."""
    body = """
        @triton.jit
        def _add_kernel(x_ptr, y_ptr, out_ptr, n, BLOCK: tl.constexpr):
            x = tl.load(x_ptr + tl.arange(0, BLOCK))
            tl.store(out_ptr, tl.sum(x, axis=1))


        def add(x, y):
            out = torch.empty_like(x)
            _add_kernel[(1,)](x, y, out, x.numel(), BLOCK=2)
            return out
    """
    report = graded(curriculum, tmp_path, body)
    assert report.outcome is Outcome.RAISED
    assert report.first_failure is not None
    assert report.first_failure.where is not None
    assert report.first_failure.where.text == "tl.store(out_ptr, tl.sum(x, axis=1))"


def test_segfault_names_the_line(curriculum: Curriculum, tmp_path: Path) -> None:
    """A crash reports the Python line that it happened on."""
    report = graded(curriculum, tmp_path, "import ctypes\ndef add(x, y):\n    ctypes.string_at(0)\n")
    assert report.first_failure is not None
    assert report.first_failure.where is not None
    assert report.first_failure.where.text == "ctypes.string_at(0)"


def test_flood_of_output_is_cut_and_cleaned(curriculum: Curriculum, tmp_path: Path) -> None:
    """Output without end neither blocks nor fills memory, and escape sequences don't reach the terminal."""
    body = """
        def add(x, y):
            for _ in range(200):
                print("\\033[31m" + "spam" * 25_000)
            return torch.empty_like(x)
    """
    report = graded(curriculum, tmp_path, body)
    assert report.outcome is Outcome.WRONG_VALUES
    assert 0 < len(report.stdout) <= 16 * 1024
    assert "\033" not in report.stdout


@pytest.mark.soak
def test_a_gigabyte_of_output_is_survived(curriculum: Curriculum, tmp_path: Path) -> None:
    """1 GB of stdout costs time, not memory."""
    body = "def add(x, y):\n    for _ in range(1000): print('x' * 10**6)\n    raise ValueError('done')\n"
    report = graded(curriculum, tmp_path, body, timeout_s=120)
    assert report.outcome in (Outcome.RAISED, Outcome.TIMED_OUT)
    assert len(report.stdout) <= 16 * 1024


def test_no_process_is_left_behind(curriculum: Curriculum, tmp_path: Path) -> None:
    """A grandchild in a session of its own dies with the check, even one that keeps the output pipe open."""
    mark = tmp_path / "pid"
    body = f"""
        import os, subprocess, sys
        def add(x, y):
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    open({str(mark)!r}, "w").write(str(os.getpid()))
                    import time
                    time.sleep(600)
                os._exit(0)
            import time
            while not os.path.exists({str(mark)!r}) or not open({str(mark)!r}).read():
                time.sleep(0.01)
            return torch.empty_like(x)
    """
    graded(curriculum, tmp_path, body)
    pid = int(mark.read_text())
    assert are_gone([pid])


def test_worker_environment_is_an_allow_list(
    curriculum: Curriculum, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tokens and settings of the grading process don't reach the learner's code."""
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    body = "import os\ndef add(x, y): raise ValueError(sorted(os.environ))\n"
    report = graded(curriculum, tmp_path, body)
    assert report.first_failure is not None
    assert "PATH" in report.first_failure.message
    assert "SECRET_TOKEN" not in report.first_failure.message


def test_learner_file_is_never_changed(curriculum: Curriculum, tmp_path: Path) -> None:
    """A check leaves the file, and nothing beside it."""
    graded(curriculum, tmp_path, "def add(x, y): return x\n")
    assert [path.name for path in tmp_path.iterdir()] == ["ex_01_vector_add.py"]


def test_missing_file_names_the_way_back(curriculum: Curriculum, tmp_path: Path) -> None:
    """A file that is gone is a matter of set-up."""
    with pytest.raises(WorkspaceError) as caught:
        check(curriculum.exercise("ex_01"), curriculum, tmp_path / "gone.py")
    assert caught.value.next_step == "gpuprep reset ex_01"


def test_asking_for_a_card_that_is_not_there_is_a_usage_error(
    curriculum: Curriculum, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--device cuda` never falls back in silence."""
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError):
        check(
            curriculum.exercise("ex_01"),
            curriculum,
            curriculum.reference_path(curriculum.exercise("ex_01")),
            device="cuda",
        )


def test_speed_that_was_not_graded_is_said(curriculum: Curriculum) -> None:
    """Without a card the pass is provisional and the reason stands in the report."""
    exercise = curriculum.exercise("ex_01")
    report = check(exercise, curriculum, curriculum.reference_path(exercise), device="cpu")
    speed = report.tier(Tier.SPEED)
    assert report.outcome is Outcome.PROVISIONAL
    assert speed is not None
    assert speed.outcome is Outcome.SKIPPED
    assert "--device cpu" in speed.reason


def test_exact_bytes_of_vector_add(curriculum: Curriculum) -> None:
    """The reference of ex_01 moves exactly 3·n·itemsize bytes in one launch."""
    exercise = curriculum.exercise("ex_01")
    report = check(exercise, curriculum, curriculum.reference_path(exercise), device="cpu")
    counted = [(result.case, result.work) for result in report.cases if result.work]
    assert counted
    for case, work in counted:
        assert work.bytes_moved == 3 * case["n"] * {"float32": 4, "float16": 2}[case["dtype"]]
        assert work.launches == 1


def test_broken_grader_is_the_graders_fault(curriculum: Curriculum, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception in a grader's oracle is never blamed on the learner."""
    exercise = curriculum.exercise("ex_01")
    from gpuprep.grading import session
    from gpuprep.grading.loading import load_grader

    def broken(*_: object) -> object:
        grader = load_grader(curriculum, exercise)
        monkeypatch.setattr(type(grader), "inputs", lambda *_: 1 / 0)
        return grader

    monkeypatch.setattr(session, "load_grader", broken)
    with pytest.raises(GraderFaultError, match="ZeroDivisionError"):
        check(exercise, curriculum, curriculum.reference_path(exercise), device="cpu")


def test_torch_is_imported_while_the_workers_do_so() -> None:
    """A check that is started cold would take longer by all of that import, if it came before the workers'."""
    script = "import sys; import gpuprep.grading.session; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
