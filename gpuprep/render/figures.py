"""The measured figures of a report, in words: cases, counted work against its budget, speed against its targets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gpuprep.exercise import QUALITIES, TIMES, Target
from gpuprep.model import Budget, CaseResult, Measurement, Outcome, Report, Tier, TierResult, Timing, Work
from gpuprep.render.layout import HARD_SPACE, counted, grouped
from gpuprep.work import COMMUNICATION, RATIOS

SECTOR_BYTES = 32
"""The smallest piece of memory that a GPU moves."""

_US_PER_MS = 1000.0

_FIGURES = {
    "share_of_copy": "of this card's copy rate",
    "share_of_matmul": "of this card's torch.matmul",
    "times_eager": "× as fast as torch",
    "times_compiled": "× as fast as torch.compile",
    "times_f16": "× as fast as float16",
    "times_sdpa": "× as fast as torch's best attention",
    "times_unsplit": "× as fast as unsplit",
    "times_unfused": "× as fast as unfused",
    "times_all_reduce": "× as fast as dist.all_reduce",
    "times_one_gpu": "× as fast as one GPU",
    "sqnr_db": "dB of signal over quantization noise",
}


_HELD = {"peak_bytes": "held at most", "largest_tensor_bytes": "in the largest tensor"}
_NOT_ABOUT_VALUES = {Outcome.SKIPPED: "skipped", Outcome.BANNED_CALL: "with a banned call"}
"""Outcomes of a case that say nothing about its values."""
_RIGHT_ENOUGH = (Outcome.BANNED_CALL, Outcome.TOO_MUCH_WORK, Outcome.TOO_SLOW, Outcome.INVALID, Outcome.INCONCLUSIVE)
"""Failures of a case that is counted or timed which leave open whether its values are right."""


@dataclass(frozen=True)
class Paragraph:
    """Some lines about a tier that share a mark."""

    outcome: Outcome
    is_gold: bool
    lines: tuple[str, ...]
    op: str = ""
    """The operation that they are about, where several are timed apart."""


def paragraphs(report: Report, tier: TierResult) -> list[Paragraph]:
    """What one tier found, or why it found nothing; operations that were timed apart each in a paragraph."""
    is_speed = tier.tier is Tier.SPEED
    apart = report.timings if is_speed and any(timing.case.op for timing in report.timings) else ()
    found = [Paragraph(timing.outcome, timing.is_gold, _operation_lines(timing), timing.case.op) for timing in apart]
    if apart and tier.outcome is not Outcome.SKIPPED:
        rest = [tier.reason] if tier.reason else []
    else:
        rest = _tier_lines(report, tier)
    return [*found, Paragraph(tier.outcome, is_speed and report.is_gold, tuple(rest))] if rest else found


def _tier_lines(report: Report, tier: TierResult) -> list[str]:
    if tier.outcome is Outcome.SKIPPED:
        return [f"not graded: {tier.reason}"]
    lines = {Tier.CORRECT: _correct_lines, Tier.WORK: _work_lines, Tier.SPEED: _speed_lines}[tier.tier](report)
    counted_cases = (result for result in report.cases if result.case.tier is Tier.WORK)
    culprit = next((result for result in counted_cases if result.outcome is tier.outcome), None)
    first = report.first_failure
    is_told = first is not None and first.case.tier is Tier.WORK and tier.outcome is report.outcome
    if tier.tier is Tier.WORK and culprit and tier.outcome.is_failure and not is_told:
        lines.insert(0, f"{tier.outcome} in case {culprit.case.name}")
    if tier.evidence and lines:
        lines[-1] += f", {tier.evidence}"
    if tier.reason:
        lines.append(tier.reason)
    return lines or [tier.outcome.value]


def wanted(budget: Budget) -> str:
    """`at most 131 072`, with the least too where that is another figure."""
    if budget.least == budget.most:
        return f"exactly {amount(budget, budget.most)} wanted"
    if not budget.least:
        return f"at most {amount(budget, budget.most)} wanted"
    return f"{amount(budget, budget.least)} to {amount(budget, budget.most)} wanted"


def amount(budget: Budget, value: float) -> str:
    """So much of the figure that a budget bounds: `4.40` of a ratio, `131 072` of a count."""
    return f"{value:.2f}" if budget.figure in RATIOS else grouped(int(value))


def goal(target: Target) -> str:
    """`at least 80% of this card's copy rate, gold 95%`."""
    gold = f", gold {_value(target.figure, target.gold_at)}" if target.gold_at is not None else ""
    return f"at least {_value(target.figure, target.pass_at)} {_FIGURES[target.figure]}{gold}"


def named(figure: str) -> str:
    """What a figure is, without its value: `of this card's copy rate`, `as fast as torch`."""
    return _FIGURES[figure].removeprefix("× ")


def reading(figure: str, value: float) -> str:
    """`98.1% of this card's copy rate`."""
    return f"{_value(figure, value)} {_FIGURES[figure]}"


def milliseconds(*times_ms: float) -> str:
    """`0.752 ms`, `0.750–0.755 ms`, or in µs where that reads better."""
    unit, scale = ("ms", 1.0) if min(times_ms) >= 0.1 else ("µs", _US_PER_MS)
    # `#` keeps the zero of 0.750, and leaves a bare point behind 750.
    numbers = [f"{time * scale:#.3g}".rstrip(".") for time in times_ms]
    return f"{'–'.join(numbers)}{HARD_SPACE}{unit}"


def _correct_lines(report: Report) -> list[str]:
    by_device: dict[str, list[CaseResult]] = {}
    for result in report.cases:
        if result.case.tier is Tier.CORRECT:
            by_device.setdefault(result.device, []).append(result)
    parts = []
    for device, results in by_device.items():
        n_passed = sum(result.outcome.is_pass for result in results)
        where = f" on {device}" if len(by_device) > 1 else ""
        others = [(outcome, sum(result.outcome is outcome for result in results)) for outcome in _NOT_ABOUT_VALUES]
        told = ", ".join(f"{number} {_NOT_ABOUT_VALUES[outcome]}" for outcome, number in others if number)
        parts.append(f"{n_passed} of {counted(len(results), 'case')} right{where}{f' ({told})' if told else ''}")
    measured = (result for result in report.cases if result.case.tier is not Tier.CORRECT)
    # What is counted or timed must be right as well.
    wrong = [result for result in measured if result.outcome.is_failure and result.outcome not in _RIGHT_ENOUGH]
    if wrong and all(result.outcome.is_pass for results in by_device.values() for result in results):
        parts.append(f"{counted(len(wrong), 'measured case')} not")
    return [", ".join(parts)] if parts else []


def _work_lines(report: Report) -> list[str]:
    measured = [result for result in report.cases if result.case.tier is Tier.WORK and result.work]
    if not measured:
        return []
    n_within = sum(result.outcome.is_pass for result in measured)
    failed = next((result for result in measured if result.outcome.is_failure), None)
    # Of each operation the first case tells enough; one that breaks a budget is all that matters.
    shown = [failed] if failed else list({result.case.op: result for result in reversed(measured)}.values())[::-1]
    lines = [_figure_line(figure) for result in measured for figure in result.figures]
    for result in shown:
        # Of ranks, all that pass did about the same: what the first one did is told.
        case = ("rank 0 of " if "world" in result.case.params else "") + result.case.name
        parts = ", ".join(_work_parts(result))
        lines += [f"{case}: {parts}"] if len(shown) > 1 else [parts, case]
    within = f"{n_within} of {counted(len(measured), 'case')} within budget"
    return [*lines, within] if len(shown) > 1 else [*lines[:-1], f"{lines[-1]}; {within}"]


def _work_parts(result: CaseResult) -> list[str]:
    """Bytes against the least possible, launches, and how much of each moved sector was used."""
    work = result.work or Work()
    least = {budget.figure: budget.least for budget in result.budgets if not budget.of}
    if "bytes_moved" not in least and {"bytes_loaded", "bytes_stored"} <= least.keys():
        least["bytes_moved"] = least["bytes_loaded"] + least["bytes_stored"]
    held = [
        f"{counted(int(budget.used(work)), 'byte')} {_HELD[budget.figure]}"
        for budget in result.budgets
        if budget.figure in _HELD and budget.used(work)
    ]
    if not work.programs and (held or any(budget.figure in COMMUNICATION for budget in result.budgets)):
        return [*_dot_parts(work, least), *held, *(_communication_parts(work) if "world" in result.case.params else [])]
    parts = []
    if "bytes_moved" in least or not least.keys() & {"bytes_loaded", "bytes_stored"}:
        parts.append(f"{counted(work.bytes_moved, 'byte')}{_ratio(work.bytes_moved, least.get('bytes_moved'))}")
    else:
        for figure, verb in (("bytes_loaded", "loaded"), ("bytes_stored", "stored")):
            n_bytes = int(getattr(work, figure))
            parts.append(f"{counted(n_bytes, 'byte')} {verb}{_ratio(n_bytes, least.get(figure))}")
    parts += _dot_parts(work, least)
    apart = {budget.of: (int(budget.used(work)), budget.least) for budget in result.budgets if budget.of}
    if once := [name for name, (n_bytes, least_bytes) in apart.items() if n_bytes == least_bytes]:
        parts.append(f"{', '.join(once)} read once")
    parts += [
        f"{counted(n_bytes, 'byte')} of {name}{_ratio(n_bytes, least_bytes)}"
        for name, (n_bytes, least_bytes) in apart.items()
        if name not in once
    ]
    parts += [*held, counted(work.launches, "launch")]
    n_sectors = work.sectors_loaded + work.sectors_stored
    if n_sectors:
        # Lanes that load the same word share its sector: then more bytes arrive than are moved.
        used = min(1.0, work.bytes_moved / (n_sectors * SECTOR_BYTES))
        parts.append(f"sectors {used:.0%} used")
    return [*parts, *_warp_parts(work)]


def _dot_parts(work: Work, least: Mapping[str, float]) -> list[str]:
    if not work.dot_flops:
        return []
    return [f"{grouped(work.dot_flops)}{HARD_SPACE}FLOP in dots{_ratio(work.dot_flops, least.get('dot_flops'))}"]


def _communication_parts(work: Work) -> list[str]:
    """What a rank sends to others."""
    parts = []
    if work.messages:
        parts.append(f"{counted(work.sent_bytes, 'byte')} sent in {counted(work.messages, 'message')}")
    for name, n_collectives, n_bytes in (
        ("forward", work.collectives, work.ring_bytes),
        ("backward", work.collectives_backward, work.ring_bytes_backward),
    ):
        if n_collectives:
            parts.append(f"{counted(n_collectives, 'collective')} {name} ({counted(n_bytes, 'byte')} in a ring)")
    return parts or ["nothing sent"]


def _warp_parts(work: Work) -> list[str]:
    """What only a CUDA kernel's warps have: how they access memory."""
    parts = [
        f"{ratio:.2f}{HARD_SPACE}sectors a {verb} request"
        for verb, ratio in (("load", work.sectors_per_load), ("store", work.sectors_per_store))
        if ratio
    ]
    if work.shared_requests:
        parts.append(counted(work.bank_conflicts, "bank conflict"))
    if work.mma:
        parts.append(f"{grouped(work.mma)}{HARD_SPACE}tensor-core products")
    return parts


def _ratio(value: int, least: float | None) -> str:
    return f" = {value / least:.2f}{HARD_SPACE}×{HARD_SPACE}least" if least else ""


def _speed_lines(report: Report) -> list[str]:
    """The figures against their targets, the time behind them, and what it was measured on."""
    lines = []
    for timing in report.timings:
        lines += [*_timing_lines(timing), f"on {timing.device}, {timing.case.name}{_trusted(timing)}"]
    return lines


def _operation_lines(timing: Timing) -> tuple[str, ...]:
    """The same with the case in front, whose name begins with the operation's."""
    shape = timing.case.name.removeprefix(timing.case.op).lstrip()
    return (f"{shape} on {timing.device}{_trusted(timing)}", *_timing_lines(timing))


def _trusted(timing: Timing) -> str:
    if timing.replayed_ms is not None:
        return ", witnessed"
    return "" if timing.audited else ", unaudited"


def _timing_lines(timing: Timing) -> list[str]:
    n_samples = counted(timing.n_samples, "sample")
    median = f"median {milliseconds(timing.median_ms)} ({milliseconds(timing.low_ms, timing.high_ms)}, {n_samples})"
    details = [figure.detail for figure in timing.figures if figure.detail]
    return [*map(_figure_line, timing.figures), "; ".join([median, *details])]


def _figure_line(figure: Measurement) -> str:
    name, target = figure.target.figure, figure.target
    targets = f"pass {_value(name, target.pass_at)}"
    if target.gold_at is not None:
        targets += f", gold {_value(name, target.gold_at)}"
    interval = f"{_value(name, figure.low, figure.high)}; " if name not in QUALITIES else ""
    return f"{_value(name, figure.value)} {_FIGURES[name]} ({interval}{targets})"


def _value(figure: str, *values: float) -> str:
    """`0.93` as a percentage or as a factor; of two values, `97.8–98.4%`."""
    if figure in QUALITIES:
        return "–".join(f"{value:.1f}" for value in values)
    if figure in TIMES:
        return "–".join(f"{value:.2f}" for value in values)
    return "–".join(f"{value * 100:.3g}" for value in values) + "%"
