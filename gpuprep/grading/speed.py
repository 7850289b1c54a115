"""One timed case: the learner's time on this card, agreed to by the grader's own clock, against the card's ceilings."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuprep.device_memory import DeviceBuffer, DeviceMemoryError
from gpuprep.exercise import TIMES, Exercise, Target
from gpuprep.grader import Draw, Grader
from gpuprep.grading.answers import Asked, banned_calls
from gpuprep.grading.asking import Asking
from gpuprep.grading.audit import Audited, Auditor, buffered
from gpuprep.grading.baselines import fastest_ms, key_of
from gpuprep.grading.ceilings import SPACING_S, Ceilings, UnstableCardError
from gpuprep.grading.loading import case_seed
from gpuprep.grading.machine import card_state, held_still
from gpuprep.grading.raising import raised
from gpuprep.model import Case, CaseResult, Measurement, Outcome, Roof, Timing
from gpuprep.worker.timing import WARM_UP_S, is_steady, median_interval

if TYPE_CHECKING:
    from gpuprep.grading.process import WorkerProcess

N_SETS = 3
"""One to warm up on and two to time in turn: past the L2 cache, and small enough for the card's memory."""
BURST_CAP_S = 0.4
MIN_BURSTS = 2
MOST_BURSTS = 8
"""Bursts go on until the interval of the median is narrow, or up to here."""
TRACED_CALLS = 8
INTENSE = 100
"""FLOPs a byte, from which on tensor cores set the pace."""

INVALID_BELOW = 0.85
"""Claimed time ÷ the low end of the grader's: honest ones lie around 1. Under this the claim contradicts the wall's
clock."""
TRUSTED_SHARE_OF_NET = 0.95
"""The graded time is never less than this much of the grader's own: what a claim can gain by forgery is 5 %, and, where
nothing is replayed, a copy of the outputs (docs/trust.md)."""
TRUSTED_BESIDE_BASELINES = 0.90
"""The same where the time is held against a baseline's, which has events alone to go by: they end with the kernel, the
grader's clock when what it left in the L2 cache is in memory, some percent later."""


@dataclass(frozen=True)
class Bench:
    """What the timed cases of one check share.

    Args:
        exercise: names the targets.
        grader: makes inputs and judges outputs.
        path: the learner's file.
        seed: the check's.
        learner: the worker that has the learner's file loaded.
        identity: a worker of our own that has nothing loaded.
        asking: asks a worker and turns its death or silence into the end of the check.
        on_event: gets a few words whenever something starts.
    """

    exercise: Exercise
    grader: Grader
    path: Path
    seed: int
    learner: WorkerProcess
    identity: WorkerProcess
    asking: Asking
    on_event: Callable[[str], None]
    calm_ms: float = math.inf
    """What `machine.probe_ms` said before any code of the learner's ran on the card."""
    is_strict: bool = False
    """Measure the ceilings anew: the cache lies where the learner's process can write. And have what was launched
    written down, for a replay."""


class SpeedTest:
    """Measures one solution on one timed case: first what its process claims, then what that is held against.

    Whatever runs on the card in the learner's name could slow a ceiling or a library down, and so make itself look
    fast. So `timing` is asked for when there is no such process any more.

    Args:
        bench: shared with the check's other timed cases.
        case: the timed case; every set of its arguments is drawn anew.
    """

    def __init__(self, bench: Bench, case: Case) -> None:
        self.asked = Asked(bench.grader, case, "cuda", (), str(bench.path))
        self._bench = bench
        self._targets = [target for target in bench.exercise.targets if target.of == case.op]
        self._deadline = bench.asking.deadline("cuda")
        self._samples: list[float] = []
        self._bursts = 0
        self._audited: Audited | None = None
        self._notes: list[str] = []
        self._since_s = time.time()
        self.told: dict[str, Any] | None = None
        """What the learner's worker wrote down of a call, where kernels have to do the work; see `grading.replay`."""
        self.replayed_ms: float | None = None
        """What its launches take by themselves."""

    def claim(self) -> CaseResult | None:
        """Time, trace and audit the learner's function; what was wrong with it, if anything."""
        with self._buffered() as lent:
            self._bench.on_event(f"timing: {self.asked.case.name}")
            began = time.monotonic()
            fault = self._time_first(*lent) or self._tuned_too_long(time.monotonic() - began)
            while fault is None and self._needs_more():
                fault = self._time({"do": "again"})
            return fault or self._trace() or self._audit() or self._tell()

    def time_again(self) -> None:
        """Time it once more, and keep the earlier of the two."""
        first, self._samples = self._samples, []
        with self._buffered() as lent:
            fault = self._time_first(*lent)
        if fault is not None or median_interval(first)[1] < self.claimed[1]:
            self._samples = first

    @property
    def claimed(self) -> tuple[float, float, float]:
        """(low, median, high) of the times by the worker's own clock."""
        return median_interval(self._samples)

    def put_away(self) -> None:
        """Give back the card's memory that the claim took, for the next case to have."""
        import torch

        for worker in (self._bench.learner, self._bench.identity):
            self.ask(worker, {"do": "put_away"})
        torch.cuda.empty_cache()

    @property
    def matmul_dtype(self) -> str:
        """Whose matmul rate a share is taken of; empty where none is."""
        takes_share = any(target.figure == "share_of_matmul" for target in self._targets)
        return self.asked.grader.traffic(self.asked.case).dtype if takes_share else ""

    @property
    def takes_library(self) -> bool:
        """True where a figure compares with what a library takes."""
        return any(key_of(target) for target in self._targets)

    def timing(self, ceilings: Ceilings, others: Collection[int] = ()) -> Timing:
        """The figures. Whatever runs in the learner's name must have been stopped.

        Args:
            ceilings: what shares are of.
            others: process ids, beside those of the bench, that worked for this check.
        """
        claim_ms = self.claimed[1]
        net_ms = self._audited.net_ms if self._audited else None
        ours = frozenset({os.getpid(), self._bench.learner.pid, self._bench.identity.pid, *others})
        interval = self._graded_ms(TRUSTED_SHARE_OF_NET)
        return Timing(
            self.asked.case,
            ceilings.card,
            interval[1],
            interval[0],
            interval[2],
            len(self._samples),
            tuple(self._figure(target, ceilings) for target in self._targets),
            claimed_ms=claim_ms,
            net_ms=net_ms,
            card=card_state(ours, self._since_s),
            notes=tuple(self._notes),
            roof=self._roof(ceilings),
            replayed_ms=self.replayed_ms,
        )

    def ask(self, which: WorkerProcess, request: dict[str, Any]) -> dict[str, Any]:
        """A worker's answer.

        Raises:
            StopGradingError: there is none.
            DeviceMemoryError: it says that it can't see the memory that it was lent.
        """
        answer = self._bench.asking.ask(which, request, self._deadline, f"while {self.asked.case.name} was timed")
        if answer.get("status") == "unshared":
            raise DeviceMemoryError(str(answer["why"]))
        return answer

    def _needs_more(self) -> bool:
        if self._bursts < MIN_BURSTS:
            return True
        return self._bursts < MOST_BURSTS and not is_steady(self._samples)

    def draw(self, number: int) -> tuple[Any, ...]:
        """A set of arguments, on the card."""
        seed = case_seed(self._bench.seed + 1 + number, self.asked.case)
        return self.asked.grader.inputs(self.asked.case, Draw(seed, "cuda"))

    def _drawn(self) -> list[tuple[Any, ...]]:
        return [self.draw(number) for number in range(N_SETS)]

    def _buffered(self) -> buffered:
        """Sets of arguments in a buffer of ours.

        Raises:
            UnstableCardError: there is no memory for it any more.
        """
        try:
            return buffered(self._drawn())
        except DeviceMemoryError as error:
            raise UnstableCardError(
                f"the card's memory is too full for timing: {error}", next_step="nvidia-smi, which shows whose it is"
            ) from error

    def _time_first(self, buffer: DeviceBuffer, calls: Sequence[Any]) -> CaseResult | None:
        try:
            sets = {"handle": buffer.handle().hex(), "bytes": buffer.n_bytes, "calls": calls}
            return self._time({"do": "time", "sets": sets})
        except DeviceMemoryError:
            # As under WSL: the worker gets the values, and puts them on the card itself.
            return self._time({"do": "time", "sets": {"calls": self._drawn()}})

    def _time(self, request: dict[str, Any]) -> CaseResult | None:
        # Where a matmul draws full power, learner and library rest between samples, so that both meet the same clocks.
        answer = self.ask(self._bench.learner, {**request, "cap_s": BURST_CAP_S, "space_s": self._space_s})
        if answer["status"] == "raised":
            return raised(self.asked, answer)
        self._samples.extend(_times(answer["samples_ms"]))
        self._bursts += 1
        return None

    def _tuned_too_long(self, first_s: float) -> CaseResult | None:
        limit_s = self.asked.grader.tuning_limit_s
        if first_s - BURST_CAP_S - WARM_UP_S <= limit_s:
            return None
        return self.asked.failed(
            Outcome.TIMED_OUT,
            f"the first calls took {first_s:.0f} s with their compiling and tuning, which may take {limit_s:g} s: try "
            "fewer configurations",
        )

    @property
    def _space_s(self) -> float:
        traffic = self.asked.grader.traffic(self.asked.case)
        return SPACING_S if self.matmul_dtype or traffic.flops > INTENSE * traffic.bytes else 0.0

    def _library_ms(self, target: Target) -> tuple[float, str]:
        """What a target's baseline takes, timed like the learner's function, and what it is called."""
        args = self.draw(0)
        baselines = self.asked.grader.baselines(self.asked.case)
        return fastest_ms(baselines, target, [args, args], cap_s=BURST_CAP_S, space_s=self._space_s)

    def _trace(self) -> CaseResult | None:
        from gpuprep.grading.kernels import LIBRARIES, judge_trace

        self._bench.on_event("tracing kernels")
        answer = self.ask(self._bench.learner, {"do": "trace", "n_calls": TRACED_CALLS})
        if answer["status"] == "raised":
            return raised(self.asked, answer)
        if answer["status"] == "untraced":
            if self.ask(self._bench.identity, {"do": "can_trace"})["status"] == "traceable":
                return self.asked.failed(
                    Outcome.INVALID,
                    f"kernels can be traced on this machine, but not in the process of this file ({answer['why']})",
                )
            self._notes.append(f"kernels were not traced: {answer['why']}")
            return None
        # What is written in torch runs as torch's own kernels.
        banned = LIBRARIES if self.asked.grader.uses_kernels(self.asked.case) else frozenset()
        fault = judge_trace(answer, self.claimed[1], TRACED_CALLS, banned)
        return None if fault is None else self.asked.failed(fault.outcome, fault.message)

    def _tell(self) -> CaseResult | None:
        if not self._bench.is_strict or not self.asked.grader.uses_kernels(self.asked.case):
            return None
        answer = self.ask(self._bench.learner, {"do": "tell"})
        if answer["status"] == "raised":
            return raised(self.asked, answer)
        self.told = answer
        return next(banned_calls(self.asked, answer), None)

    def _audit(self) -> CaseResult | None:
        bench = self._bench

        def ask_learner(request: dict[str, Any]) -> dict[str, Any]:
            try:
                answer = self.ask(bench.learner, request)
            except DeviceMemoryError as error:
                message = f"memory can be shared on this machine, but not with the process of this file ({error})"
                raise AuditRefusedError(self.asked.failed(Outcome.INVALID, message)) from error
            if answer["status"] == "raised":
                raise AuditRefusedError(raised(self.asked, answer))
            return answer

        def ask_identity(request: dict[str, Any]) -> dict[str, Any]:
            answer = self.ask(bench.identity, request)
            if answer["status"] == "raised":
                raise DeviceMemoryError(f"the grader's own part of it failed: {answer['message']}")
            return answer

        def alone() -> AbstractContextManager[None]:
            return held_still(bench.learner.pid, bench.calm_ms)

        bench.on_event("auditing the time")
        try:
            auditor = Auditor(self.asked.grader, self.asked.case, bench.seed, self.claimed[1])
            with contextlib.closing(auditor):
                audited = auditor.run(ask_learner, ask_identity, alone)
                if not audited.wrong and TRUSTED_SHARE_OF_NET * audited.net_ms > self.claimed[1]:
                    # The clocks disagree. Whatever disturbs the grader's makes it late: the earlier of two is nearer.
                    again = auditor.run(ask_learner, ask_identity, alone)
                    audited = again if again.wrong or again.net_ms < audited.net_ms else audited
        except DeviceMemoryError as error:
            self._notes.append(f"unaudited: {error}")
            return None
        except AuditRefusedError as refused:
            return refused.result
        if audited.wrong:
            return self.asked.failed(Outcome.WRONG_VALUES, audited.wrong)
        self._audited = audited
        return self._contradiction(audited)

    def _contradiction(self, audited: Audited) -> CaseResult | None:
        claim_ms = self.claimed[1]
        if claim_ms >= INVALID_BELOW * audited.low_ms:
            return None
        if audited.has_waited:
            # In a claim such host code is hidden behind what the card does before; nobody gains by that.
            self._notes.append(
                f"its host code waits for the card: {claim_ms:.4f} ms a call on the card, {audited.net_ms:.4f} ms "
                "with the waiting, which counts"
            )
            return None
        return self.asked.failed(
            Outcome.INVALID,
            f"the worker's clock says {claim_ms:.4f} ms a call, the grader's {audited.net_ms:.4f} ms "
            f"({audited.n_rounds} rounds of {audited.calls_per_round} calls): the measurement contradicts itself "
            "and needs a review",
        )

    def _graded_ms(self, trusted_share: float) -> tuple[float, float, float]:
        """(low, median, high): what the worker claims, at least this share of what the wall's clock or a replay say."""
        low_ms, claim_ms, high_ms = self.claimed
        trusted_ms = max(self._audited.net_ms if self._audited else 0.0, self.replayed_ms or 0.0)
        factor = max(1.0, trusted_share * trusted_ms / claim_ms)
        return low_ms * factor, claim_ms * factor, high_ms * factor

    def _roof(self, ceilings: Ceilings) -> Roof:
        traffic = self.asked.grader.traffic(self.asked.case)
        matmul = ceilings.matmul_tflop_per_s.get(traffic.dtype)
        return Roof(traffic.bytes, traffic.flops, traffic.dtype, ceilings.copy_gb_per_s, matmul)

    def _figure(self, target: Target, ceilings: Ceilings) -> Measurement:
        traffic = self.asked.grader.traffic(self.asked.case)
        is_beside = target.figure in TIMES
        low_ms, median_ms, high_ms = self._graded_ms(TRUSTED_BESIDE_BASELINES if is_beside else TRUSTED_SHARE_OF_NET)
        if target.figure == "share_of_copy":
            best_ms = traffic.bytes / 1e9 / ceilings.copy_gb_per_s * 1e3
            detail = f"{traffic.bytes / 1e9 / (median_ms / 1e3):.0f} of {ceilings.copy_gb_per_s:.0f} GB/s"
        elif target.figure == "share_of_matmul":
            rate = ceilings.matmul_tflop_per_s[traffic.dtype]
            best_ms = traffic.flops / 1e12 / rate * 1e3
            detail = f"{traffic.flops / 1e12 / (median_ms / 1e3):.0f} of {rate:.0f} TFLOP/s"
        else:
            best_ms, title = self._library_ms(target)
            detail = f"{title} takes {best_ms:.3f} ms"
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
