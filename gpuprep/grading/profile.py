"""Looks at a learner's kernels without judging them: counts, compiles and, on a card, times and traces.

Three workers share the job, so that no code of a learner's runs here: one counts a call in the interpreter or the
emulator, one compiles what a call launches, and on a card one runs it.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gpuprep.curriculum import Curriculum
from gpuprep.errors import GpuprepError
from gpuprep.exercise import Exercise
from gpuprep.grader import Draw, Grader, GroupGrader
from gpuprep.grading.answers import Asked, result_of, source_line
from gpuprep.grading.asking import Asking, StopGradingError
from gpuprep.grading.loading import case_seed, load_grader
from gpuprep.grading.process import WorkerProcess
from gpuprep.grading.profile_card import Card, Ran
from gpuprep.grading.profile_inputs import BlankDraw, blanked
from gpuprep.grading.profile_kernels import built_kernels, kernels_of
from gpuprep.grading.profiled import Access, Kernel, Operation, Profile, Unknown
from gpuprep.grading.signature import judge_import
from gpuprep.grading.work import budget_fault
from gpuprep.model import Case, CaseResult, Outcome, Tier

LIMIT_S = 120.0
"""For each worker's part: a profile is asked for by hand, and compiling for another card takes its time."""
SEED = 0
"""Nothing is judged, so the inputs need not be secret, and two profiles may have the same."""
_ACCESSES = {"load": ("sectors", 4), "store": ("sectors", 4), "shared": ("wavefronts", 1)}
"""What a request of each kind is measured in, and what one for 32 neighbouring words costs."""

INTENSE = 30
"""FLOPs a byte. Cards do some 20 in float32 in the time that they move one, and far more on tensor cores."""

Answer = Mapping[str, Any]
OnEvent = Callable[[str], None]


def profile(
    exercise: Exercise,
    curriculum: Curriculum,
    path: Path,
    *,
    capability: str,
    card: Card | None = None,
    has_trace: bool = False,
    on_event: OnEvent | None = None,
) -> Profile:
    """Profile one file.

    Args:
        exercise: what it solves.
        curriculum: where the grader is.
        path: the learner's file; it is never changed.
        capability: what to compile for, as `occupancy.LIMITS` names it.
        card: what there is to run on; without one nothing is timed.
        has_trace: have a trace of some calls, for Chrome and Perfetto.
        on_event: gets a few words whenever something starts.

    Raises:
        GpuprepError: the exercise runs on several ranks, or the file can't be run.
        GraderFaultError: the grader is broken.
    """
    grader = load_grader(curriculum, exercise)
    if isinstance(grader, GroupGrader):
        raise GpuprepError(
            f"{exercise.id} runs on several ranks, and a profile looks at one process",
            next_step=f"gpuprep bench {exercise.id}",
        )
    asking = Asking(exercise, curriculum, path.resolve(), LIMIT_S)
    looking = _Looking(asking, grader, capability, on_event or (lambda _: None))
    found = looking.look()
    if card is None:
        nowhere = Unknown("times, top kernels, hardware counters", "no GPU found")
        return replace(found, unknown=(*found.unknown, *_uncounted(exercise), nowhere))
    cases = {op: case for op, case in looking.timed_cases.items() if card.fits(grader, case)}
    try:
        ran = card.look(asking, grader, cases, has_trace=has_trace, on_event=looking.on_event)
    except StopGradingError as error:
        raise GpuprepError(f"{path}: {error.stop.message}", next_step=f"gpuprep check {exercise.id}") from error
    return _with_card(found, card, ran)


def _with_card(found: Profile, card: Card, ran: Ran) -> Profile:
    """What was found without the card, and on it; where both know a kernel, what was really launched counts."""
    operations = []
    for operation in found.operations:
        seen = ran.operations.get(operation.name)
        if seen is None:
            operations.append(operation)
            continue
        operation = replace(operation, timed=seen.timed, counters=seen.counters)
        if seen.kernels and card.capability == found.capability:
            operation = replace(operation, kernels=seen.kernels, compiled_for=seen.case)
        operations.append(operation)
    has_counters = any(operation.counters for operation in operations)
    return replace(
        found,
        operations=tuple(operations),
        unknown=(*found.unknown, *ran.unknown, *(() if has_counters else _uncounted(found.exercise))),
        card=card.name,
        n_sms=card.n_sms,
        trace=ran.trace,
    )


def _uncounted(exercise: Exercise) -> tuple[Unknown, ...]:
    """What the interpreter can't count."""
    if exercise.language != "triton":
        return ()
    why = "the compiler lays out shared memory, so only hardware counters show them"
    return (Unknown("bank conflicts, sectors a request", why),)


@dataclass
class _Looking:
    """What needs no card."""

    asking: Asking
    grader: Grader
    capability: str
    on_event: OnEvent
    unknown: list[Unknown] = field(default_factory=list)

    def look(self) -> Profile:
        """Count a call of each operation, and compile what it launches."""
        exercise = self.asking.exercise
        self.on_event("starting")
        with WorkerProcess("compiler") as compiler, WorkerProcess("cpu") as counting:
            counting.wait_until_ready()
            self._load(counting)
            counted = {case.op: self._counted(counting, case) for case in self.counted_cases}
            compiler.wait_until_ready()
            if exercise.language == "cuda":
                operations = [self._built(compiler, *found) for found in counted.values()]
            else:
                operations = self._compiled(compiler, counted)
            versions = dict(compiler.versions)
        return Profile(
            exercise,
            str(self.asking.path),
            self.capability,
            tuple(operations),
            tuple(dict.fromkeys(self.unknown)),
            versions=versions,
        )

    @property
    def _cases(self) -> Sequence[Case]:
        return self.grader.cases(random.Random(SEED))  # noqa: S311  sizes

    @property
    def counted_cases(self) -> list[Case]:
        """Of each operation the first whose work is counted; where none is, the first that launches kernels."""
        on_cpu = [case for case in self._cases if "cpu" in case.devices and self.grader.uses_kernels(case)]
        chosen = [case for case in on_cpu if case.tier is Tier.WORK] or on_cpu[-1:]
        if not chosen:
            exercise = self.asking.exercise
            raise GpuprepError(
                f"{exercise.id} launches no kernels: there is nothing to profile",
                next_step=f"gpuprep check {exercise.id}",
            )
        return list({case.op: case for case in reversed(chosen)}.values())[::-1]

    @property
    def timed_cases(self) -> dict[str, Case]:
        """Of each operation the first that is timed."""
        return {case.op: case for case in reversed(self._cases) if case.tier is Tier.SPEED}

    def _is_intense(self, op: str) -> bool:
        """True where an operation computes more on each byte than a card does in the time that it moves one."""
        case = self.timed_cases.get(op)
        if case is None:
            return False
        traffic = self.grader.traffic(case)
        return traffic.flops > INTENSE * traffic.bytes

    def _load(self, worker: WorkerProcess) -> None:
        driver = self.asking.curriculum.driver_path(self.asking.exercise)
        with self._as_errors():
            answer = self.asking.ask(
                worker,
                {
                    "do": "load",
                    "path": str(self.asking.path),
                    "function": self.grader.function,
                    "driver": str(driver) if driver else None,
                },
                self.asking.deadline(worker.device),
                "while it was being imported",
            )
            with self.asking.making_sense_of("the import"):
                judge_import(self.asking.path, self.grader, answer)

    def _counted(self, worker: WorkerProcess, case: Case) -> tuple[CaseResult, Answer, tuple[Access, ...]]:
        self.on_event(f"counting: {case.name}")
        args = self.grader.inputs(case, Draw(case_seed(SEED, case)))
        asked = Asked(self.grader, case, "cpu", args, str(self.asking.path))
        deadline = self.asking.deadline("cpu")
        limit_s = max(0.0, deadline - time.monotonic())
        request = {"do": "call", "args": args, "reverse": False, "traced": True, "limit_s": limit_s}
        with self._as_errors(), self.asking.making_sense_of(case.name):
            answer = self.asking.ask(worker, request, deadline, f"in case {case.name}")
            result = result_of(asked, answer)
            result = budget_fault(asked, answer, result) or result
            if not result.outcome.is_pass and result.outcome is not Outcome.TOO_MUCH_WORK:
                raise StopGradingError(result.outcome, f"case {case.name}: {result.message}", result.where)
            return result, answer, self._accesses(answer)

    def _accesses(self, answer: Answer) -> tuple[Access, ...]:
        found = []
        for kind, (count, least) in _ACCESSES.items():
            sites = [s for s in answer["sites"] if str(s["kind"]).startswith(kind) and int(s["requests"]) > 0]
            # A bad line that runs once matters less than one that runs often.
            worst = max(sites, key=lambda s: int(s[count]) - least * int(s["requests"]), default=None)
            where = worst and source_line(self.asking.path, int(worst["line"]), str(worst["path"]))
            if worst and where and int(worst[count]) > least * int(worst["requests"]):
                found.append(Access(kind, int(worst[count]) / int(worst["requests"]), where))
        return tuple(found)

    def _built(self, worker: WorkerProcess, result: CaseResult, answer: Answer, accesses: Any) -> Operation:
        """An operation in CUDA C++: its launches are in the recipe, and nvcc says the rest."""
        self.on_event(f"compiling: {result.case.name}")

        def ask(request: dict[str, Any]) -> Answer:
            return self.asking.ask(worker, request, self.asking.deadline(worker.device), "while it was compiled")

        with self._as_errors(), self.asking.making_sense_of("the compiler"):
            kernels = built_kernels(answer["recipe"], self.capability, ask)
        return Operation(
            result, accesses, self._noted(kernels), result.case, is_intense=self._is_intense(result.case.op)
        )

    def _compiled(self, worker: WorkerProcess, counted: Mapping[str, Any]) -> list[Operation]:
        """Operations in Triton, compiled as they are launched at the sizes that are timed."""
        self._load(worker)
        operations = []
        for op, (result, _, accesses) in counted.items():
            timed = self.timed_cases.get(op)
            kernels: tuple[Kernel, ...] = ()
            case, why = result.case, ""
            for case in [timed, result.case] if timed else [result.case]:
                self.on_event(f"compiling: {case.name}")
                kernels, why = self._compile(worker, case)
                if not why:
                    break
            if why:
                self.unknown.append(Unknown(f"registers, shared memory and occupancy{f' of {op}' if op else ''}", why))
            operations.append(
                Operation(
                    result,
                    accesses,
                    self._noted(kernels),
                    case if kernels else None,
                    is_intense=self._is_intense(op),
                )
            )
        return operations

    def _compile(self, worker: WorkerProcess, case: Case) -> tuple[tuple[Kernel, ...], str]:
        """The kernels that a case launches, or why nobody knows."""
        try:
            args = self._arguments(case)
        except (RuntimeError, NotImplementedError, TypeError, ValueError) as error:
            # A grader that looks at the values it has drawn.
            return (), f"the inputs of {case.name} can't be made without values ({type(error).__name__})"
        capability = int(self.capability.replace(".", ""))
        request = {"do": "profile_compile", "capability": capability, "args": args}
        with self._as_errors(), self.asking.making_sense_of("the compiler"):
            answer = self.asking.ask(worker, request, self.asking.deadline(worker.device), "while it was compiled")
            if answer["status"] != "compiled":
                return (), f"{case.name} could not be compiled for sm_{capability}: {answer['message']}".splitlines()[0]
            return kernels_of(answer["kernels"], self.capability), ""

    def _arguments(self, case: Case) -> list[Any]:
        """Those of a timed case without their values, which would take gigabytes."""
        if case.tier is Tier.SPEED:
            return [blanked(arg) for arg in self.grader.inputs(case, BlankDraw())]
        return list(self.grader.inputs(case, Draw(case_seed(SEED, case))))

    def _noted(self, kernels: tuple[Kernel, ...]) -> tuple[Kernel, ...]:
        """The same kernels; what the compiler did not say is noted once for all of them."""
        for why in dict.fromkeys(kernel.why_not for kernel in kernels if kernel.why_not):
            self.unknown.append(Unknown("registers, spills and occupancy", why))
        return tuple(replace(kernel, why_not="") if not kernel.why_not else kernel for kernel in kernels)

    @contextlib.contextmanager
    def _as_errors(self) -> Iterator[None]:
        """What a check would make a verdict of is an error here: there is nothing to profile."""
        try:
            yield
        except StopGradingError as error:
            stop = error.stop
            line = f", line {stop.where.line}" if stop.where else ""
            raise GpuprepError(
                f"{self.asking.path}{line}: {stop.message}", next_step=f"gpuprep check {self.asking.exercise.id}"
            ) from error
