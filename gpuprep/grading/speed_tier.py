"""The speed tier: which cases are timed, and in which order everything is measured."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from gpuprep.grader import Grader
from gpuprep.grading import lease
from gpuprep.grading.ceilings import UnstableCardError, are_known, calibrate
from gpuprep.grading.machine import card_uuids, stopped
from gpuprep.grading.replay import Replay
from gpuprep.grading.speed import Bench, SpeedTest
from gpuprep.model import Case, CaseResult, Tier, Timing

ROOM = 12
"""So many times over a case's traffic must fit the free memory: sets of arguments, an audited round's inputs, slots and
copies, the oracle's float64 and its comparison."""


@dataclass(frozen=True)
class Measured:
    """What measuring came to: a time for each case, or what was wrong with one of them."""

    results: tuple[CaseResult, ...]
    timings: tuple[Timing, ...] = ()
    why_not: str = ""
    """Why not all was timed, where that has nothing to do with the learner's code."""


def fits(grader: Grader, case: Case) -> bool:
    """True where the card's free memory holds all that timing a case takes."""
    import torch

    return ROOM * grader.traffic(case).bytes < torch.cuda.mem_get_info()[0]


def timed_cases(grader: Grader, cases: Sequence[Case], card: str) -> tuple[tuple[Case, ...], str]:
    """Of each operation the first case that fits the card's memory, and why the others aren't timed, if there are any.

    Args:
        grader: knows a case's traffic.
        cases: those of the check, in the grader's order.
        card: its name.
    """
    import torch

    chosen: dict[str, Case | None] = {}
    for case in cases:
        if case.tier is Tier.SPEED and chosen.get(case.op) is None:
            chosen[case.op] = case if fits(grader, case) else None
    free_bytes, _ = torch.cuda.mem_get_info()
    left_out = [op or "it" for op, case in chosen.items() if case is None]
    why = f"{free_bytes / 2**30:.1f} GiB of free memory on {card} are too few to time {' and '.join(left_out)}"
    return tuple(case for case in chosen.values() if case is not None), why if left_out else ""


def measure_alone(bench: Bench, cases: Sequence[Case], card: str, replay: Replay | None = None) -> Measured:
    """Choose what to time, and time it, while no other check is on the card.

    Args:
        bench: what they share.
        cases: those of the check.
        card: its name.
        replay: see `measure`.

    Raises:
        UnstableCardError: something kept the card busy.
        StopGradingError: the learner's process died or hung.
    """
    bench.identity.wait_until_ready()
    if replay:
        replay.worker.wait_until_ready()
    with _alone(bench):
        chosen, why_not = timed_cases(bench.grader, cases, card)
        if not chosen:
            return Measured((), why_not=why_not)
        measured = measure(bench, chosen, replay)
        return replace(measured, why_not=why_not or measured.why_not)


@contextlib.contextmanager
def _alone(bench: Bench) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        # The learner's code has run: nothing of it may disturb the one who is being timed now.
        with stopped(bench.learner.pid):
            stack.enter_context(lease.timing(card_uuids(), bench.on_event))
        yield


def measure(bench: Bench, cases: Sequence[Case], replay: Replay | None = None) -> Measured:
    """Time all cases in the learner's process, then, once that is gone, what its times are held against.

    A case that turns out too slow keeps no other from being measured; one with a fault does.

    Args:
        bench: what they share.
        cases: those to time.
        replay: launches again what they launched; where it can't, that is why not all was timed.

    Raises:
        UnstableCardError: something kept the card busy.
        StopGradingError: the learner's process died or hung.
    """
    import torch

    claimed, fault = _claims(bench, cases)
    dtypes = sorted({test.matmul_dtype for test in claimed} - {""})
    is_measuring = bench.is_strict or any(test.takes_library for test in claimed) or not are_known(dtypes)
    bench.learner.stop(is_awaited=is_measuring)
    why_not = ""
    if fault is None and replay is not None:
        fault, why_not = _replayed(bench, replay, claimed)
    passed = tuple(test.asked.passed() for test in claimed if fault is None or test.asked.case != fault.case)
    if fault is not None:
        return Measured((*passed, fault))
    torch.cuda.empty_cache()
    bench.on_event("calibrating this card")
    ceilings = calibrate(dtypes, anew=bench.is_strict)
    timings = []
    for test in claimed:
        with bench.asking.making_sense_of(test.asked.case.name):
            timings.append(test.timing(ceilings, [replay.worker.pid] if replay else []))
    return Measured(passed, tuple(timings), why_not)


def _replayed(bench: Bench, replay: Replay, claimed: Sequence[SpeedTest]) -> tuple[CaseResult | None, str]:
    """The first fault that replays of the claimed cases show, and why one of them could not be replayed."""
    why_not = ""
    for test in claimed:
        bench.on_event(f"replaying: {test.asked.case.name}")
        with bench.asking.making_sense_of(test.asked.case.name):
            replayed = replay.look(bench, test)
        if replayed.fault is not None:
            return replayed.fault, ""
        test.replayed_ms = replayed.ms
        if replayed.why_not:
            why_not = why_not or f"what was timed can't be replayed: {replayed.why_not}"
    return None, why_not


def _claims(bench: Bench, cases: Sequence[Case]) -> tuple[list[SpeedTest], CaseResult | None]:
    """The cases up to the first fault, and that fault."""
    claimed: list[SpeedTest] = []
    for case in cases:
        test = SpeedTest(bench, case)
        try:
            with bench.asking.making_sense_of(case.name):
                fault = test.claim()
                if fault is None:
                    test.put_away()
        except UnstableCardError as error:
            raise UnstableCardError(f"{case.name}: {error.message}", next_step=error.next_step) from error
        if fault is not None:
            return claimed, fault
        claimed.append(test)
    return claimed, None
