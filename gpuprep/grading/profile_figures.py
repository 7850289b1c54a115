"""A profile's figures one by one, each with a sentence on what to do where something is to be done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gpuprep.grading.profiled import Counters, Kernel, Operation, Profile, Timed
from gpuprep.model import CaseResult, Work
from gpuprep.occupancy import LIMITS, Occupancy

SECTOR_BYTES = 32
LOW_OCCUPANCY = 0.5
LOW_INTENSE_OCCUPANCY = 0.1
"""Where arithmetic sets the pace, a thread that holds a large tile hides latency by itself: the best products of
matrices have one large block an SM."""
MUCH_REUSE_LEFT = 1.5
"""Bytes ÷ the least, from which on it is worth a word although the budget allows it."""
WASTED_SECTORS = 0.9
"""Share of the moved bytes in sectors that is used, below which something is to be done."""
IDLE_BETWEEN = 0.9
COPIES_MATTER = 0.02
CONFLICTS_MATTER = 0.5
"""Of a shared access. A tile whose columns meet in banks has one for each access and more; the card's counter also has
those of two warps at a time, one for each seven accesses of a transpose on an H200, whatever the layout of its tile."""
NEAR_PEAK, FAR_FROM_PEAK = 80.0, 60.0
"""Percent of a peak, as Nsight Compute says it."""


@dataclass(frozen=True)
class Figure:
    """One figure."""

    id: str
    value: float
    advice: str = ""
    """What to do about it; empty where it is as it should be."""
    least: float | None = None
    """The least that any honest solution needs, where that is known."""


def kernel_figures(kernel: Kernel, found: Profile, operation: Operation) -> list[Figure]:
    """What the compiler made of a kernel, and how it fills an SM."""
    figures = []
    if kernel.registers is not None:
        figures.append(Figure("registers", kernel.registers))
    if kernel.spill_bytes is not None:
        figures.append(Figure("spill_bytes", kernel.spill_bytes, _SPILLS if kernel.spill_bytes else ""))
    elif kernel.stack_bytes is not None:
        figures.append(Figure("stack_bytes", kernel.stack_bytes, _LOCAL if kernel.stack_bytes else ""))
    figures.append(Figure("shared_bytes", kernel.shared_bytes))
    if kernel.occupancy is not None:
        advice = _fill(kernel, kernel.occupancy, found.capability, is_intense=operation.is_intense)
        figures.append(Figure("occupancy", kernel.occupancy.share, advice))
    is_timed_size = operation.timed is not None or (
        operation.counted is not None and operation.compiled_for != operation.counted.case
    )
    advice = ""
    if found.n_sms is not None and is_timed_size and kernel.blocks < found.n_sms:
        advice = (
            f"{found.n_sms - kernel.blocks} of the card's {found.n_sms} SMs get no block: cut the work into more, "
            "smaller blocks, or split the long axis among several."
        )
    figures.append(Figure("blocks", kernel.blocks, advice))
    return figures


def work_figures(operation: Operation) -> list[Figure]:
    """What was counted, against the least and against what the exercise allows."""
    result = operation.counted
    if result is None or result.work is None:
        return []
    return list(_counted(result, result.work, operation))


def timed_figures(timed: Timed) -> list[Figure]:
    """What the card's clock and the trace said."""
    figures = [Figure("median_ms", timed.median_ms)]
    if timed.busy_share is not None:
        advice = _GAPS if timed.busy_share < IDLE_BETWEEN else ""
        figures.append(Figure("busy_share", timed.busy_share, advice))
    if timed.copies_share:
        advice = _COPIES if timed.copies_share > COPIES_MATTER else ""
        figures.append(Figure("copies_share", timed.copies_share, advice))
    return figures


def counter_figures(counters: Counters) -> list[Figure]:
    """What Nsight Compute read of one kernel."""
    figures = dict(counters.figures)
    memory, compute = figures.get("memory_share"), figures.get("compute_share")
    advice = {}
    if memory is not None and compute is not None and max(memory, compute) < FAR_FROM_PEAK:
        advice["memory_share"] = (
            "Neither memory nor arithmetic is busy: have more under way at a time, by more warps or wider loads."
        )
    elif memory is not None and memory >= NEAR_PEAK:
        advice["memory_share"] = "Device memory is as busy as it gets: only moving fewer bytes makes this faster."
    for name, accesses in (("load_conflicts", "shared_loads"), ("store_conflicts", "shared_stores")):
        if figures.get(name, 0.0) > CONFLICTS_MATTER * figures.get(accesses, 0.0):
            advice[name] = _CONFLICTS
    return [Figure(name, value, advice.get(name, "")) for name, value in figures.items()]


_SPILLS = (
    "Values that don't fit the registers go through local memory, which is device memory: give each thread less to "
    "hold, by a smaller tile or more warps for the same one."
)
_LOCAL = (
    "A thread's local memory is device memory: index its arrays with constants (unrolled loops), or give it less to "
    "hold."
)
_GAPS = "The card waits between a call's kernels: launch fewer of them, or have the host do less in between."
_COPIES = "Copies and fills cost time of their own: write results where they belong, and allocate without zeroing."
_CONFLICTS = "Pad the rows of the shared tile by one element, or swizzle its index, so that lanes hit different banks."


def _fill(kernel: Kernel, occupancy: Occupancy, capability: str, *, is_intense: bool) -> str:
    limits = LIMITS[capability]
    limiters = occupancy.limited_by
    if not occupancy.active_blocks:
        return f"Not one block fits an SM ({' and '.join(limiters)}): it can't be launched, make its tile smaller."
    if occupancy.share >= (LOW_INTENSE_OCCUPANCY if is_intense else LOW_OCCUPANCY):
        return ""
    if "registers" in limiters and "shared memory" in limiters:
        return "Registers and shared memory both allow no more blocks: a smaller tile takes less of either."
    if "registers" in limiters:
        return (
            f"Each thread holds {kernel.registers} registers: let it work on fewer elements at a time, by a smaller "
            "tile or more warps for the same one."
        )
    if "shared memory" in limiters:
        stages = ", fewer pipeline stages" if kernel.stages and kernel.stages > 1 else ""
        return (
            f"A block takes {kernel.shared_bytes / 1024:.0f} of the {limits.shared_bytes // 1024} KiB that an SM has: "
            f"a smaller tile{stages} or more threads to share it fill the SM."
        )
    return f"An SM holds {limits.max_blocks} blocks at most, and these are small: give each of them more threads."


def _counted(result: CaseResult, work: Work, operation: Operation) -> Iterator[Figure]:
    bounds = {budget.figure: budget for budget in result.budgets if not budget.of}
    lines = {access.kind: f" (most of all line {access.where.line})" for access in operation.accesses}

    def figure(name: str, advice: str = "") -> Figure:
        bound = bounds.get(name)
        return Figure(name, getattr(work, name), advice, bound.least if bound and bound.least else None)

    for name, what_to_do in _TRAFFIC.items():
        if getattr(work, name) or name in bounds:
            yield figure(name, what_to_do if _is_much(result, name, operation) else "")
    yield figure("launches", _LAUNCHES if _is_over(result, "launches") else "")
    is_wasteful = False
    if n_sectors := work.sectors_loaded + work.sectors_stored:
        # Lanes that load the same word share its sector: then more bytes arrive than are moved.
        used = min(1.0, work.bytes_moved / (n_sectors * SECTOR_BYTES))
        wasted = {
            "load": work.sectors_loaded * SECTOR_BYTES - work.bytes_loaded,
            "store": work.sectors_stored * SECTOR_BYTES - work.bytes_stored,
        }
        where = lines.get(max(wasted, key=lambda kind: wasted[kind]), "")
        is_wasteful = used < WASTED_SECTORS
        yield Figure("sectors_used", used, _SECTORS.format(where=where) if is_wasteful else "")
    for name in ("sectors_per_load", "sectors_per_store"):
        if (value := getattr(work, name)) and (is_wasteful or not _is_over(result, name)):
            yield Figure(name, value)
    if work.shared_requests:
        advice = ""
        # What an exercise allows is known and can't be helped.
        if work.bank_conflicts and ("bank_conflicts" not in bounds or _is_over(result, "bank_conflicts")):
            advice = f"{_CONFLICTS.removesuffix('.')}{lines.get('shared', '')}."
        yield Figure("bank_conflicts", work.bank_conflicts, advice)
    told = {*_TRAFFIC, "launches", "bank_conflicts", *(_SECTOR_FIGURES if is_wasteful else ())}
    for budget in result.budgets:
        if budget.used(work) > budget.most and (budget.of or budget.figure not in told):
            yield Figure(budget.name, budget.used(work), f"More than fits the budget: {budget.why}.", budget.least)


_TRAFFIC = {
    "bytes_loaded": "Load each element once and keep it where it is needed again: in registers, or in a larger tile.",
    "bytes_stored": "Store each result once: what is not yet final stays in registers.",
    "dot_flops": "Leave out the products that nobody needs: tiles that a mask hides, or that were computed before.",
}
_SECTOR_FIGURES = ("sectors_loaded", "sectors_stored", "sectors_per_load", "sectors_per_store")
_LAUNCHES = "Each launch reads its inputs from device memory again: do it in fewer kernels."
_SECTORS = "Let neighbouring lanes access neighbouring elements{where}: of each sector that moves, part is wasted."


def _is_over(result: CaseResult, figure: str) -> bool:
    work = result.work or Work()
    return any(b.used(work) > b.most for b in result.budgets if b.figure == figure and not b.of)


def _is_much(result: CaseResult, figure: str, operation: Operation) -> bool:
    """True above what the exercise allows, and well above the least where memory sets the pace."""
    value = getattr(result.work or Work(), figure)
    least = next((b.least for b in result.budgets if b.figure == figure and not b.of), 0)
    return _is_over(result, figure) or bool(least and value > MUCH_REUSE_LEFT * least and not operation.is_intense)
