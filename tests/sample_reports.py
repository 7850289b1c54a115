"""Reports made by hand: one of each kind that a renderer must know how to show."""

from __future__ import annotations

from dataclasses import replace

from gpuprep.exercise import Exercise, Hint, Target
from gpuprep.model import (
    Budget,
    Case,
    CaseResult,
    Diagnosis,
    Evidence,
    Measurement,
    Outcome,
    Remark,
    Report,
    Sample,
    SourceLine,
    Tier,
    TierResult,
    Timing,
    Work,
)

PATH = "exercises/00_foundations/ex_01_vector_add.py"
EXERCISE = Exercise(
    id="ex_01",
    name="vector_add",
    title="Vector add",
    module="00_foundations",
    language="triton",
    summary="`add(x, y)`: the memory-bound baseline",
    minutes=30,
    hints=(Hint("First."), Hint("Second.", ("tail",)), Hint("Third.")),
    targets=(Target("share_of_copy", 0.80, 0.95),),
    topics=("triton",),
)
N = 2**15
N_BYTES = 4 * N
WORK = Work(2 * N_BYTES, N_BYTES, 2 * N_BYTES // 32, N_BYTES // 32, launches=1, programs=32)
BUDGETS = (
    Budget("bytes_loaded", 2 * N_BYTES, 2 * N_BYTES, "2·n·itemsize: x and y once each"),
    Budget("bytes_stored", N_BYTES, N_BYTES, "n·itemsize: out once"),
    Budget("launches", 1, 1, "one kernel does it"),
)
CORRECT = tuple(CaseResult(Case({"n": n, "dtype": "float32"}), "cpu", Outcome.PASSED) for n in (1, 33, 1025))
WORK_CASE = Case({"n": N, "dtype": "float32"}, tier=Tier.WORK)
WORKED = CaseResult(WORK_CASE, "cpu", Outcome.PASSED, work=WORK, budgets=BUDGETS)
CORRECT_TIER = TierResult(Tier.CORRECT, Outcome.PASSED)
WORK_TIER = TierResult(Tier.WORK, Outcome.PASSED, evidence=Evidence.SELF_REPORTED)
NO_SPEED = TierResult(Tier.SPEED, Outcome.SKIPPED, "no GPU found")
WRONG_CASE = CaseResult(
    Case({"n": 1025, "dtype": "float32", "layout": "offset"}),
    "cpu",
    Outcome.WRONG_VALUES,
    "the output differs from the oracle",
    Diagnosis("tail", "Only the last, partly filled block is wrong: the mask of the store does not cover it."),
    SourceLine(PATH, 31, "    tl.store(out_ptr + offsets, x + y)"),
    tuple(Sample((1018 + place,), 0.5 + place, float("nan")) for place in range(6)),
    n_wrong=7,
    n_total=1025,
)


def provisional() -> Report:
    """Everything passed where there is no GPU."""
    return Report("ex_01", Outcome.PROVISIONAL, (CORRECT_TIER, WORK_TIER, NO_SPEED), (*CORRECT, WORKED), path=PATH)


def timed(value: float = 0.981, gold_at: float | None = 0.95) -> Report:
    """A report with a speed figure on a card; the outcome follows from the figure."""
    figure = Measurement(
        Target("share_of_copy", 0.80, gold_at), value, value - 0.003, value + 0.003, "4.23 of 4.31 TB/s"
    )
    speed_case = Case({"n": 2**28, "dtype": "float32"}, tier=Tier.SPEED, devices=("cuda",))
    timing = Timing(speed_case, "NVIDIA H200", 0.752, 0.750, 0.755, n_samples=200, figures=(figure,))
    messages = {Outcome.TOO_SLOW: "below the target", Outcome.INCONCLUSIVE: "the interval spans the target"}
    return Report(
        "ex_01",
        figure.outcome,
        (CORRECT_TIER, WORK_TIER, TierResult(Tier.SPEED, figure.outcome)),
        (*CORRECT, WORKED),
        (timing,),
        message=messages.get(figure.outcome, ""),
        path=PATH,
        device="NVIDIA H200",
    )


def timed_apart(add: float = 0.981, total: float = 0.61, reason: str = "") -> Report:
    """A report with two operations that were timed, each with its own targets; the outcome is the worse one's."""
    timings = []
    for op, value, pass_at in (("add", add, 0.85), ("total", total, 0.70)):
        case = Case({"op": op, "n": 2**28, "dtype": "float32"}, tier=Tier.SPEED, devices=("cuda",))
        target = Target("share_of_copy", pass_at, 0.95, of=op)
        figure = Measurement(target, value, value - 0.003, value + 0.003, "4.23 of 4.31 TB/s")
        median_ms, low_ms, high_ms = (0.752, 0.750, 0.755) if op == "add" else (0.251, 0.250, 0.252)
        timings.append(Timing(case, "NVIDIA H200", median_ms, low_ms, high_ms, 200, (figure,), net_ms=median_ms))
    worst = min((timing.outcome for timing in timings), key=lambda outcome: outcome.precedence)
    speed = TierResult(Tier.SPEED, Outcome.SKIPPED if reason else worst, reason)
    return Report(
        "ex_01",
        Outcome.PROVISIONAL if reason else worst,
        (CORRECT_TIER, WORK_TIER, speed),
        (*CORRECT, WORKED),
        tuple(timings),
        message="" if worst.is_pass else "total n=268435456 float32: share of copy is 0.61, the target is 0.70",
        path=PATH,
        device="NVIDIA H200",
    )


def trusted() -> Report:
    """A gold report whose work and time were witnessed, and whose time was audited."""
    report = timed()
    witnessed = TierResult(Tier.WORK, Outcome.PASSED, evidence=Evidence.WITNESSED)
    tiers = tuple(witnessed if tier.tier is Tier.WORK else tier for tier in report.tiers)
    timings = tuple(replace(timing, claimed_ms=0.752, net_ms=0.75, replayed_ms=0.751) for timing in report.timings)
    return replace(report, tiers=tiers, timings=timings)


def wrong_values() -> Report:
    """The last elements are wrong."""
    tiers = (TierResult(Tier.CORRECT, Outcome.WRONG_VALUES), NO_SPEED)
    another = CaseResult(Case({"n": 31, "dtype": "float32"}), "cpu", Outcome.WRONG_VALUES, "wrong too")
    printed = "".join(f"line {number}\n" for number in range(1, 13))
    cases = (*CORRECT, WRONG_CASE, another)
    return Report("ex_01", Outcome.WRONG_VALUES, tiers, cases, path=PATH, stdout=printed)


def too_much_work() -> Report:
    """One input is loaded twice."""
    work = Work(3 * N_BYTES, N_BYTES, 3 * N_BYTES // 32, N_BYTES // 32, launches=1, programs=32)
    diagnosis = Diagnosis("extra_work", "Something is loaded more than once.")
    message = "more bytes are loaded than fit the budget"
    failed = CaseResult(WORK_CASE, "cpu", Outcome.TOO_MUCH_WORK, message, diagnosis, work=work, budgets=BUDGETS)
    tier = TierResult(Tier.WORK, Outcome.TOO_MUCH_WORK, evidence=Evidence.SELF_REPORTED)
    return Report("ex_01", Outcome.TOO_MUCH_WORK, (CORRECT_TIER, tier), (*CORRECT, failed), path=PATH)


def race() -> Report:
    """A kernel in CUDA C races; another line is only suspicious."""
    kernels = PATH.replace(".py", ".cu")
    other = Remark("the other access", SourceLine(kernels, 7, "sum[threadIdx.x] = x[i];"))
    warning = Remark("warning: lanes of a warp read what others wrote", SourceLine(kernels, 12, "float y = sum[0];"))
    failed = CaseResult(
        CORRECT[0].case,
        "cpu",
        Outcome.RACE,
        "race on sum: thread (0,0,0) of block (0,0,0) reads element 1",
        Diagnosis("race", "Nothing orders these two accesses."),
        where=SourceLine(kernels, 9, "total += sum[threadIdx.x + 1];"),
        remarks=(other,),
    )
    passed = replace(CORRECT[1], remarks=(warning,))
    return Report(
        "ex_01", Outcome.RACE, (TierResult(Tier.CORRECT, Outcome.RACE), NO_SPEED), (failed, passed), path=PATH
    )


def banned_call() -> Report:
    """A library did the work: the kernel moved nothing."""
    work = Work(launches=0)
    message = "no solution needs this little"
    failed = CaseResult(
        WORK_CASE,
        "cpu",
        Outcome.BANNED_CALL,
        message,
        Diagnosis("banned", "Something else adds."),
        work=work,
        budgets=BUDGETS,
    )
    tier = TierResult(Tier.WORK, Outcome.BANNED_CALL, evidence=Evidence.SELF_REPORTED)
    return Report("ex_01", Outcome.BANNED_CALL, (CORRECT_TIER, tier), (*CORRECT, failed), path=PATH)


def without_cases(outcome: Outcome, message: str = "what went wrong", where: SourceLine | None = None) -> Report:
    """A check that ended before any case ran."""
    return Report("ex_01", outcome, message=message, where=where, path=PATH)


def compile_failed() -> Report:
    """A syntax error."""
    return without_cases(Outcome.COMPILE_FAILED, "SyntaxError: '(' was never closed", SourceLine(PATH, 3, "def add(x"))
