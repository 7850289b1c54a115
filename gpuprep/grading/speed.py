"""The speed tier: the learner's time on this card, agreed to by the grader's own clock, against the card's ceilings."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gpuprep.device_memory import DeviceMemoryError
from gpuprep.exercise import Exercise, Target
from gpuprep.grader import Draw
from gpuprep.grading.answers import Asked, raised
from gpuprep.grading.audit import Audited, Auditor, buffered
from gpuprep.grading.ceilings import SPACING_S, Ceilings, calibrate
from gpuprep.grading.loading import case_seed
from gpuprep.grading.machine import card_lock, card_state, held_still
from gpuprep.model import CaseResult, Measurement, Outcome, Timing
from gpuprep.worker.timing import is_steady, median_interval, sample_ms

if TYPE_CHECKING:
    from gpuprep.grading.process import WorkerProcess

N_SETS = 3
"""One to warm up on and two to time in turn: past the L2 cache, and small enough for the card's memory."""
BURST_CAP_S = 0.4
MIN_BURSTS = 2
MOST_BURSTS = 8
"""Bursts go on until the interval of the median is narrow, or up to here."""
TRACED_CALLS = 8

INVALID_BELOW = 0.85
"""Claimed time ÷ the low end of the grader's: honest ones lie around 1. Under this the claim contradicts the wall's
clock."""
TRUSTED_SHARE_OF_NET = 0.95
"""The graded time is never less than this much of the grader's own: what a claim can gain by forgery is 5 %."""

Ask = Callable[["WorkerProcess", dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class Measured:
    """What measuring came to: a time, or what was wrong with it."""

    timing: Timing | None = None
    fault: CaseResult | None = None


@dataclass
class SpeedTest:
    """Measures one solution on the timed case.

    Args:
        exercise: names the targets.
        asked: the grader and the timed case; its arguments are not used, every set is drawn anew.
        seed: the check's.
        learner: the worker that has the learner's file loaded.
        identity: a worker of our own that has nothing loaded.
        ask: asks a worker and turns its death or silence into the end of the check.
        on_event: gets a few words whenever something starts.
    """

    exercise: Exercise
    asked: Asked
    seed: int
    learner: WorkerProcess
    identity: WorkerProcess
    ask: Ask
    on_event: Callable[[str], None]
    calm_ms: float = math.inf
    """What `machine.probe_ms` said before any code of the learner's ran on the card."""
    is_strict: bool = False
    """Measure the ceilings anew: the cache lies where the learner's process can write."""
    _samples: list[float] = field(default_factory=list)
    _bursts: int = 0
    _eager_ms: float = math.nan
    _notes: list[str] = field(default_factory=list)

    def run(self) -> Measured:
        """Time, trace and audit the learner's function, then, once its process is gone, what it is held against.

        Whatever runs on the card in the learner's name could slow a ceiling or a library down, and so make itself look
        fast. So these are measured when there is no such process any more, and the audit's identity while it is held.
        """
        import torch

        with card_lock(str(torch.cuda.get_device_properties(0).uuid)):
            with buffered([self._draw(number) for number in range(N_SETS)]) as (buffer, calls):
                self.on_event(f"timing: {self.asked.case.name}")
                sets = {"handle": buffer.handle().hex(), "bytes": buffer.n_bytes, "calls": calls}
                fault = self._time({"do": "time", "sets": sets})
                while fault is None and self._needs_more():
                    fault = self._time({"do": "again"})
                fault = fault or self._trace()
                audited = None
                if fault is None:
                    audited, fault = self._audit()
                self.learner.stop()
            if fault is not None:
                return Measured(fault=fault)
            self.on_event("calibrating this card")
            ceilings = calibrate((self.asked.grader.traffic(self.asked.case).dtype,), anew=self.is_strict)
            self._time_library()
            return Measured(timing=self._timing(ceilings, audited))

    def _needs_more(self) -> bool:
        if self._bursts < MIN_BURSTS:
            return True
        return self._bursts < MOST_BURSTS and not is_steady(self._samples)

    def _draw(self, number: int) -> tuple[Any, ...]:
        seed = case_seed(self.seed + 1 + number, self.asked.case)
        return self.asked.grader.inputs(self.asked.case, Draw(seed, "cuda"))

    def _time(self, request: dict[str, Any]) -> CaseResult | None:
        # Where a matmul draws full power, learner and library rest between samples, so that both meet the same clocks.
        answer = self.ask(self.learner, {**request, "cap_s": BURST_CAP_S, "space_s": self._space_s})
        if answer["status"] == "raised":
            return raised(self.asked, answer)
        self._samples.extend(_times(answer["samples_ms"]))
        self._bursts += 1
        return None

    @property
    def _space_s(self) -> float:
        draws_full_power = any(target.figure == "share_of_matmul" for target in self.exercise.targets)
        return SPACING_S if draws_full_power else 0.0

    def _time_library(self) -> None:
        """What the figures compare with, timed like the learner's function."""
        if any(target.figure == "times_eager" for target in self.exercise.targets):
            args = self._draw(0)
            self._eager_ms = median_interval(
                sample_ms(self._eager, [args, args], cap_s=BURST_CAP_S, space_s=self._space_s)
            )[1]

    def _eager(self, *args: Any) -> Any:
        return self.asked.grader.honest(self.asked.case, *args)

    def _trace(self) -> CaseResult | None:
        from gpuprep.grading.kernels import judge_trace

        self.on_event("tracing kernels")
        answer = self.ask(self.learner, {"do": "trace", "n_calls": TRACED_CALLS})
        if answer["status"] == "raised":
            return raised(self.asked, answer)
        if answer["status"] == "untraced":
            if self.ask(self.identity, {"do": "can_trace"})["status"] == "traceable":
                return self.asked.failed(
                    Outcome.INVALID,
                    f"kernels can be traced on this machine, but not in the process of this file ({answer['why']})",
                )
            self._notes.append(f"kernels were not traced: {answer['why']}")
            return None
        fault = judge_trace(answer, median_interval(self._samples)[1], TRACED_CALLS)
        return None if fault is None else self.asked.failed(fault.outcome, fault.message)

    def _audit(self) -> tuple[Audited | None, CaseResult | None]:
        def ask_learner(request: dict[str, Any]) -> dict[str, Any]:
            answer = self.ask(self.learner, request)
            if answer["status"] == "raised":
                raise AuditRefusedError(raised(self.asked, answer))
            return answer

        def alone() -> AbstractContextManager[None]:
            return held_still(self.learner.pid, self.calm_ms)

        self.on_event("auditing the time")
        try:
            auditor = Auditor(self.asked.grader, self.asked.case, self.seed, median_interval(self._samples)[1])
        except DeviceMemoryError as error:
            self._notes.append(f"unaudited: {error}")
            return None, None
        try:
            audited = auditor.run(ask_learner, lambda request: self.ask(self.identity, request), alone)
        except AuditRefusedError as refused:
            return None, refused.result
        finally:
            auditor.close()
        if audited.wrong:
            return None, self.asked.failed(Outcome.WRONG_VALUES, audited.wrong)
        return audited, self._contradiction(audited)

    def _contradiction(self, audited: Audited) -> CaseResult | None:
        claim_ms = median_interval(self._samples)[1]
        if claim_ms >= INVALID_BELOW * audited.low_ms:
            return None
        return self.asked.failed(
            Outcome.INVALID,
            f"the worker's clock says {claim_ms:.4f} ms a call, the grader's {audited.net_ms:.4f} ms "
            f"({audited.n_rounds} rounds of {audited.calls_per_round} calls): the measurement contradicts itself "
            "and needs a review",
        )

    def _timing(self, ceilings: Ceilings, audited: Audited | None) -> Timing:
        low_ms, claim_ms, high_ms = median_interval(self._samples)
        # The wall's clock has the last word, but for the 5 % that it may be off itself.
        factor = max(1.0, TRUSTED_SHARE_OF_NET * audited.net_ms / claim_ms) if audited else 1.0
        ours = frozenset({os.getpid(), self.learner.pid, self.identity.pid})
        interval = (low_ms * factor, claim_ms * factor, high_ms * factor)
        return Timing(
            self.asked.case,
            ceilings.card,
            interval[1],
            interval[0],
            interval[2],
            len(self._samples),
            tuple(self._figure(target, ceilings, interval) for target in self.exercise.targets),
            claimed_ms=claim_ms,
            net_ms=audited.net_ms if audited else None,
            card=card_state(ours),
            notes=tuple(self._notes),
        )

    def _figure(self, target: Target, ceilings: Ceilings, interval: tuple[float, float, float]) -> Measurement:
        traffic = self.asked.grader.traffic(self.asked.case)
        low_ms, median_ms, high_ms = interval
        if target.figure == "share_of_copy":
            best_ms = traffic.bytes / 1e9 / ceilings.copy_gb_per_s * 1e3
            detail = f"{traffic.bytes / 1e9 / (median_ms / 1e3):.0f} of {ceilings.copy_gb_per_s:.0f} GB/s"
        elif target.figure == "share_of_matmul":
            rate = ceilings.matmul_tflop_per_s[traffic.dtype]
            best_ms = traffic.flops / 1e12 / rate * 1e3
            detail = f"{traffic.flops / 1e12 / (median_ms / 1e3):.0f} of {rate:.0f} TFLOP/s"
        else:
            best_ms = self._eager_ms
            detail = f"{self.asked.grader.baseline} takes {best_ms:.3f} ms"
        return Measurement(target, best_ms / median_ms, best_ms / high_ms, best_ms / low_ms, detail)


class AuditRefusedError(Exception):
    """The learner's code failed in an audited round."""

    def __init__(self, result: CaseResult) -> None:
        super().__init__(result.message)
        self.result = result


def _times(samples: Sequence[Any]) -> list[float]:
    """The worker's samples, if they can be times at all."""
    if not samples or not all(isinstance(sample, float) and 0 < sample < 1e7 for sample in samples):
        raise ValueError("times that are none")
    return list(samples)
