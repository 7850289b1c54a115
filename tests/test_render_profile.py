"""A profile as a page and as a document."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

from golden_files import assert_golden
from sample_reports import EXERCISE, PATH, WORKED

from gpuprep.grading.profiled import (
    Access,
    Counters,
    Kernel,
    KernelTime,
    Operation,
    Profile,
    Timed,
    Unknown,
)
from gpuprep.model import Case, CaseResult, Outcome, SourceLine, Tier, Work
from gpuprep.occupancy import LIMITS, occupancy
from gpuprep.render import machine
from gpuprep.render.profile import profile_document, profile_page

SPEED_CASE = Case({"n": 2**28, "dtype": "float32"}, tier=Tier.SPEED)
KERNEL = Kernel(
    "_add_kernel",
    (2**18, 1, 1),
    128,
    0,
    registers=25,
    spill_bytes=0,
    stack_bytes=0,
    occupancy=occupancy(25, 0, 128, LIMITS["9.0"]),
    stages=3,
    constants={"BLOCK_SIZE": "1024"},
    configurations=4,
)
HEAVY = Kernel(
    "tile_kernel",
    (8, 2, 1),
    128,
    96 * 1024,
    registers=255,
    spill_bytes=48,
    stack_bytes=64,
    occupancy=occupancy(255, 96 * 1024, 128, LIMITS["9.0"]),
    launches=3,
)
NO_CARD = Unknown("times, top kernels, hardware counters", "no GPU found")


@dataclass(frozen=True)
class Shown:
    """What `practice.profiling` returns."""

    profile: Profile
    attempt: int = 3
    outcome: Outcome = Outcome.PROVISIONAL
    has_changed: bool = False
    trace_path: Path | None = None


HEALTHY = Shown(
    Profile(EXERCISE, PATH, "9.0", (Operation(WORKED, (), (KERNEL,), SPEED_CASE),), (NO_CARD,), versions={"torch": "2"})
)


def on_card() -> Shown:
    """A kernel with about everything that a profile can find fault with."""
    case = Case({"op": "gemm", "M": 64, "N": 64}, tier=Tier.WORK)
    work = Work(
        *(32768, 16384, 4096, 512),
        launches=2,
        programs=16,
        load_requests=256,
        store_requests=128,
        shared_requests=512,
        bank_conflicts=992,
        threads=2048,
    )
    counted = CaseResult(case, "cpu", Outcome.PASSED, work=work)
    where = SourceLine("ex_17_sgemm.cu", 31, "sum += tile[threadIdx.x][k];")
    accesses = (Access("load", 16.0, replace(where, line=12)), Access("shared", 2.9, where))
    speed = Case({"op": "gemm", "M": 8192, "N": 8192}, tier=Tier.SPEED)
    top = (KernelTime("tile_kernel", 0.8, 0.25, 3.0), KernelTime("at::native::" + "vectorized_" * 9, 0.1, 0.09, 1.0))
    timed = Timed(speed, 0.95, 1.0, 1.1, top, copies_share=0.1, busy_share=0.72)
    counters = Counters("tile_kernel", {"device_bytes": 1.5e9, "memory_share": 31.0, "compute_share": 22.0})
    operation = Operation(counted, accesses, (HEAVY,), speed, timed, (counters,))
    told = Profile(EXERCISE, PATH, "9.0", (operation,), card="NVIDIA H200", n_sms=132)
    return Shown(told, outcome=Outcome.TOO_SLOW, has_changed=True, trace_path=Path("trace.json"))


def test_page_without_a_card() -> None:
    """Figures without fault, a line that says so, and what is not known here."""
    page = profile_page(HEALTHY, str)
    assert_golden("profile_no_card", page.text())
    assert max(len(line) for line in page.text().splitlines()) <= page.width


def test_page_of_a_slow_kernel_on_a_card() -> None:
    """Below each figure that asks for it stands one sentence, and nowhere else."""
    page = profile_page(on_card(), str)
    assert_golden("profile_card", page.text())
    assert max(len(line) for line in page.text().splitlines()) <= page.width


def test_pass_on_a_card_leads_to_bench() -> None:
    """There is nothing to check again."""
    told = replace(HEALTHY.profile, card="NVIDIA H200", n_sms=132)
    text = profile_page(replace(HEALTHY, profile=told, outcome=Outcome.PASSED), str).text()
    assert text.endswith("next: gpuprep bench ex_01\n")


def test_document_holds_every_figure() -> None:
    """As numbers, with the advice in words; JSON whatever they are."""
    told = json.loads(machine.dumps(profile_document(on_card())))
    assert (told["target"], told["card"], told["trace"]) == ("sm_90", "NVIDIA H200", "trace.json")
    (operation,) = told["operations"]
    kernel = operation["kernels"][0]
    assert {figure["id"]: bool(figure["advice"]) for figure in kernel["figures"]} == {
        "registers": False,
        "spill_bytes": True,
        "shared_bytes": False,
        "occupancy": True,
        "blocks": True,
    }
    assert operation["timed"]["busy_share"] == 0.72
    assert operation["counters"][0]["figures"][0] == {
        "id": "device_bytes",
        "value": 1.5e9,
        "advice": "",
        "least": None,
    }
