"""Counted work: what a call did, against what the task needs and allows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gpuprep.grader import ITEMSIZE
from gpuprep.model import Budget, CaseResult, Diagnosis, Measurement, Outcome, SourceLine, Work
from gpuprep.work import COMMUNICATION, RATIOS

if TYPE_CHECKING:
    from gpuprep.grading.answers import Answer, Asked

_COPIES = frozenset({"aten.clone", "aten.contiguous"})
_FILLS = frozenset({"aten.zeros", "aten.zeros_like", "aten.new_zeros", "aten.full", "aten.full_like", "aten.new_full"})


SECTOR_BYTES = 32
MOST_WASTE = 1.5
"""Bytes of the sectors that are touched ÷ bytes that are asked for: from here on, lanes lie too far apart."""

_SECTOR_SITES = {
    "sectors_per_load": ("load", "sectors", "sectors a load request"),
    "sectors_loaded": ("load", "sectors", "sectors a load request"),
    "sectors_per_store": ("store", "sectors", "sectors a store request"),
    "sectors_stored": ("store", "sectors", "sectors a store request"),
}
_SHARED_FIGURES = frozenset({"bank_conflicts", "shared_wavefronts"})


def _work_of(answer: Answer) -> Work:
    counts = {**answer["work"], "bytes_loaded_of": tuple(answer["work"].get("bytes_loaded_of", ()))}
    figures = [*counts["bytes_loaded_of"], *(count for name, count in counts.items() if name != "bytes_loaded_of")]
    if any(type(count) is not int or count < 0 for count in figures):
        raise ValueError(f"counted work that counts nothing: {answer['work']}")
    return Work(**counts)


def counted_work(asked: Asked, answer: Answer) -> Work:
    """What the kernels did, plus the copies and fills that host code asked torch for (a scalar's is free)."""
    work = _work_of(answer)
    itemsize = ITEMSIZE[asked.case.get("dtype", "float32")]
    for op in answer["host_ops"]:
        name, numel = packet(op), int(op["numel"])
        if numel <= 1 or name not in _COPIES | _FILLS:
            continue
        loaded = numel * itemsize if name in _COPIES else 0
        work = replace(
            work,
            bytes_loaded=work.bytes_loaded + loaded,
            bytes_stored=work.bytes_stored + numel * itemsize,
            launches=work.launches + 1,
        )
    return work


def qualities(asked: Asked, answer: Answer) -> tuple[Measurement, ...]:
    """How good right outputs are, where the exercise has targets for that."""
    found = asked.grader.quality(asked.case, asked.args, answer["outputs"])
    wanted = {target.figure: target for target in asked.targets}
    return tuple(Measurement(wanted[name], value, value, value) for name, value in found.items() if name in wanted)


def budget_fault(asked: Asked, answer: Answer, result: CaseResult) -> CaseResult | None:
    """The first budget that a correct work case breaks, or None."""
    if result.work is None or not result.outcome.is_pass:
        return None
    kernels, has_kernels = _work_of(answer), asked.grader.uses_kernels(asked.case)
    whose = "the kernels' " if has_kernels else ""
    for budget in result.budgets:
        by_kernels = budget.used(kernels)
        if by_kernels < budget.least:
            return _done_elsewhere(
                asked,
                result,
                f"{whose}{budget.name} is {_shown(budget.figure, by_kernels)}, and no solution needs less "
                f"than {_shown(budget.figure, budget.least)}: something else did the work",
            )
    if has_kernels and (fault := _unwitnessed(asked, answer, result)):
        return fault
    for budget in result.budgets:
        if budget.used(result.work) > budget.most:
            return _over(asked, answer, result, budget)
    return None


def budgets_of(asked: Asked) -> tuple[Budget, ...]:
    """The case's budgets, each argument found among the call's tensors."""
    import torch

    names = asked.grader.argument_names(asked.case)
    tensors = [name for name, arg in zip(names, asked.args, strict=False) if isinstance(arg, torch.Tensor)]
    budgets = asked.grader.budgets(asked.case)
    return tuple(replace(budget, place=tensors.index(budget.of)) if budget.of else budget for budget in budgets)


def _over(asked: Asked, answer: Answer, result: CaseResult, budget: Budget) -> CaseResult:
    kind = _kind(budget.figure, _work_of(answer))
    in_all = budget.used(result.work or Work())
    worst, where = ("", None) if kind == "extra_work" else _worst_site(asked, answer, budget.figure)
    over, most = _shown(budget.figure, in_all), _shown(budget.figure, budget.most)
    return asked.failed(
        Outcome.TOO_MUCH_WORK,
        f"{budget.name} is {over}; at most {most} fit the budget ({budget.why}){worst}",
        diagnosis=Diagnosis(kind, _EXTRA[kind]),
        where=where,
        work=result.work,
        budgets=result.budgets,
        remarks=result.remarks,
    )


def _kind(figure: str, work: Work) -> str:
    """Which kind of too much it is. Many sectors may be wasted ones, or all needed, but needed too often."""
    wasted = {
        "sectors_loaded": SECTOR_BYTES * work.sectors_loaded > MOST_WASTE * work.bytes_loaded,
        "sectors_stored": SECTOR_BYTES * work.sectors_stored > MOST_WASTE * work.bytes_stored,
    }
    return _KINDS.get(figure, "extra_work") if wasted.get(figure, True) else "extra_work"


def _shown(figure: str, value: float) -> str:
    """`4.40` of a ratio, `131072` of a count."""
    return f"{value:.2f}" if figure in RATIOS else str(int(value))


def _worst_site(asked: Asked, answer: Answer, figure: str) -> tuple[str, SourceLine | None]:
    """The line that has most to do with a figure about how memory is accessed, in words, and where it is."""
    if figure in _SECTOR_SITES:
        kind, count, unit = _SECTOR_SITES[figure]
    elif figure in _SHARED_FIGURES:
        kind, count, unit = "shared", "wavefronts", "wavefronts a request to shared memory"
    elif figure == "shared_bytes_per_thread":
        # Block size and dynamic shared memory are the launch's.
        launches = [site for site in answer["sites"] if site["kind"] == "launch"]
        return "", asked.line(int(launches[0]["line"]), str(launches[0]["path"])) if len(launches) == 1 else None
    else:
        return "", None
    # What it costs beyond one of each a request: a bad line that runs once matters less than one that runs often.
    sites = [site for site in answer["sites"] if str(site["kind"]).startswith(kind) and int(site["requests"]) > 0]
    worst = max(sites, key=lambda site: int(site[count]) - _least(count) * int(site["requests"]), default=None)
    if worst is None:
        return "", None
    ratio = int(worst[count]) / int(worst["requests"])
    line = int(worst["line"])
    return f"; line {line}: {ratio:.2f} {unit}", asked.line(line, str(worst["path"]))


def _least(count: str) -> int:
    """What a request for 32 neighbouring words costs."""
    return 4 if count == "sectors" else 1


def _done_elsewhere(asked: Asked, result: CaseResult, message: str) -> CaseResult:
    inside = "the kernel" if asked.grader.uses_kernels(asked.case) else "what is counted"
    return asked.failed(
        Outcome.BANNED_CALL,
        message,
        diagnosis=Diagnosis("banned", f"The right values came from outside {inside}."),
        work=result.work,
        budgets=result.budgets,
    )


_KINDS = {
    "launches": "too_many_launches",
    "bank_conflicts": "bank_conflicts",
    "shared_wavefronts": "bank_conflicts",
    "dot_flops": "extra_flops",
    "messages": "extra_messages",
    **dict.fromkeys(COMMUNICATION[1:], "extra_communication"),
    **dict.fromkeys(("peak_bytes", "largest_tensor_bytes"), "too_much_memory"),
    **dict.fromkeys(_SECTOR_SITES, "uncoalesced"),
    "load_requests": "narrow_accesses",
    "store_requests": "narrow_accesses",
    "shared_requests": "shared_traffic",
    "shared_bytes_per_thread": "low_occupancy",
}
"""Which kind of too much a figure is; any other is extra work."""
_EXTRA = {
    "low_occupancy": (
        "Blocks that take much shared memory and have few threads leave a multiprocessor half empty: too few warps to "
        "work while others wait for memory. Keep less in shared memory, or let more threads share it."
    ),
    "uncoalesced": (
        "A warp's 32 lanes should access neighbouring elements: a request then touches 4 sectors of 32 bytes for "
        "floats (16 for float4), and nothing that is moved is wasted. Let threadIdx.x run along the axis of stride 1; "
        "go through shared memory where one side can't."
    ),
    "narrow_accesses": (
        "Each request brings 4 bytes a lane where 16 would fit: load and store float4 where addresses are multiples of "
        "16, and the memory system has a quarter of the requests to serve."
    ),
    "shared_traffic": (
        "Values that lanes of one warp need of each other don't have to go through shared memory: shuffles pass them "
        "from register to register, and only one value a warp is left to share."
    ),
    "bank_conflicts": (
        "Shared memory has 32 banks of 4 bytes: lanes of a warp that hit different words of one bank wait for each "
        "other. A column of a 32-wide tile lies in a single bank: pad its rows by one element, or swizzle the index."
    ),
    "extra_flops": (
        "Products are computed that nobody needs: tiles that a mask hides as a whole, or the same tile again. Leave "
        "them out of the loop instead of masking them."
    ),
    "extra_messages": "Each message costs its latency: send fewer and longer ones.",
    "extra_communication": (
        "A rank sends more than it has to. What do others need that only this rank has? That much and no more, once."
    ),
    "too_much_memory": (
        "A tensor is kept in memory that need not be there as a whole: work on one block of it at a time and keep only "
        "what the next block needs, or write into memory that you have already."
    ),
    "extra_work": "Memory is read or written more often than needed: load each element once, keep it in registers.",
    "too_many_launches": "Each launch reads its inputs from device memory again: do it in fewer kernels.",
}


def _unwitnessed(asked: Asked, answer: Answer, result: CaseResult) -> CaseResult | None:
    # A copy of what kernels wrote is in a tensor that no kernel wrote.
    copied = [int(op["numel"]) for op in answer["host_ops"] if packet(op) in _COPIES]
    for output, stored in zip(answer["outputs"], answer["stored"], strict=True):
        if output.numel() > max(1, stored, *copied):
            return _done_elsewhere(
                asked,
                result,
                f"kernels stored {stored} of the output's {output.numel()} elements, yet all are right: "
                "something else wrote the others",
            )
    return None


def packet(op: Mapping[str, Any]) -> str:
    """`aten.add` of `aten.add.Tensor`."""
    return ".".join(str(op["name"]).split(".")[:2])
