"""ex_19: each sick kernel is found out at its line, and the calculator's golden table is NVIDIA's."""

from __future__ import annotations

import importlib.util
import random
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import pytest

from gpuprep.curriculum import Curriculum
from gpuprep.grading.pool import WarmPool
from gpuprep.grading.session import check
from gpuprep.model import CaseResult, Outcome, Report

WARD = {
    "blur": (Outcome.OUT_OF_BOUNDS, "tile[thread + 1] = x[i];"),
    "normalise": (Outcome.BAD_SYNC, "sums[thread] += sums[thread + half];\n            __syncthreads();"),
    "prefix_sums": (Outcome.RACE, "sums[thread] += sums[thread - reach];"),
    "smooth": (Outcome.TOO_MUCH_WORK, "tile[thread][k] = average"),
    "column_sums": (
        Outcome.TOO_MUCH_WORK,
        "sum += x[(size_t)row * n_cols + col];\n        }\n        for (int distance",
    ),
    "matvec": (Outcome.TOO_MUCH_WORK, '_ward.get_function("matvec_kernel")('),
}
"""By bed: what its disease comes to, and the text at whose line it is to be found (its last line, for `normalise`)."""

HEALTHY_LAUNCH, SICK_LAUNCH = "n_threads, shared_bytes = 256, 0", "n_threads, shared_bytes = 64, 12288 * 4"

TABLE_PROGRAM = r"""
#include <limits.h>
#include <stdio.h>
#include <cuda_occupancy.h>

// A line in: compute capability, warps and shared memory of an SM, the driver's share of a block, and a launch's
// registers, shared bytes and threads. A line out: active blocks, and the factors that limit them.
int main() {
    int major, minor, warps, shared, reserved, registers, bytes, threads;
    while (scanf("%d.%d %d %d %d", &major, &minor, &warps, &shared, &reserved) == 5) {
        if (scanf("%d %d %d", &registers, &bytes, &threads) != 3)
            return 1;
        cudaOccDeviceProp sm;
        sm.computeMajor = major;
        sm.computeMinor = minor;
        sm.maxThreadsPerBlock = 1024;
        sm.maxThreadsPerMultiprocessor = 32 * warps;
        sm.regsPerBlock = sm.regsPerMultiprocessor = 65536;
        sm.warpSize = 32;
        sm.numSms = 1;
        sm.sharedMemPerBlock = 49152;
        sm.sharedMemPerMultiprocessor = shared;
        sm.sharedMemPerBlockOptin = shared - reserved;
        sm.reservedSharedMemPerBlock = reserved;
        cudaOccFuncAttributes kernel;
        kernel.maxThreadsPerBlock = INT_MAX;
        kernel.numRegs = registers;
        kernel.numBlockBarriers = 1;
        kernel.shmemLimitConfig = FUNC_SHMEM_LIMIT_OPTIN;
        kernel.maxDynamicSharedSizeBytes = bytes;
        cudaOccDeviceState state;
        cudaOccResult result;
        if (cudaOccMaxActiveBlocksPerMultiprocessor(&result, &sm, &kernel, &state, threads, bytes) != CUDA_OCC_SUCCESS)
            return 1;
        printf("%d %u\n", result.activeBlocksPerMultiprocessor, result.limitingFactors);
    }
}
"""
FACTORS = {0x01: "w", 0x02: "r", 0x04: "s", 0x08: "b"}
"""cudaOccLimitingFactor, as letters of the table; barriers tie with blocks or don't limit at all."""

Launch = tuple[int, int, int]
"""Registers a thread, shared bytes a block, threads a block."""
Nvidias = Callable[[str, Sequence[Launch]], list[tuple[int, str]]]


@pytest.fixture(scope="module")
def grader(curriculum: Curriculum) -> ModuleType:
    """The grader's file."""
    return _module(curriculum.grader_path(curriculum.exercise("ex_19")))


@pytest.fixture(scope="module")
def solution(curriculum: Curriculum) -> ModuleType:
    """The reference's file; its kernels are compiled when they are asked for."""
    return _module(curriculum.reference_path(curriculum.exercise("ex_19")))


@pytest.fixture(scope="module")
def nvidias(grader: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Nvidias:
    """NVIDIA's own calculator: a header of the CUDA toolkit, which Triton brings along."""
    header = Path(importlib.util.find_spec("triton").origin).parent / "backends/nvidia/include/cuda_occupancy.h"
    compiler = shutil.which("g++")
    if compiler is None or not header.is_file():
        pytest.skip("needs g++ and Triton's copy of cuda_occupancy.h")
    folder = tmp_path_factory.mktemp("occupancy")
    source, program = folder / "table.cpp", folder / "table"
    source.write_text(TABLE_PROGRAM)
    subprocess.run([compiler, "-w", f"-I{header.parent}", str(source), "-o", str(program)], check=True)

    def ask(capability: str, launches: Sequence[Launch]) -> list[tuple[int, str]]:
        sm = grader.sm_limits(capability)
        start = f"{capability} {sm['max_warps']} {sm['shared_bytes']} {sm['reserved_shared_bytes']}"
        lines = "".join(f"{start} {' '.join(map(str, launch))}\n" for launch in launches)
        told = subprocess.run([str(program)], input=lines, capture_output=True, text=True, check=True).stdout
        pairs = [map(int, line.split()) for line in told.splitlines()]
        return [(n, "".join(letter for bit, letter in FACTORS.items() if bits & bit)) for n, bits in pairs]

    return ask


def test_golden_table_is_nvidias(grader: ModuleType, nvidias: Nvidias) -> None:
    """Every cell of the grader's table is what NVIDIA's header computes for that launch."""
    rows = grader.golden_rows()
    for capability in grader.SHARED_KIB:
        assert nvidias(capability, list(rows)) == [cells[capability] for cells in rows.values()]


def test_reference_agrees_with_nvidia(grader: ModuleType, solution: ModuleType, nvidias: Nvidias) -> None:
    """On launches that are in no table the reference's calculator says what NVIDIA's does."""
    draw = random.Random(19)
    launches = [
        (draw.randrange(256), draw.choice([0, draw.randrange(2000), draw.randrange(240_000)]), draw.randrange(1, 1100))
        for _ in range(500)
    ]
    letters = dict(zip(solution.LIMITERS, grader.LETTERS, strict=True))
    for capability, limits in solution.LIMITS.items():
        mine = [solution.occupancy(*launch, limits) for launch in launches]
        told = [(found.active_blocks, "".join(letters[name] for name in found.limited_by)) for found in mine]
        assert told == nvidias(capability, launches)


def test_stub_and_grader_know_the_same_limits(grader: ModuleType, solution: ModuleType) -> None:
    """A learner who tries LIMITS out meets the SMs that the check has."""
    ours = {capability: solution.SMLimits(**grader.sm_limits(capability)) for capability in grader.SHARED_KIB}
    assert ours == solution.LIMITS


def test_a_learner_learns_what_the_stub_says(curriculum: Curriculum, solution: ModuleType) -> None:
    """The comment beside the sick launch's cure gives the figures that the calculator gives."""
    sm = solution.LIMITS["9.0"]
    text = curriculum.reference_path(curriculum.exercise("ex_19")).read_text(encoding="utf-8")
    assert solution.occupancy(32, 49152, 64, sm).occupancy == 0.125
    assert solution.occupancy(32, 0, 256, sm).occupancy == 1.0
    assert HEALTHY_LAUNCH in text


def test_budget_of_the_last_bed_means_half_of_the_warps(grader: ModuleType, solution: ModuleType) -> None:
    """With no more shared memory a thread than the budget allows, a block of any size keeps half of an SM's warps."""
    least = min(
        solution.occupancy(32, grader.SHARED_BYTES_PER_THREAD * threads, threads, solution.LIMITS["9.0"]).occupancy
        for threads in range(32, 1025)
    )
    assert least == 0.5


def test_untouched_ward_is_six_times_sick(curriculum: Curriculum, warm_pool: WarmPool, tmp_path: Path) -> None:
    """With the calculator alone written, every bed fails, each by its own disease, and the calculator doesn't."""
    report = _check_ward(curriculum, warm_pool, tmp_path, sick=tuple(WARD))
    assert report.outcome is Outcome.OUT_OF_BOUNDS
    assert {op: found.outcome for op, found in _worst(report).items()} == {
        op: outcome for op, (outcome, _) in WARD.items()
    }
    counted = {result.case.op: result.work for result in report.cases if result.work}
    assert counted["matvec"].shared_bytes_per_thread == 12288 * 4 / 64
    assert counted["matvec"].bank_conflicts == 0
    assert counted["column_sums"].sectors_per_load == 32


@pytest.mark.parametrize("bed", WARD)
def test_sick_kernel_is_found_at_its_line(
    curriculum: Curriculum, warm_pool: WarmPool, tmp_path: Path, bed: str
) -> None:
    """Among five cured kernels the sick one alone fails, and the finding names the line of its disease."""
    report = _check_ward(curriculum, warm_pool, tmp_path, sick=(bed,))
    worst = _worst(report)
    outcome, text = WARD[bed]
    assert set(worst) == {bed}
    found = worst[bed]
    assert found.outcome is outcome, found.message
    assert report.outcome is outcome
    assert found.where is not None, found.message
    assert found.where.line == _line(tmp_path, bed, text)


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _check_ward(curriculum: Curriculum, pool: WarmPool, folder: Path, sick: Sequence[str]) -> Report:
    """Grades the reference with some of its beds as they are in the stub."""
    exercise = curriculum.exercise("ex_19")
    reference, stub = curriculum.reference_path(exercise), curriculum.stub_path(exercise)
    launchers = reference.read_text(encoding="utf-8")
    if "matvec" in sick:
        assert SICK_LAUNCH in stub.read_text(encoding="utf-8")
        launchers = launchers.replace(HEALTHY_LAUNCH, SICK_LAUNCH)
    (folder / "ward.py").write_text(launchers, encoding="utf-8")
    cured, ill = (_kernels(path.with_suffix(".cu").read_text(encoding="utf-8")) for path in (reference, stub))
    parts = [(ill if op in sick else cured)[op] for op in cured]
    (folder / "ward.cu").write_text("\n".join(parts), encoding="utf-8")
    return check(exercise, curriculum, folder / "ward.py", device="cpu", pool=pool)


def _kernels(source: str) -> dict[str, str]:
    """The source cut at its charts; what comes before the first one is called `head`."""
    head, *beds = source.split("\n// Bed ")
    return {"head": head, **{bed.split(":")[1].split()[0]: f"// Bed {bed}" for bed in beds}}


def _worst(report: Report) -> dict[str, CaseResult]:
    """By operation, the failed case whose outcome comes first."""
    failed = sorted(
        (result for result in report.cases if result.outcome.is_failure), key=lambda result: -result.outcome.precedence
    )
    return {result.case.op: result for result in failed}


def _line(folder: Path, bed: str, text: str) -> int:
    source = (folder / ("ward.py" if bed == "matvec" else "ward.cu")).read_text(encoding="utf-8")
    assert source.count(text) == 1
    first = source[: source.index(text)].count("\n") + 1
    return first + (text.count("\n") if bed == "normalise" else 0)
