"""What the counters found wrong with kernels, as results of a case: each finding's outcome, and why it matters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuprep.counters import findings
from gpuprep.model import OTHER_ACCESS, OTHER_CALL, CaseResult, Diagnosis, Outcome, Remark

if TYPE_CHECKING:
    from gpuprep.grading.answers import Answer, Asked

MAX_REMARKS = 8
"""Warnings and notes kept of one case: they decide nothing."""

_HARMLESS = ("warning", "note")
_SILENT = (findings.UNSET_LANES,)
"""No fault, and nothing to remark on, as long as the values are right."""
_OUTCOMES = {
    findings.OUT_OF_BOUNDS: Outcome.OUT_OF_BOUNDS,
    findings.MISALIGNED: Outcome.MISALIGNED,
    findings.RACE: Outcome.RACE,
    findings.BAD_SYNC: Outcome.BAD_SYNC,
    # What it read is whatever was there: the values are wrong, even where they came out right this time.
    findings.UNINITIALISED: Outcome.WRONG_VALUES,
    findings.UNSET_LANES: Outcome.WRONG_VALUES,
    findings.ASSERT: Outcome.RAISED,
    findings.TRAP: Outcome.RAISED,
    findings.CRASH: Outcome.CRASHED,
    findings.DEADLOCK: Outcome.DEADLOCK,
    findings.STACK_OVERFLOW: Outcome.CRASHED,
    findings.DIVISION_BY_ZERO: Outcome.CRASHED,
    findings.ENDLESS_LOOP: Outcome.TIMED_OUT,
}

OUT_OF_BOUNDS = Diagnosis(
    "out_of_bounds",
    "An address outside the tensor: on a card this reads or overwrites somebody else's memory, mostly in silence. "
    "Usual causes: no mask on the last block, a mask on the load but not on the store, a wrong stride.",
)
RACE = Diagnosis(
    "race",
    "Programs of one launch run in any order and at the same time. Give each program its own output elements, use "
    "an atomic, or split the work into two launches.",
)

_UNWRITTEN = Diagnosis(
    "uninitialised",
    "The same launch came to something else when its blocks and threads ran in another order, and no two accesses were "
    "seen to race. So something is read that was never written: a local variable without a first value, or a tile "
    "without __shared__, of which each thread has one of its own.",
)

_IN_CUDA = {
    findings.OUT_OF_BOUNDS: Diagnosis(
        "out_of_bounds",
        "An address outside the array: on a card this reads or overwrites something else, mostly in silence. Usual "
        "causes: the grid is rounded up and the last block's threads have no `if (i < n)`, a guard on the load but not "
        "on the store, a tile whose edge sticks out, an index that is one too far.",
    ),
    findings.RACE: Diagnosis(
        "race",
        "Nothing orders these two accesses. Between two barriers the threads of a block run in any order: put a "
        "__syncthreads() between the store and whoever reads or overwrites it (a __syncwarp() where all are of one "
        "warp). Blocks are never ordered within a launch: give each its own elements, use an atomic, or launch twice.",
    ),
    findings.MISALIGNED: Diagnosis(
        "misaligned",
        "An access of 4, 8 or 16 bytes must begin at a multiple of its size, or the card stops the kernel. A view may "
        "begin at any element: step to an aligned one with scalar accesses, then go on with float4.",
    ),
    findings.BAD_SYNC: Diagnosis(
        "bad_sync",
        "All threads of a block must reach the same __syncthreads(), and all lanes that a mask names the same warp "
        "function. Move it out of the `if` or the loop that only some of them enter; threads past the end must not "
        "return early but skip the work in between.",
    ),
    findings.UNINITIALISED: Diagnosis(
        "uninitialised",
        "Shared memory holds whatever the last block left there. Write every element before it is read, the tile's "
        "ragged edge and its halo too, and put a __syncthreads() in between.",
    ),
    findings.ASSERT: Diagnosis("assert", "The condition that is shown must hold, and is false for this input."),
    findings.TRAP: Diagnosis("assert", "The kernel stopped itself with __trap()."),
    findings.DEADLOCK: Diagnosis(
        "deadlock",
        "Threads wait for something that nobody will do any more: another block's flag, a lock that a lane of the same "
        "warp holds, a barrier that the others have left behind.",
    ),
    findings.STACK_OVERFLOW: Diagnosis(
        "stack_overflow",
        "A thread's stack is small. Recursion without an end, or arrays of many elements in a function, overflow it.",
    ),
    findings.DIVISION_BY_ZERO: Diagnosis(
        "division_by_zero", "An integer is divided by 0: a card goes on with a number that means nothing."
    ),
    findings.ENDLESS_LOOP: Diagnosis(
        "endless_loop", "The loop's condition stays true: check what changes it, and that it changes towards the end."
    ),
}
"""By kind, for CUDA kernels. Hints are keyed by the ids."""
_IN_TRITON = {findings.OUT_OF_BOUNDS: OUT_OF_BOUNDS, findings.RACE: RACE}


def finding_faults(asked: Asked, answer: Answer) -> Iterator[CaseResult]:
    """A failure for each finding that is one.

    Raises:
        KeyError, TypeError, ValueError: no honest worker answers so.
    """
    for finding in answer["findings"]:
        outcome, kind = _OUTCOMES[str(finding["kind"])], str(finding["kind"])
        if finding["severity"] not in ("error", *_HARMLESS):
            raise ValueError(f"a finding that is {finding['severity']!r}")
        if finding["severity"] in _HARMLESS:
            continue
        yield asked.failed(
            outcome,
            str(finding["message"]),
            diagnosis=(_IN_CUDA if _is_cuda(finding) else _IN_TRITON).get(kind),
            where=asked.line(int(finding["line"]), str(finding["path"])),
            remarks=_other(asked, finding),
        )


def order_matters(asked: Asked) -> Diagnosis:
    """What it means that a result depends on the order in which programs run, where nothing else was found."""
    # Of CUDA's kernels every access is followed, and a race would have been seen as one.
    return _UNWRITTEN if Path(asked.path).with_suffix(".cu").is_file() else RACE


def remarks(asked: Asked, answer: Answer) -> tuple[Remark, ...]:
    """What was found that decides nothing: warnings and notes."""
    told = [
        Remark(f"{finding['severity']}: {finding['message']}", asked.line(int(finding["line"]), str(finding["path"])))
        for finding in answer["findings"]
        if finding["severity"] in _HARMLESS and finding["kind"] not in _SILENT
    ]
    return tuple(told[:MAX_REMARKS])


def _is_cuda(finding: Mapping[str, Any]) -> bool:
    return finding["thread"] is not None or str(finding["path"]).endswith(".cu")


def _other(asked: Asked, finding: Mapping[str, Any]) -> tuple[Remark, ...]:
    """The other line of a race, or of a barrier that only some threads reach."""
    other = asked.line(int(finding["other_line"]), str(finding["path"]))
    if other is None or other.line == finding["line"]:
        return ()
    return (Remark(OTHER_CALL if finding["kind"] == findings.BAD_SYNC else OTHER_ACCESS, other),)
