"""A learner's record made by hand: attempts that fail, are counted, get timed, and get faster."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import sample_reports as samples

from gpuprep import workspace
from gpuprep.curriculum import Curriculum
from gpuprep.exercise import Target
from gpuprep.model import (
    Budget,
    CardState,
    Case,
    CaseResult,
    Measurement,
    Outcome,
    Report,
    Roof,
    Tier,
    TierResult,
    Timing,
    Work,
)
from gpuprep.practice.desk import Desk
from gpuprep.progress import Progress

CARD = "NVIDIA H200"
VERSIONS = {"torch": "2.13.0", "triton": "3.9.0"}
COPY_GB_PER_S, MATMUL_TFLOP_PER_S = 4300.0, 700.0


def timing(
    median_ms: float,
    *,
    n: int = 2**28,
    op: str = "",
    flops_a_byte: float = 1 / 12,
    figure: str = "share_of_copy",
    dtype: str = "float32",
    card: CardState | None = None,
    has_roof: bool = True,
) -> Timing:
    """One time and the figure that follows from it; a library takes 1.25 ms."""
    params: dict[str, int | str] = {"op": op} if op else {}
    case = Case({**params, "n": n, "dtype": dtype}, Tier.SPEED, ("cuda",))
    n_bytes = 12 * n
    roof = Roof(n_bytes, int(n_bytes * flops_a_byte), dtype, COPY_GB_PER_S, MATMUL_TFLOP_PER_S)
    best_ms, detail = n_bytes / 1e6 / COPY_GB_PER_S, "of 4300 GB/s"
    if figure == "share_of_matmul":
        best_ms, detail = roof.flops / 1e9 / MATMUL_TFLOP_PER_S, "of 700 TFLOP/s"
    elif figure != "share_of_copy":
        best_ms, detail = 1.25, "torch.softmax takes 1.250 ms"
    value = best_ms / median_ms
    measured = Measurement(Target(figure, 0.8, 0.95, of=op), value, value * 0.99, value * 1.01, detail)
    low_ms, high_ms = median_ms * 0.99, median_ms * 1.01
    return Timing(
        case, CARD, median_ms, low_ms, high_ms, 200, (measured,), net_ms=median_ms, card=card,
        roof=roof if has_roof else None,
    )  # fmt: skip


def timed(exercise_id: str, *timings: Timing, outcome: Outcome = Outcome.PASSED) -> Report:
    """A check whose results were right, with these times."""
    message = "" if outcome.is_pass else "below the target"
    tiers = (samples.CORRECT_TIER, samples.WORK_TIER, TierResult(Tier.SPEED, outcome))
    cases = (*samples.CORRECT, samples.WORKED)
    report = Report(exercise_id, outcome, tiers, cases, timings, message=message, path="ex.py", device=CARD)
    return replace(report, versions=VERSIONS)


def counted(exercise_id: str, times_loaded: int) -> Report:
    """A check without a card, of a solution that loads its input so many times."""
    least = samples.N_BYTES
    work = Work(times_loaded * least, least, launches=times_loaded, programs=32)
    budgets = (
        Budget("bytes_loaded", least, least, "x once"),
        Budget("bytes_stored", least, least, "out once"),
        Budget("launches", 1, 1, "one kernel does it"),
    )
    if times_loaded == 1:
        result = CaseResult(samples.WORK_CASE, "cpu", Outcome.PASSED, work=work, budgets=budgets)
        tiers = (samples.CORRECT_TIER, samples.WORK_TIER, samples.NO_SPEED)
        return Report(exercise_id, Outcome.PROVISIONAL, tiers, (*samples.CORRECT, result), path="ex.py")
    result = CaseResult(samples.WORK_CASE, "cpu", Outcome.TOO_MUCH_WORK, "too many", work=work, budgets=budgets)
    tiers = (samples.CORRECT_TIER, TierResult(Tier.WORK, Outcome.TOO_MUCH_WORK))
    return Report(exercise_id, Outcome.TOO_MUCH_WORK, tiers, (*samples.CORRECT, result), path="ex.py")


def failed(exercise_id: str) -> Report:
    """The last elements are wrong."""
    return replace(samples.wrong_values(), exercise_id=exercise_id)


def story() -> list[Report]:
    """Two weeks of somebody's work: memory-bound, compute-bound, several operations, and one without a card."""
    matmul = {"figure": "share_of_matmul", "flops_a_byte": 300.0, "dtype": "float16", "n": 2**24}
    return [
        failed("ex_01"),
        samples.without_cases(Outcome.COMPILE_FAILED),
        timed("ex_01", timing(2.4), outcome=Outcome.TOO_SLOW),
        timed("ex_01", timing(1.1, n=2**28 - 4096), outcome=Outcome.TOO_SLOW),
        timed("ex_01", timing(0.78, n=2**28 - 8192)),
        timed("ex_01", timing(0.80)),
        replace(samples.race(), exercise_id="ex_02"),
        counted("ex_02", 3),
        counted("ex_02", 2),
        counted("ex_02", 1),
        timed("ex_03", timing(0.6, **matmul), outcome=Outcome.TOO_SLOW),
        timed("ex_03", timing(0.2, **matmul), outcome=Outcome.TOO_SLOW),
        timed("ex_03", timing(0.105, **matmul)),
        timed("ex_04", timing(0.9, figure="times_eager", flops_a_byte=1.25)),
        timed("ex_04", timing(0.5, figure="times_eager", flops_a_byte=1.25)),
        timed("ex_15", timing(1.0, op="add"), timing(0.9, op="total", flops_a_byte=0.25), outcome=Outcome.TOO_SLOW),
        timed("ex_15", timing(0.77, op="add"), timing(0.79, op="total", flops_a_byte=0.25)),
        timed("ex_16", timing(0.8, flops_a_byte=0.0)),
        failed("ex_17"),
    ]


def desk_with(folder: Path, curriculum: Curriculum, reports: Iterable[Report]) -> Desk:
    """A workspace in which these checks were made."""
    found = workspace.init(folder, curriculum, curriculum_root=curriculum.root).workspace
    with Progress(found.progress_path) as progress:
        for report in reports:
            exercise_hash = curriculum.exercise_hash(curriculum.exercise(report.exercise_id))
            progress.record(replace(report, exercise_hash=exercise_hash))
    return Desk(found, curriculum)
