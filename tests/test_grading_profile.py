"""A profile, start to end without a card, and with one that only pretends to be there."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gpuprep.curriculum import Curriculum
from gpuprep.errors import GpuprepError
from gpuprep.grading import profile_ncu
from gpuprep.grading.asking import Asking
from gpuprep.grading.loading import load_grader
from gpuprep.grading.profile import profile
from gpuprep.grading.profile_card import LocalCard, Ran, find_card, timed_of
from gpuprep.grading.profile_figures import counter_figures, kernel_figures, timed_figures, work_figures
from gpuprep.grading.profile_inputs import BlankDraw, blanked
from gpuprep.grading.profile_kernels import kernels_of
from gpuprep.grading.profiled import Access, Counters, Kernel, Operation, Profile, Timed, Unknown
from gpuprep.model import Budget, Case, CaseResult, Outcome, SourceLine, Tier, Work
from gpuprep.occupancy import LIMITS, occupancy

SPEED_CASE = Case({"n": 2**20, "dtype": "float32"}, tier=Tier.SPEED, devices=("cuda",))
NOTE = {
    "kernel": "_add_kernel",
    "grid": [1024, 1, 1],
    "threads": 128,
    "shared_bytes": 0,
    "registers": 40,
    "spill_bytes": 0,
    "stack_bytes": 0,
    "stages": 3,
    "constants": {"BLOCK_SIZE": "1024"},
    "launches": 1,
    "configurations": 0,
    "why_not": "",
}
TRACED = {
    "status": "traced",
    "kernels": [{"name": "_add_kernel", "ns": 6_000_000, "count": 8}, {"name": "fill", "ns": 1_000_000, "count": 8}],
    "memcpy_ns": 0,
    "memset_ns": 1_000_000,
    "total_ns": 8_000_000,
    "calls": [{"busy_ns": 800, "span_ns": 1000, "event_ns": 1100, "host_ns": 50}] * 8,
}


@dataclass
class PretendedWorker:
    """Answers like a worker on a card."""

    answers: Mapping[str, Mapping[str, Any]]
    asked: list[str] = field(default_factory=list)
    device: str = "cuda"

    def ask(self, request: Mapping[str, Any], *, deadline: float) -> dict[str, Any]:
        """What stands in the script."""
        assert deadline > 0
        self.asked.append(request["do"])
        return dict(self.answers[request["do"]])


class PretendedCard(LocalCard):
    """A card whose worker follows a script, and which needs no memory."""

    script: PretendedWorker

    @contextlib.contextmanager
    def worker(self, on_event: object) -> Iterator[Any]:
        """The script."""
        yield self.script

    @contextlib.contextmanager
    def sets(self, grader: Any, case: Case) -> Iterator[dict[str, Any]]:
        """Nothing."""
        yield {}

    def fits(self, grader: Any, case: Case) -> bool:
        """Always."""
        return True


def pretended(**answers: Mapping[str, Any]) -> PretendedCard:
    """A card that does as it should, but for these answers."""
    as_usual = {
        "load": {"status": "loaded"},
        "time": {"status": "timed", "samples_ms": [1.0, 1.1, 1.2] * 10},
        "trace": TRACED,
        "profile_launches": {"status": "noted", "kernels": [NOTE]},
        "profile_trace": {"status": "traced", "trace": torch.frombuffer(bytearray(b'{"a": 1}'), dtype=torch.uint8)},
        "put_away": {"status": "put_away"},
    }
    card = PretendedCard("Pretended", "9.0", 132)
    object.__setattr__(card, "script", PretendedWorker({**as_usual, **answers}))
    return card


def looked_at(card: PretendedCard, curriculum: Curriculum, *, has_trace: bool = False) -> Ran:
    """What it sees of ex_01's reference."""
    exercise = curriculum.exercise("ex_01")
    asking = Asking(exercise, curriculum, curriculum.reference_path(exercise), 60.0)
    grader = load_grader(curriculum, exercise)
    return card.look(asking, grader, {"": SPEED_CASE}, has_trace=has_trace, on_event=lambda _: None)


@pytest.fixture
def no_ncu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without Nsight Compute."""
    monkeypatch.setattr(profile_ncu.shutil, "which", lambda *_args, **_options: None)


def test_triton_kernel_is_counted_and_compiled(curriculum: Curriculum) -> None:
    """Work is counted at a small size, figures of the compiler are of the size that is timed, and no card is needed."""
    exercise = curriculum.exercise("ex_01")
    found = profile(exercise, curriculum, curriculum.reference_path(exercise), capability="8.0")
    (operation,) = found.operations
    assert operation.counted.outcome.is_pass
    assert operation.compiled_for.tier is Tier.SPEED
    (kernel,) = operation.kernels
    assert kernel.registers > 0
    assert kernel.occupancy == occupancy(kernel.registers, kernel.shared_bytes, kernel.threads, LIMITS["8.0"])
    assert (found.card, found.trace) == ("", None)
    assert any("no GPU" in unknown.why for unknown in found.unknown)


def test_cuda_kernel_is_counted_and_built(curriculum: Curriculum) -> None:
    """Its launches are the emulator's, its registers nvcc's; without nvcc it is said that they are not known."""
    exercise = curriculum.exercise("ex_17")
    found = profile(exercise, curriculum, curriculum.reference_path(exercise), capability="9.0")
    (operation,) = found.operations
    (kernel,) = operation.kernels
    assert (kernel.name, kernel.threads) == ("sgemm_kernel", 256)
    assert (kernel.registers is None) == any(unknown.what.startswith("registers") for unknown in found.unknown)
    assert operation.counted.work.shared_requests > 0


def test_fake_card_adds_what_it_saw(curriculum: Curriculum, no_ncu: None) -> None:
    """What really ran replaces what was compiled, and what is not there to read counters with is named."""
    del no_ncu
    exercise = curriculum.exercise("ex_01")
    card = pretended()
    found = profile(
        exercise, curriculum, curriculum.reference_path(exercise), capability="9.0", card=card, has_trace=True
    )
    (operation,) = found.operations
    assert (found.card, found.n_sms, found.trace) == ("Pretended", 132, b'{"a": 1}')
    assert [kernel.registers for kernel in operation.kernels] == [40]
    assert operation.timed.median_ms == 1.1
    assert any("ncu" in unknown.why for unknown in found.unknown)


def test_another_target_keeps_its_own_kernels(curriculum: Curriculum, no_ncu: None) -> None:
    """The card's registers say nothing of another card's."""
    del no_ncu
    exercise = curriculum.exercise("ex_01")
    found = profile(exercise, curriculum, curriculum.reference_path(exercise), capability="8.0", card=pretended())
    assert found.operations[0].timed is not None
    assert found.operations[0].kernels[0].registers != 40


@pytest.mark.parametrize(("exercise_id", "said"), [("ex_28", "several ranks"), ("ex_05", "no kernels")])
def test_what_has_no_kernels_of_one_process_is_refused(curriculum: Curriculum, exercise_id: str, said: str) -> None:
    """There would be nothing to show."""
    exercise = curriculum.exercise(exercise_id)
    with pytest.raises(GpuprepError, match=said) as raised:
        profile(exercise, curriculum, curriculum.reference_path(exercise), capability="9.0")
    assert raised.value.next_step


def test_wrong_file_is_refused(curriculum: Curriculum, tmp_path: Path) -> None:
    """A kernel that computes something else may well be faster."""
    exercise = curriculum.exercise("ex_01")
    path = tmp_path / "ex_01_vector_add.py"
    text = curriculum.reference_path(exercise).read_text()
    path.write_text(text.replace("x + y,", "x - y,"))
    assert path.read_text() != text
    with pytest.raises(GpuprepError) as raised:
        profile(exercise, curriculum, path, capability="9.0")
    assert raised.value.next_step == "gpuprep check ex_01"


def test_card_is_asked_in_order(curriculum: Curriculum, no_ncu: None) -> None:
    """Kernels are noted once everything is compiled and tuned, and the memory is given back at the end."""
    del no_ncu
    card = pretended()
    ran = looked_at(card, curriculum)
    assert card.script.asked == ["load", "time", "trace", "profile_launches", "put_away"]
    assert ran.operations[""].timed.top[0].share == 0.75
    assert ran.trace is None


def test_trace_is_asked_for_once(curriculum: Curriculum, no_ncu: None) -> None:
    """What comes back is the profiler's own text; what it can't give is named."""
    del no_ncu
    assert looked_at(pretended(), curriculum, has_trace=True).trace == b'{"a": 1}'
    card = pretended(profile_trace={"status": "untraced", "why": "the trace takes 900 MiB"})
    ran = looked_at(card, curriculum, has_trace=True)
    assert ran.trace is None
    assert Unknown("a trace", "the trace takes 900 MiB") in ran.unknown


def test_trace_that_is_none_is_refused(curriculum: Curriculum, no_ncu: None) -> None:
    """It would be written to a file of the learner's."""
    del no_ncu
    text = torch.frombuffer(bytearray(b"#!/bin/sh"), dtype=torch.uint8)
    card = pretended(profile_trace={"status": "traced", "trace": text})
    with pytest.raises(Exception, match="makes no sense"):
        looked_at(card, curriculum, has_trace=True)


def test_learners_exception_on_the_card_is_an_error(curriculum: Curriculum, no_ncu: None) -> None:
    """With the command that judges it."""
    del no_ncu
    with pytest.raises(GpuprepError, match="out of memory") as raised:
        looked_at(pretended(time={"status": "raised", "message": "out of memory"}), curriculum)
    assert raised.value.next_step == "gpuprep check ex_01"


def test_untraceable_card_still_has_times() -> None:
    """The reason is kept."""
    timed = timed_of(SPEED_CASE, [1.0, 1.0], {"status": "untraced", "why": "no CUPTI"})
    assert (timed.median_ms, timed.top, timed.why_untraced) == (1.0, (), "no CUPTI")


@pytest.mark.parametrize("samples", [[], [0.0], [-1.0], ["1"], [float("inf")]])
def test_times_that_are_none_are_refused(samples: list[Any]) -> None:
    """They come from a process that runs a learner's code."""
    with pytest.raises(ValueError, match="times"):
        timed_of(SPEED_CASE, samples, TRACED)


@pytest.mark.parametrize("change", [{"threads": 0}, {"registers": -1}, {"grid": [1.5, 1, 1]}, {"shared_bytes": 2**60}])
def test_kernels_that_are_none_are_refused(change: dict[str, Any]) -> None:
    """No honest worker counts like that."""
    with pytest.raises(ValueError, match="count"):
        kernels_of([{**NOTE, **change}], "9.0")


def test_this_machine_is_looked_at_for_a_card() -> None:
    """There is one just where torch finds one."""
    assert (find_card() is not None) == torch.cuda.is_available()


def test_blank_inputs_take_no_memory(curriculum: Curriculum) -> None:
    """Shapes, strides and dtypes are those of the drawn ones; values there are none."""
    grader = load_grader(curriculum, curriculum.exercise("ex_03"))
    case = Case({"M": 2**14, "N": 2**14, "K": 2**14, "dtype": "float16"}, tier=Tier.SPEED)
    told = [blanked(value) for value in grader.inputs(case, BlankDraw())]
    assert told[0] == {"blank": [2**14, 2**14], "strides": [2**14, 1], "dtype": "float16"}
    assert blanked((1, "a", {"b": 2.0})) == [1, "a", {"b": 2.0}]


# Figures and what to do about them

FOUND = Profile(None, "", "9.0", ())  # type: ignore[arg-type]
WORK = Work(4096, 4096, 128, 128, launches=1, programs=4)
COUNTED = CaseResult(
    Case({"n": 1024}, tier=Tier.WORK),
    "cpu",
    Outcome.PASSED,
    work=WORK,
    budgets=(Budget("bytes_loaded", 4096, 8192, "once"), Budget("launches", 1, 1, "one")),
)


def kernel(registers: int = 32, shared_bytes: int = 0, threads: int = 256, **more: Any) -> Kernel:
    """A kernel with its occupancy on an H100."""
    full = occupancy(registers, shared_bytes, threads, LIMITS["9.0"])
    return Kernel("k", (64, 1, 1), threads, shared_bytes, registers, 0, 0, full, **more)


def advised(found: Kernel, operation: Operation | None = None, told: Profile = FOUND) -> dict[str, str]:
    """What is to be done, by figure."""
    figures = kernel_figures(found, told, operation or Operation(COUNTED, compiled_for=COUNTED.case))
    return {figure.id: figure.advice for figure in figures if figure.advice}


def test_healthy_kernel_gets_no_advice() -> None:
    """A sentence under each figure would be read by nobody."""
    assert advised(kernel()) == {}


@pytest.mark.parametrize(
    ("found", "word"),
    [
        (kernel(registers=255), "255 registers"),
        (kernel(shared_bytes=160 * 1024, stages=3), "pipeline stages"),
        (kernel(registers=200, shared_bytes=200 * 1024), "either"),
        (kernel(shared_bytes=300 * 1024), "can't be launched"),
    ],
)
def test_low_occupancy_is_answered_by_what_limits_it(found: Kernel, word: str) -> None:
    """One sentence, about the resource that runs out first."""
    assert word in advised(found)["occupancy"]


def test_small_blocks_are_answered() -> None:
    """An SM that holds 16 blocks of a warp each is two thirds empty."""
    full = occupancy(32, 0, 32, LIMITS["8.6"])
    small = replace(kernel(), threads=32, occupancy=full)
    assert "more threads" in advised(small, told=replace(FOUND, capability="8.6"))["occupancy"]


def test_large_tile_of_a_product_is_no_fault() -> None:
    """Where arithmetic sets the pace, few warps with much to do each are what the best kernels have."""
    intense = Operation(COUNTED, compiled_for=COUNTED.case, is_intense=True)
    assert advised(kernel(registers=128), intense) == {}
    assert "occupancy" in advised(kernel(registers=128))


def test_spills_and_local_memory_are_answered() -> None:
    """ptxas tells spills apart; the driver only says how much local memory there is."""
    assert "registers" in advised(replace(kernel(), spill_bytes=8))["spill_bytes"]
    assert "unrolled" in advised(replace(kernel(), spill_bytes=None, stack_bytes=8))["stack_bytes"]


def test_few_blocks_leave_sms_idle() -> None:
    """At the size that is timed, and on a card whose SMs are known."""
    told = replace(FOUND, n_sms=132)
    timed = Operation(COUNTED, compiled_for=SPEED_CASE)
    assert "68 of the card's 132 SMs" in advised(kernel(), timed, told)["blocks"]
    assert advised(kernel(), None, told) == {}


def test_work_above_its_budget_or_well_above_the_least_is_answered() -> None:
    """Within the budget a product may load more than the least: its tiles are only so large."""

    def advice(operation: Operation) -> dict[str, str]:
        return {figure.id: figure.advice for figure in work_figures(operation) if figure.advice}

    assert advice(Operation(COUNTED)) == {}
    twice = Operation(replace(COUNTED, work=replace(WORK, bytes_loaded=8192, sectors_loaded=256)))
    assert advice(twice).keys() == {"bytes_loaded"}
    assert advice(replace(twice, is_intense=True)) == {}
    over = replace(COUNTED, outcome=Outcome.TOO_MUCH_WORK, message="over", work=replace(WORK, launches=2))
    assert advice(Operation(over)).keys() == {"launches"}


def test_wasted_sectors_and_conflicts_name_their_line() -> None:
    """Of several lines the one that costs most."""
    work = replace(WORK, sectors_loaded=1024, load_requests=32, shared_requests=64, bank_conflicts=31)
    where = SourceLine("k.cu", 7, "x = tile[i][j];")
    accesses = (Access("load", 32.0, where), Access("shared", 32.0, replace(where, line=9)))
    figures = {figure.id: figure for figure in work_figures(Operation(replace(COUNTED, work=work), accesses))}
    assert "line 7" in figures["sectors_used"].advice
    assert "line 9" in figures["bank_conflicts"].advice
    assert figures["sectors_per_load"].value == 32.0


def test_line_is_that_of_the_side_that_wastes() -> None:
    """Wide loads touch many sectors and use them all; it is the stores that scatter, and they are told of once."""
    work = replace(WORK, sectors_stored=1024, load_requests=8, store_requests=32)
    where = SourceLine("k.cu", 7, "out[i * n] = x[i];")
    accesses = (Access("load", 16.0, replace(where, line=3)), Access("store", 32.0, where))
    scattered = replace(
        COUNTED,
        outcome=Outcome.TOO_MUCH_WORK,
        message="over",
        work=work,
        budgets=(*COUNTED.budgets, Budget("sectors_stored", 128, 128, "full sectors")),
    )
    advice = {figure.id: figure.advice for figure in work_figures(Operation(scattered, accesses)) if figure.advice}
    assert advice.keys() == {"sectors_used"}
    assert "line 7" in advice["sectors_used"]


def test_any_other_budget_that_is_broken_is_told() -> None:
    """With the budget's own reason."""
    broken = replace(
        COUNTED,
        outcome=Outcome.TOO_MUCH_WORK,
        message="over",
        work=replace(WORK, atomics=64),
        budgets=(Budget("atomics", 0, 8, "a few parts of each sum"),),
    )
    (figure,) = [figure for figure in work_figures(Operation(broken)) if figure.advice]
    assert (figure.id, figure.value) == ("atomics", 64)
    assert "a few parts" in figure.advice


def test_gaps_and_copies_on_the_card_are_answered() -> None:
    """Only where they matter."""
    slow = Timed(SPEED_CASE, 1.0, 1.0, 1.0, copies_share=0.2, busy_share=0.5)
    assert all(figure.advice for figure in timed_figures(slow) if figure.id != "median_ms")
    quick = Timed(SPEED_CASE, 1.0, 1.0, 1.0, copies_share=0.001, busy_share=0.99)
    assert not any(figure.advice for figure in timed_figures(quick))


@pytest.mark.parametrize(
    ("figures", "word"),
    [
        ({"memory_share": 92.0, "compute_share": 10.0}, "fewer bytes"),
        ({"memory_share": 20.0, "compute_share": 30.0}, "under way"),
        ({"memory_share": 20.0, "compute_share": 90.0}, ""),
        ({"load_conflicts": 1_190_665.0, "shared_loads": 8_381_440.0}, ""),
        ({"load_conflicts": 8_381_440.0, "shared_loads": 8_381_440.0}, "Pad the rows"),
    ],
)
def test_counters_say_what_sets_the_pace(figures: dict[str, float], word: str) -> None:
    """Memory, or neither, or banks that lanes meet in. One that is busy computing is left alone, and so is one with
    the conflicts that every kernel has."""
    told = [figure.advice for figure in counter_figures(Counters("k", figures)) if figure.advice]
    assert (word in told[0]) if word else not told


# Nsight Compute

CSV = """==PROF== Connected to process 7
hello
"ID","Process ID","Kernel Name","Metric Name","Metric Unit","Metric Value"
"0","7","_add_kernel","dram__bytes.sum","byte","1,024"
"0","7","_add_kernel","sm__throughput.avg.pct_of_peak_sustained_elapsed","%","12.5"
"0","7","_add_kernel","something__else.sum","","1"
"1","7","fill","dram__bytes.sum","byte","n/a"
"""


def completed(log: str, returncode: int = 0, stderr: str = "") -> profile_ncu.Run:
    """An ncu that writes this to its log."""

    def run(command: Any) -> subprocess.CompletedProcess[str]:
        Path(command[command.index("--log-file") + 1]).write_text(log)
        assert Path(command[-1], "args.pt").is_file()
        return subprocess.CompletedProcess(command, returncode, "", stderr)

    return run


@pytest.fixture
def has_ncu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with Nsight Compute."""
    monkeypatch.setattr(profile_ncu.shutil, "which", lambda *_args, **_options: "/opt/ncu")


def test_counters_are_read_by_kernel(has_ncu: None) -> None:
    """What a card doesn't count is left out, as is what nobody asked for."""
    del has_ncu
    found = profile_ncu.read_counters({"path": "x.py"}, [torch.zeros(2), 3], run=completed(CSV))
    assert found == (
        Counters("_add_kernel", {"device_bytes": 1024.0, "compute_share": 12.5}),
        Counters("fill", {}),
    )


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (completed("==ERROR== ERR_NVGPUCTRPERM - The user does not have permission"), "administrators"),
        (completed("==ERROR== The application returned an error code (1).", 1), "error code"),
        (completed("", 9), "exit code 9"),
        (completed("==WARNING== No kernels were profiled."), "No kernels"),
    ],
)
def test_ncu_that_reads_nothing_says_why(has_ncu: None, run: profile_ncu.Run, said: str) -> None:
    """Each time in words that can be acted on."""
    del has_ncu
    with pytest.raises(profile_ncu.NoCountersError, match=said):
        profile_ncu.read_counters({}, [], run=run)


def test_ncu_that_hangs_is_given_up(has_ncu: None) -> None:
    """A profile goes on without it."""
    del has_ncu

    def run(command: Any) -> subprocess.CompletedProcess[str]:
        raise subprocess.TimeoutExpired(command, 1.0)

    with pytest.raises(profile_ncu.NoCountersError, match="can't be run"):
        profile_ncu.read_counters({}, [], run=run)


def test_ncu_that_is_not_there_is_said(no_ncu: None) -> None:
    """With what it comes in."""
    del no_ncu
    with pytest.raises(profile_ncu.NoCountersError, match="CUDA toolkit"):
        profile_ncu.ncu_path()


@pytest.mark.gpu
def test_real_card_is_looked_at(curriculum: Curriculum) -> None:
    """ex_01's reference: its kernel is the longest, its registers are the driver's, and the trace is JSON."""
    exercise = curriculum.exercise("ex_01")
    card = find_card()
    assert card is not None
    found = profile(
        exercise,
        curriculum,
        curriculum.reference_path(exercise),
        capability=card.capability,
        card=card,
        has_trace=True,
    )
    (operation,) = found.operations
    assert "_add_kernel" in operation.timed.top[0].name
    assert operation.kernels[0].registers > 0
    assert found.trace is not None
    assert b"_add_kernel" in found.trace
