"""The speed tier: the learner's time on this card, agreed to by the grader's own clock, against the card's ceilings."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gpuprep.device_memory import DeviceMemoryError
from gpuprep.grader import Draw
from gpuprep.grading.answers import Asked, raised
from gpuprep.grading.audit import MIN_ROUNDS, Audited, Auditor, buffered
from gpuprep.grading.ceilings import MATMUL_SIZE, SPACING_S, Ceilings, calibrate
from gpuprep.grading.loading import case_seed
from gpuprep.grading.machine import card_lock, card_state
from gpuprep.model import CaseResult, Exercise, Measurement, Outcome, Target, Timing
from gpuprep.worker.timing import median_interval, sample_ms

if TYPE_CHECKING:
    from gpuprep.grading.process import WorkerProcess

N_SETS = 3
"""One to warm up on and two to time in turn: past the L2 cache, and small enough for the card's memory."""
BURSTS = 3
"""Learner and library take turns this often, so that both meet the same clocks."""
BURST_CAP_S = 0.4
MOST_BURSTS = 12
"""Where the interval still spans a target after the first bursts, measure on, up to here."""
TRACED_CALLS = 8

INVALID_BELOW = 0.85
DOUBTFUL_BELOW = 0.92
"""Claimed time ÷ the grader's: honest ones lie around 1. Under the first the claim contradicts the clock on the wall;
between the two it is looked at once more."""
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
    _samples: list[float] = field(default_factory=list)
    _library: dict[str, list[float]] = field(default_factory=dict)
    _notes: list[str] = field(default_factory=list)

    def run(self) -> Measured:
        """Calibrate, time, trace, audit; alone on the card."""
        import torch

        traffic = self.asked.grader.traffic(self.asked.case)
        with card_lock(str(torch.cuda.get_device_properties(0).uuid)):
            self.on_event("calibrating this card")
            ceilings = calibrate((traffic.dtype,), anew=False)
            with buffered([self._draw(number) for number in range(N_SETS)]) as (buffer, calls):
                self.on_event(f"timing: {self.asked.case.name}")
                sets = {"handle": buffer.handle().hex(), "bytes": buffer.n_bytes, "calls": calls}
                if fault := self._time({"do": "time", "sets": sets}):
                    return Measured(fault=fault)
                for _ in range(BURSTS - 1):
                    if fault := self._time({"do": "again"}):
                        return Measured(fault=fault)
                if fault := self._trace():
                    return Measured(fault=fault)
                audited, fault = self._audit()
                if fault is not None:
                    return Measured(fault=fault)
                timing = self._timing(ceilings, audited)
                while _is_open(timing) and len(self._library.get("rounds", ())) < MOST_BURSTS:
                    if fault := self._time({"do": "again"}):
                        return Measured(fault=fault)
                    timing = self._timing(ceilings, audited)
                # The worker must not see the sets any more when they go.
                self.ask(self.learner, {"do": "forget"})
            return Measured(timing=timing)

    def _draw(self, number: int) -> tuple[Any, ...]:
        seed = case_seed(self.seed + 1 + number, self.asked.case)
        return self.asked.grader.inputs(self.asked.case, Draw(seed, "cuda"))

    def _time(self, request: dict[str, Any]) -> CaseResult | None:
        # Where a matmul draws full power, both sides rest between samples, or the one that rests runs at higher clocks.
        space_s = SPACING_S if self._draws_full_power else 0.0
        answer = self.ask(self.learner, {**request, "cap_s": BURST_CAP_S, "space_s": space_s})
        if answer["status"] == "raised":
            return raised(self.asked, answer)
        self._samples.extend(_times(answer["samples_ms"]))
        self._library.setdefault("rounds", []).append(time.monotonic())
        self._time_library()
        return None

    def _time_library(self) -> None:
        """A burst of what the figures compare with, right after the learner's, so that the clocks are the same."""
        import torch

        if self._draws_full_power:
            dtype = getattr(torch, self.asked.grader.traffic(self.asked.case).dtype)
            a, b = (torch.randn(MATMUL_SIZE, MATMUL_SIZE, device="cuda").to(dtype) for _ in range(2))
            samples = sample_ms(torch.matmul, [(a, b)] * 2, cap_s=BURST_CAP_S / 2, warm_up_s=0.02, space_s=SPACING_S)
            self._library.setdefault("matmul", []).extend(samples)
        if any(target.figure == "times_eager" for target in self.exercise.targets):
            args = self._draw(0)
            samples = sample_ms(self._eager, [args, args], cap_s=BURST_CAP_S / 2, warm_up_s=0.02)
            self._library.setdefault("eager", []).extend(samples)

    @property
    def _draws_full_power(self) -> bool:
        return any(target.figure == "share_of_matmul" for target in self.exercise.targets)

    def _eager(self, *args: Any) -> Any:
        return self.asked.grader.honest(self.asked.case, *args)

    def _trace(self) -> CaseResult | None:
        from gpuprep.grading.kernels import judge_trace

        self.on_event("tracing kernels")
        answer = self.ask(self.learner, {"do": "trace", "n_calls": TRACED_CALLS})
        if answer["status"] == "raised":
            return raised(self.asked, answer)
        if answer["status"] == "untraced":
            self._notes.append(f"kernels were not traced: {answer['why']}")
            return None
        fault = judge_trace(answer, median_interval(self._samples)[1], TRACED_CALLS)
        return None if fault is None else self.asked.failed(fault.outcome, fault.message)

    def _audit(self) -> tuple[Audited | None, CaseResult | None]:
        self.on_event("auditing the time")
        claim_ms = median_interval(self._samples)[1]
        try:
            audited = self._run_audit(claim_ms, MIN_ROUNDS)
            if not audited.wrong and claim_ms < DOUBTFUL_BELOW * audited.net_ms:
                # In memory of its own and for longer: a contradiction has to show twice.
                again = self._run_audit(claim_ms, 2 * MIN_ROUNDS)
                audited = again if again.wrong or again.net_ms < audited.net_ms else audited
        except DeviceMemoryError as error:
            self._notes.append(f"unaudited: {error}")
            return None, None
        except AuditRefusedError as refused:
            return None, refused.result
        if audited.wrong:
            return None, self.asked.failed(Outcome.WRONG_VALUES, audited.wrong)
        if claim_ms < INVALID_BELOW * audited.low_ms:
            return None, self.asked.failed(
                Outcome.INVALID,
                f"the worker's clock says {claim_ms:.4f} ms a call, the grader's {audited.net_ms:.4f} ms "
                f"({audited.n_rounds} rounds of {audited.calls_per_round} calls): the measurement contradicts itself "
                "and needs a review",
            )
        return audited, None

    def _run_audit(self, claim_ms: float, n_rounds: int) -> Audited:
        def ask_learner(request: dict[str, Any]) -> dict[str, Any]:
            answer = self.ask(self.learner, request)
            if answer["status"] == "raised":
                raise AuditRefusedError(raised(self.asked, answer))
            return answer

        auditor = Auditor(self.asked.grader, self.asked.case, self.seed, claim_ms)
        try:
            return auditor.run(ask_learner, lambda request: self.ask(self.identity, request), n_rounds=n_rounds)
        finally:
            auditor.close()

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
            rate = 2 * MATMUL_SIZE**3 / 1e12 / (median_interval(self._library["matmul"])[1] / 1e3)
            best_ms = traffic.flops / 1e12 / rate * 1e3
            detail = f"{traffic.flops / 1e12 / (median_ms / 1e3):.0f} of {rate:.0f} TFLOP/s"
        else:
            best_ms = median_interval(self._library["eager"])[1]
            detail = f"{self.asked.grader.baseline} takes {best_ms:.3f} ms"
        return Measurement(target, best_ms / median_ms, best_ms / high_ms, best_ms / low_ms, detail)


class AuditRefusedError(Exception):
    """The learner's code failed in an audited round."""

    def __init__(self, result: CaseResult) -> None:
        super().__init__(result.message)
        self.result = result


def _is_open(timing: Timing) -> bool:
    return any(figure.outcome is Outcome.INCONCLUSIVE for figure in timing.figures)


def _times(samples: Sequence[Any]) -> list[float]:
    """The worker's samples, if they can be times at all."""
    if not samples or not all(isinstance(sample, float) and 0 < sample < 1e7 for sample in samples):
        raise ValueError("times that are none")
    return list(samples)
