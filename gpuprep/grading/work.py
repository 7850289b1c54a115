"""Counted work: what a call did, against what the task needs and allows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gpuprep.grader import ITEMSIZE
from gpuprep.model import CaseResult, Diagnosis, Outcome, Work

if TYPE_CHECKING:
    from gpuprep.grading.answers import Answer, Asked

_COPIES = frozenset({"aten.clone", "aten.contiguous"})
_FILLS = frozenset({"aten.zeros", "aten.zeros_like", "aten.new_zeros", "aten.full", "aten.full_like", "aten.new_full"})


def _work_of(answer: Answer) -> Work:
    if any(type(count) is not int or count < 0 for count in answer["work"].values()):
        raise ValueError(f"counted work that counts nothing: {answer['work']}")
    return Work(**answer["work"])


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


def budget_fault(asked: Asked, answer: Answer, result: CaseResult) -> CaseResult | None:
    """The first budget that a correct work case breaks, or None."""
    if result.work is None or not result.outcome.is_pass:
        return None
    kernels = _work_of(answer)
    for budget in result.budgets:
        by_kernels = int(getattr(kernels, budget.figure))
        if by_kernels < budget.least:
            return _done_elsewhere(
                asked,
                result,
                f"the kernels' {budget.figure} is {by_kernels}, and no solution needs less than {budget.least}: "
                "something else did the work",
            )
    if fault := _unwitnessed(asked, answer, result):
        return fault
    for budget in result.budgets:
        in_all = int(getattr(result.work, budget.figure))
        if in_all > budget.most:
            kind = "too_many_launches" if budget.figure == "launches" else "extra_work"
            return asked.failed(
                Outcome.TOO_MUCH_WORK,
                f"{budget.figure} is {in_all}; at most {budget.most} fit the budget ({budget.why})",
                diagnosis=Diagnosis(kind, _EXTRA[kind]),
                work=result.work,
                budgets=result.budgets,
            )
    return None


def _done_elsewhere(asked: Asked, result: CaseResult, message: str) -> CaseResult:
    return asked.failed(
        Outcome.BANNED_CALL,
        message,
        diagnosis=Diagnosis("banned", "The right values came from outside the kernel."),
        work=result.work,
        budgets=result.budgets,
    )


_EXTRA = {
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
