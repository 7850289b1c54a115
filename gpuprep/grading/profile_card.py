"""The part of a profile that needs a card: times, a trace, what was really launched, hardware counters."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from gpuprep.errors import GpuprepError
from gpuprep.grader import Draw, Grader
from gpuprep.grading import lease, profile_ncu
from gpuprep.grading.asking import Asking, StopGradingError
from gpuprep.grading.loading import case_seed
from gpuprep.grading.machine import card_uuids
from gpuprep.grading.process import WorkerProcess
from gpuprep.grading.profile_kernels import kernels_of
from gpuprep.grading.profiled import Counters, Kernel, KernelTime, Timed, Unknown
from gpuprep.model import Case
from gpuprep.worker.timing import median_interval

SEED = 0
N_SETS = 3
BURST_CAP_S = 0.2
TRACED_CALLS = 8
TOP = 5
"""Kernels that are told of, longest first."""

OnEvent = Callable[[str], None]
Answer = Mapping[str, Any]


@dataclass(frozen=True)
class RanOperation:
    """What running one operation on a card showed."""

    case: Case
    timed: Timed
    kernels: tuple[Kernel, ...] = ()
    counters: tuple[Counters, ...] = ()


@dataclass(frozen=True)
class Ran:
    """What running on a card showed, by operation."""

    operations: Mapping[str, RanOperation]
    unknown: tuple[Unknown, ...] = ()
    trace: bytes | None = None


class Card(Protocol):
    """Something to run kernels on."""

    @property
    def name(self) -> str: ...
    @property
    def capability(self) -> str: ...
    @property
    def n_sms(self) -> int: ...

    def fits(self, grader: Grader, case: Case) -> bool: ...

    def look(
        self, asking: Asking, grader: Grader, cases: Mapping[str, Case], *, has_trace: bool, on_event: OnEvent
    ) -> Ran: ...


def find_card() -> LocalCard | None:
    """This machine's first card; None where there is none."""
    from gpuprep.grading.card import card_is_likely

    if not card_is_likely():
        return None
    import torch

    if not torch.cuda.is_available():
        return None
    major, minor = torch.cuda.get_device_capability(0)
    properties = torch.cuda.get_device_properties(0)
    return LocalCard(properties.name, f"{major}.{minor}", properties.multi_processor_count)


@dataclass(frozen=True)
class LocalCard:
    """A card of this machine."""

    name: str
    capability: str
    n_sms: int

    def look(
        self, asking: Asking, grader: Grader, cases: Mapping[str, Case], *, has_trace: bool, on_event: OnEvent
    ) -> Ran:
        """Run each case, as the speed tier does, and say what was seen.

        Args:
            asking: knows the file.
            grader: makes the inputs.
            cases: by operation, what to run.
            has_trace: have a trace of the first one's calls.
            on_event: gets a few words whenever something starts.

        Raises:
            GpuprepError: the file can't be run.
        """
        with self.worker(on_event) as worker:
            runner = _OnCard(self, worker, asking, grader, on_event)
            runner.load()
            operations = {op: runner.operation(case, wants_trace=has_trace) for op, case in cases.items()}
        return Ran(operations, tuple(dict.fromkeys(runner.unknown)), runner.trace)

    @contextlib.contextmanager
    def worker(self, on_event: OnEvent) -> Iterator[WorkerProcess]:
        """A process on this card, which meanwhile no other check uses."""
        with lease.timing(card_uuids(), on_event), WorkerProcess("cuda") as worker:
            worker.wait_until_ready()
            yield worker

    @contextlib.contextmanager
    def sets(self, grader: Grader, case: Case) -> Iterator[dict[str, Any]]:
        """Sets of a case's arguments, as a worker takes them to time."""
        from gpuprep.grading.audit import buffered

        inputs = [grader.inputs(case, Draw(case_seed(SEED + number, case), "cuda")) for number in range(N_SETS)]
        with buffered(inputs) as (buffer, calls):
            yield {"handle": buffer.handle().hex(), "bytes": buffer.n_bytes, "calls": calls}

    def fits(self, grader: Grader, case: Case) -> bool:
        """True where its free memory holds a case."""
        from gpuprep.grading.speed_tier import fits

        return fits(grader, case)


@dataclass
class _OnCard:
    card: LocalCard
    worker: WorkerProcess
    asking: Asking
    grader: Grader
    on_event: OnEvent
    unknown: list[Unknown] = field(default_factory=list)
    trace: bytes | None = None

    def load(self) -> None:
        self._ask({"do": "load", **self._job}, "loaded")

    def operation(self, case: Case, *, wants_trace: bool) -> RanOperation:
        self.on_event(f"timing: {case.name}")
        with self.card.sets(self.grader, case) as sets, self.asking.making_sense_of(case.name):
            burst = {"cap_s": BURST_CAP_S, "space_s": 0.0}
            samples = self._ask({"do": "time", "sets": sets, **burst}, "timed")["samples_ms"]
            self.on_event("tracing kernels")
            traced = self._ask({"do": "trace", "n_calls": TRACED_CALLS}, "traced", "untraced")
            launched = self._ask({"do": "profile_launches"}, "noted")
            kernels = kernels_of(launched["kernels"], self.card.capability)
            if wants_trace and self.trace is None:
                self.trace = self._trace()
            self._ask({"do": "put_away"}, "put_away")
            timed = timed_of(case, samples, traced)
        if timed.why_untraced:
            self.unknown.append(Unknown("top kernels", timed.why_untraced))
        return RanOperation(case, timed, kernels, self._counters(case))

    def _trace(self) -> bytes | None:
        answer = self._ask({"do": "profile_trace", "n_calls": TRACED_CALLS}, "traced", "untraced")
        if answer["status"] == "untraced":
            self.unknown.append(Unknown("a trace", str(answer["why"])))
            return None
        text = bytes(answer["trace"].numpy())
        # It is written to a file of the learner's: it should be what it says it is.
        if not isinstance(json.loads(text), dict | list):
            raise ValueError("a trace that is none")  # noqa: TRY004  as all that a worker says wrong
        return text

    def _counters(self, case: Case) -> tuple[Counters, ...]:
        self.on_event("reading hardware counters")
        try:
            profile_ncu.ncu_path()
            args = self.grader.inputs(case, Draw(case_seed(SEED, case), "cuda"))
            return profile_ncu.read_counters(self._job, args)
        except profile_ncu.NoCountersError as error:
            self.unknown.append(Unknown("hardware counters", str(error)))
            return ()

    @property
    def _job(self) -> dict[str, Any]:
        driver = self.asking.curriculum.driver_path(self.asking.exercise)
        return {
            "path": str(self.asking.path),
            "function": self.grader.function,
            "driver": str(driver) if driver else None,
        }

    def _ask(self, request: dict[str, Any], *wanted: str) -> dict[str, Any]:
        next_step = f"gpuprep check {self.asking.exercise.id}"
        try:
            answer = self.asking.ask(self.worker, request, self.asking.deadline("cuda"), "while it was profiled")
        except StopGradingError as error:
            raise GpuprepError(f"{self.asking.path}: {error.stop.message}", next_step=next_step) from error
        if answer["status"] not in wanted:
            what = answer.get("message") or answer["status"]
            raise GpuprepError(f"{self.asking.path} can't be profiled: {what}", next_step=next_step)
        return answer


def timed_of(case: Case, samples: Sequence[Any], traced: Answer) -> Timed:
    """What a worker's samples and its trace come to.

    Args:
        case: what was run.
        samples: times of a call, in ms.
        traced: as `worker.trace` answers.

    Raises:
        ValueError, TypeError, KeyError: no honest worker says so.
    """
    if not samples or not all(isinstance(sample, float) and 0 < sample < math.inf for sample in samples):
        raise ValueError("times that are none")
    timed = Timed(case, *median_interval(samples))
    if traced["status"] == "untraced":
        return replace(timed, why_untraced=str(traced["why"]))
    total_ns = max(1, int(traced["total_ns"]))
    calls = traced["calls"]
    span_ns = sum(int(call["span_ns"]) for call in calls)
    return replace(
        timed,
        top=tuple(
            KernelTime(
                str(kernel["name"]),
                int(kernel["ns"]) / total_ns,
                int(kernel["ns"]) / int(kernel["count"]) / 1e6,
                int(kernel["count"]) / len(calls),
            )
            for kernel in traced["kernels"][:TOP]
        ),
        copies_share=(int(traced["memcpy_ns"]) + int(traced["memset_ns"])) / total_ns,
        busy_share=sum(int(call["busy_ns"]) for call in calls) / span_ns if span_ns else None,
    )
