"""Checks of CUDA exercises without a GPU: every fault gets its outcome, at its line of the `.cu`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import torch

from gpuprep import curriculum as curricula
from gpuprep.authoring import proof
from gpuprep.authoring.scaffold import scaffold
from gpuprep.counters.cuda_emulator.toolchain import why_unsupported
from gpuprep.curriculum import Curriculum
from gpuprep.exercise import Exercise
from gpuprep.grading.pool import WarmPool
from gpuprep.grading.session import check
from gpuprep.model import CaseResult, Evidence, Outcome, Report, Tier
from gpuprep.render.report import report_page

pytestmark = pytest.mark.skipif(bool(why_unsupported()), reason=why_unsupported() or "supported")

YAML = """\
version: 1
title: Small
modules:
  - id: 00_first
    title: First
    exercises: []
"""
HEAD = """\
extern "C" __global__ void double_it_kernel(const float* x, float* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
"""
FIRST_LINE = HEAD.count("\n") + 1
RIGHT = "    if (i < n) out[i] = 2.0f * x[i];\n"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Curriculum:
    """A curriculum of one exercise in CUDA C, as `dev new` makes it."""
    root = tmp_path_factory.mktemp("curriculum")
    (root / "curriculum.yaml").write_text(YAML)
    scaffold(curricula.load(root), "ex_01", module="00_first", name="double_it", title="Double it", language="cuda")
    curriculum = curricula.load(root)
    curriculum.guide_path("00_first").write_text("# First\n")
    return curriculum


@pytest.fixture(scope="module")
def pool() -> Iterator[WarmPool]:
    """Forks the workers of this file's checks."""
    with WarmPool() as pool:
        yield pool


Grade = Callable[..., Report]


@pytest.fixture
def grade(small: Curriculum, pool: WarmPool, tmp_path: Path) -> Grade:
    """Checks kernels with the reference's launcher, or with another one."""

    def graded(body: str, *, head: str = HEAD, launcher: str | None = None, **options: object) -> Report:
        exercise = small.exercises[0]
        path = tmp_path / f"{exercise.slug}.py"
        path.write_text(launcher or small.reference_path(exercise).read_text())
        path.with_suffix(".cu").write_text(f"{head}{body}}}\n")
        return check(exercise, small, path, device="cpu", pool=pool, **options)  # type: ignore[arg-type]

    return graded


def failure_of(report: Report) -> CaseResult:
    assert report.first_failure is not None, report.message
    return report.first_failure


def page(report: Report) -> str:
    """What a learner reads."""
    exercise = Exercise(report.exercise_id, "double_it", "Double it", "00_first", "cuda", "", 5, ())
    return report_page(report, exercise).text().replace("\N{NO-BREAK SPACE}", " ")


def place(result: CaseResult) -> tuple[str, int]:
    """Suffix and line of where it went wrong, the body's first line being 1."""
    assert result.where is not None, result.message
    return Path(result.where.path).suffix, result.where.line - FIRST_LINE + 1


def test_scaffold_is_proved(small: Curriculum, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new exercise in CUDA C proves as it is: stubs, reference, and a wrong solution that is a `.cu` alone."""
    monkeypatch.setattr(proof, "MIN_WRONG_FILES", 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    found = proof.prove(small)
    assert found.failures == ()
    assert "wrong file is rejected" in {item.claim for item in found.items}


def test_kernel_that_a_card_would_not_find(grade: Grade) -> None:
    """Without C linkage its name is another one there; a macro may give it that, and so may braces."""
    plain = HEAD.removeprefix('extern "C" ')
    failure = failure_of(grade(RIGHT, head=plain))
    assert failure.outcome is Outcome.RAISED
    assert 'lacks `extern "C"`' in failure.message
    for head in (f'#define API extern "C"\nAPI {plain}', f'extern "C" void other();\nextern "C" {{\n{plain}'):
        body = RIGHT + ("}\n" if head.count("{") == 2 else "")
        assert grade(body, head=head).outcome is Outcome.PROVISIONAL


SWAP = """\
    __shared__ float s[256];
    s[threadIdx.x] = i < n ? x[i] : 0.0f;
    float other = s[{other}];
    if (i < n) out[i] = 2.0f * s[threadIdx.x] + 0.0f * other;
"""
NEVER_WRITTEN = """\
    __shared__ float s[512];
    s[threadIdx.x] = 0.0f;
    __syncthreads();
    float none = s[threadIdx.x + 256];
    if (i < n) out[i] = 2.0f * x[i] + 0.0f * none;
"""
FAULTS = {
    "no guard": ("    out[i] = 2.0f * x[i];\n", Outcome.OUT_OF_BOUNDS, "out_of_bounds", 1),
    "negative index": (
        "    if (i < n) out[i] = x[i];\n    if (i < n) out[i] += x[i - 1];\n",
        *(Outcome.OUT_OF_BOUNDS, "out_of_bounds", 2),
    ),
    "shared overrun": (
        "    __shared__ float s[256];\n    s[threadIdx.x + 1] = x[0];\n" + RIGHT,
        *(Outcome.OUT_OF_BOUNDS, "out_of_bounds", 2),
    ),
    "misaligned": (
        "    if (i + 2 < n) *(float2*)(out + i) = make_float2(x[i], x[i]);\n",
        *(Outcome.MISALIGNED, "misaligned", 1),
    ),
    "divergent barrier": (
        "    if (threadIdx.x < 100) {\n        __syncthreads();\n    }\n" + RIGHT,
        *(Outcome.BAD_SYNC, "bad_sync", 2),
    ),
    "race in a block": (SWAP.format(other="255 - threadIdx.x"), Outcome.RACE, "race", 2),
    "race between blocks": (
        "    if (i < n) out[i] = 2.0f * x[i];\n    if (threadIdx.x == 0) out[0] = 2.0f * x[0] + blockIdx.x;\n",
        *(Outcome.RACE, "race", 2),
    ),
    "uninitialised shared memory": (NEVER_WRITTEN, Outcome.WRONG_VALUES, "uninitialised", 4),
    "assert": ("    assert(n > 100000);\n" + RIGHT, Outcome.RAISED, "assert", 1),
    "trap": ("    if (n > 0) __trap();\n" + RIGHT, Outcome.RAISED, "assert", 1),
    "endless loop": ("    while (n > 0) {\n        n |= 1;\n    }\n" + RIGHT, Outcome.TIMED_OUT, "endless_loop", 1),
}
"""A body, its outcome and diagnosis, and the line of the body that is named."""


@pytest.mark.parametrize(("body", "outcome", "diagnosis", "line"), FAULTS.values(), ids=FAULTS)
def test_fault_gets_its_outcome(grade: Grade, body: str, outcome: Outcome, diagnosis: str, line: int) -> None:
    """What a sanitizer would say on a card is the verdict, with the line of the `.cu` and what a hint is keyed by."""
    report = grade(body, timeout_s=15.0)
    assert report.outcome is outcome, failure_of(report)
    failure = failure_of(report)
    assert failure.diagnosis is not None
    assert (failure.diagnosis.id, place(failure)[0]) == (diagnosis, ".cu")
    # Of a loop its condition or its body, of a race either line.
    assert place(failure)[1] in ((line, line + 1) if diagnosis in ("endless_loop", "race") else (line,))
    assert diagnosis != "endless_loop" or len(report.cases) == 1


def test_recursion_without_end(grade: Grade) -> None:
    """A stack that overflows is a crash, and said to be one."""
    deep = "__device__ int deep(int n) { volatile int room[64]; room[n % 64] = n; return n + deep(room[0]); }\n"
    report = grade("    if (i < n) out[i] = x[i] + deep(n);\n", head=deep + HEAD)
    assert report.outcome is Outcome.CRASHED, failure_of(report)
    assert failure_of(report).diagnosis.id == "stack_overflow"  # type: ignore[union-attr]


def test_race_shows_both_lines(grade: Grade) -> None:
    """The page of a race has both accesses, each with its line's text."""
    report = grade(SWAP.format(other="255 - threadIdx.x"))
    page = report_page(report, proof_exercise(report), display=lambda path: Path(path).name).text()
    assert "s[threadIdx.x] = i < n" in page
    assert "float other = s[255 - threadIdx.x];" in page
    assert "the other access" in page


def proof_exercise(report: Report):
    from gpuprep.exercise import Exercise

    return Exercise(report.exercise_id, "double_it", "Double it", "00_first", "cuda", "", 5, ())


def test_warning_is_shown_and_fails_nothing(grade: Grade) -> None:
    """Lanes of one warp that rely on running in step get a warning beside the pass."""
    report = grade(SWAP.format(other="threadIdx.x ^ 1"))
    assert report.outcome is Outcome.PROVISIONAL, failure_of(report)
    remarks = [remark for result in report.cases for remark in result.remarks]
    assert remarks
    assert remarks[0].text.startswith("warning: ")
    assert remarks[0].where is not None
    assert "warning" in page(report)


STRIDED = """\
    int j = n % 256 == 0 ? (i % 256) * (n / 256) + i / 256 : i;
    if (i < n) out[j] = 2.0f * x[j];
"""
TWICE = "    if (i < n) out[i] = x[i];\n    if (i < n) out[i] += x[i];\n"
WASTE = {
    "uncoalesced": (STRIDED, "32.00 sectors a load request", 2),
    "extra_work": (TWICE, "bytes_loaded is", 0),
}


@pytest.mark.parametrize("diagnosis", WASTE)
def test_waste_is_named_with_its_line(grade: Grade, diagnosis: str) -> None:
    """Too many sectors a request are told by the line that costs most; the values are right."""
    body, said, line = WASTE[diagnosis]
    report = grade(body)
    assert report.outcome is Outcome.TOO_MUCH_WORK, failure_of(report)
    failure = failure_of(report)
    assert failure.diagnosis is not None
    assert (failure.diagnosis.id, said in failure.message) == (diagnosis, True)
    assert failure.where is None if not line else place(failure) == (".cu", line)


def test_work_of_a_kernel(grade: Grade) -> None:
    """What a warp's requests come to stands in the report, blocks as programs."""
    report = grade(RIGHT)
    (counted,) = (result.work for result in report.cases if result.case.tier is Tier.WORK)
    assert counted is not None
    n_bytes = 4 * 2**15
    assert (counted.bytes_loaded, counted.bytes_stored, counted.launches, counted.programs) == (
        n_bytes,
        n_bytes,
        1,
        128,
    )
    assert (counted.sectors_per_load, counted.sectors_per_store, counted.load_requests) == (4.0, 4.0, 2**15 // 32)
    assert "4.00 sectors a load request" in report_page(report, proof_exercise(report)).text().replace(
        "\N{NO-BREAK SPACE}", " "
    )


def test_printf_is_the_learners_output(grade: Grade) -> None:
    """What a kernel prints is shown as what the learner's code printed."""
    report = grade('    if (i == 0) printf("n is %d\\n", n);\n' + RIGHT)
    assert report.outcome is Outcome.PROVISIONAL
    assert "n is 1025\n" in report.stdout


SOURCES = {
    "a typing error": ("    if (i < n) out[i] = 2.0f * x[i]\n", Outcome.COMPILE_FAILED, 2),
    "an unknown name": ("    if (i < n) out[i] = twice * x[i];\n", Outcome.COMPILE_FAILED, 1),
    "inline assembly": ('    asm volatile("nop;");\n' + RIGHT, Outcome.SKIPPED, 1),
}


@pytest.mark.parametrize(("body", "outcome", "line"), SOURCES.values(), ids=SOURCES)
def test_source_that_cannot_be_built(grade: Grade, body: str, outcome: Outcome, line: int) -> None:
    """A mistake is COMPILE_FAILED at its line; what only a GPU has is skipped by name, and is no pass."""
    report = grade(body)
    assert report.outcome is outcome, report.message
    result = report.cases[0]
    assert result.outcome is outcome
    assert (place(result)[1] in (line, line - 1)) if outcome is Outcome.COMPILE_FAILED else place(result)[1] == line
    assert outcome is Outcome.COMPILE_FAILED or "GPU" in report.message


def test_no_compiler_is_a_skip(grade: Grade, monkeypatch: pytest.MonkeyPatch, small: Curriculum) -> None:
    """Without g++ every case is skipped, with the line that installs it, and nothing counts as passed."""
    monkeypatch.setenv("PATH", "/nowhere")
    report = grade(RIGHT)
    assert report.outcome is Outcome.SKIPPED
    assert "g++" in report.message
    assert {result.outcome for result in report.cases} == {Outcome.SKIPPED}


LAUNCHER = """\
from pathlib import Path
import numpy as np
import torch
from gpuprep.cuda import RawModule

_module = RawModule(code=Path(__file__).with_suffix(".cu").read_text(encoding="utf-8"))


def double_it(x):
    out = torch.empty_like(x)
    kernel = _module.get_function("double_it_kernel")
    {launch}
    return out
"""
CALLS = {
    "too few arguments": ("kernel((8,), (256,), (x, out))", Outcome.RAISED),
    "a wide scalar": ("kernel((8,), (256,), (x, out, np.int64(x.numel())))", Outcome.RAISED),
    "an empty grid": ("kernel((0,), (256,), (x, out, x.numel()))", Outcome.RAISED),
    "another kernel": ("_module.get_function('triple_it')", Outcome.RAISED),
    "halves": ("kernel((8,), (256,), (x.half(), out, x.numel()))", Outcome.RAISED),
    "never launched": ("out = 2 * x", Outcome.BANNED_CALL),
    "launched in vain": ("kernel((150,), (256,), (x, torch.empty_like(x), x.numel()))", Outcome.WRONG_VALUES),
    "a fault that is caught": (
        "try:\n        kernel((999,), (256,), (x, out, 999 * 256))\n    except BaseException:\n        pass",
        Outcome.OUT_OF_BOUNDS,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("launch", "outcome"), CALLS.values(), ids=CALLS)
def test_launchers_mistake(grade: Grade, launch: str, outcome: Outcome) -> None:
    """A launch that can't be right raises; values from elsewhere are no kernel's."""
    report = grade(RIGHT, launcher=LAUNCHER.format(launch=launch))
    assert report.outcome is outcome, failure_of(report)


def test_witness_counts_the_same(grade: Grade) -> None:
    """The counting worker builds and runs the kernels itself, and its counts pass."""
    report = grade(RIGHT, witnessed=True)
    assert report.outcome is Outcome.PROVISIONAL, failure_of(report)
    work = report.tier(Tier.WORK)
    assert work is not None
    assert (work.outcome, work.evidence) == (Outcome.PASSED, Evidence.WITNESSED)


def test_witness_sees_what_another_process_made_up(grade: Grade) -> None:
    """Kernels that store what host code worked out are none of the result's makers."""
    body = "    if (i == 0) out[0] = 0.0f;\n"
    head = (
        'extern "C" __global__ void double_it_kernel(const float* x, float* out, int n) {\n    int i = threadIdx.x;\n'
    )
    launch = (
        "kernel((1,), (32,), (x, out, x.numel()))\n"
        "    import ctypes\n"
        "    values = (ctypes.c_float * x.numel()).from_address(x.data_ptr())\n"
        "    target = (ctypes.c_float * x.numel()).from_address(out.data_ptr())\n"
        "    target[:] = [2 * value for value in values]"
    )
    report = grade(body, head=head, launcher=LAUNCHER.format(launch=launch), witnessed=True)
    assert report.outcome is Outcome.BANNED_CALL, report.message


def test_nothing_is_left_of_an_endless_kernel(grade: Grade) -> None:
    """When the check's time is over, the kernel's process is gone with the worker."""
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    report = grade("    while (n > 0) {\n        n |= 1;\n    }\n", timeout_s=2.0)
    assert report.outcome is Outcome.TIMED_OUT
    left = [child for child in psutil.Process().children(recursive=True) if child.pid not in before]
    assert [child.name() for child in left if child.name() not in ("python", "python3")] == []
