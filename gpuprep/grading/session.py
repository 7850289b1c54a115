"""One check of one exercise, start to end: the trusted side's story."""

from __future__ import annotations

import contextlib
import hashlib
import linecache
import math
import random
import secrets
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gpuprep
from gpuprep.confinement.permits import Level
from gpuprep.curriculum import Curriculum
from gpuprep.errors import GraderFaultError, UsageError
from gpuprep.exercise import Exercise
from gpuprep.grader import Draw, Grader, GroupGrader
from gpuprep.grading import lease
from gpuprep.grading.answers import Answer, Asked, result_of
from gpuprep.grading.asking import Asking, StopGradingError
from gpuprep.grading.card import card_is_likely, open_card
from gpuprep.grading.confining import Cell, chosen_level
from gpuprep.grading.loading import case_seed, load_grader, refuse_lost_targets
from gpuprep.grading.pool import WarmPool
from gpuprep.grading.process import OUTPUT_KEPT_BYTES, WorkerProcess
from gpuprep.grading.shapes import Shape, with_hidden
from gpuprep.grading.signature import judge_import
from gpuprep.grading.sources import are_unstarted, read_sources
from gpuprep.grading.threads import one_thread
from gpuprep.grading.verdict import Graded, Stop, report_of
from gpuprep.grading.witnessed import SEED_STEP
from gpuprep.grading.witnessing import Witnessing
from gpuprep.grading.work import budget_fault
from gpuprep.model import Case, CaseResult, Evidence, Outcome, Report, Tier, Timing

if TYPE_CHECKING:
    from gpuprep.grading.replay import Replay

N_PROBES = 40
"""Of the calm card: its clocks have come up by then."""

OnEvent = Callable[[str], None]


def check(
    exercise: Exercise,
    curriculum: Curriculum,
    path: Path,
    *,
    device: str = "auto",
    timeout_s: float | None = None,
    on_event: OnEvent | None = None,
    pool: WarmPool | None = None,
    witnessed: bool = False,
    world: int | None = None,
    sandbox: str = Level.NONE,
    hidden: Sequence[Shape] | None = None,
) -> Report:
    """Grade one file.

    Args:
        exercise: what it must solve.
        curriculum: where the grader and the stub are.
        path: the learner's file; it is never changed.
        device: `auto` uses a card where there is one, `cpu` ignores it, `cuda` insists on it.
        timeout_s: how long the learner's code may run on each device; its usual limit where None.
        on_event: gets a few words whenever something starts.
        pool: forks the workers, which are started cold without it. The verdict does not depend on it.
        witnessed: have a second worker count, one that runs no host code; without it, counts are the learner's word.
        world: of an exercise for several ranks, the only number of them to check with.
        sandbox: how the learner's code is confined: `none`, `landlock`, `full`, or `auto` for the strongest there is.
        hidden: sizes of further cases, in a check that times nothing; None in all others.

    Returns:
        The verdict. Nothing that the learner's code does raises.

    Raises:
        WorkspaceError: the file can't be read.
        UsageError: `cuda` was asked for and there is none, or a number of ranks that the exercise has no cases for,
            or a sandbox that this machine does not offer.
        GraderFaultError: the grader itself is broken.
    """
    if world is not None and exercise.language != "distributed":
        raise UsageError(
            f"--world {world}: {exercise.id} runs in one process", next_step=f"gpuprep check {exercise.id}"
        )
    started = time.monotonic()
    # Lines are shown beside faults; the file may have changed since an earlier check in this process.
    for file in curriculum.sources(path):
        linecache.checkcache(str(file))
    sources = read_sources(exercise, curriculum.sources(path))
    level = chosen_level(sandbox)
    identity: dict[str, Any] = {
        "exercise_id": exercise.id,
        "path": str(path),
        "file_hash": hashlib.sha256(b"\0".join(sources.values())).hexdigest(),
        "exercise_hash": curriculum.exercise_hash(exercise),
        "versions": {"gpuprep": gpuprep.__version__},
        "sandbox": str(level),
    }
    if are_unstarted(curriculum, exercise, sources):
        return Report(
            outcome=Outcome.NOT_STARTED, message="the stub has not been changed yet", **identity
        ).with_elapsed(time.monotonic() - started)
    asking = Asking(exercise, curriculum, path, timeout_s)
    told = on_event or (lambda _: None)
    session = _Session(exercise, curriculum, path, device, asking, told, pool, witnessed, world, level, hidden)
    return report_of(session.run(), identity).with_elapsed(time.monotonic() - started)


@dataclass
class _Session:
    exercise: Exercise
    curriculum: Curriculum
    path: Path
    device: str
    asking: Asking
    on_event: OnEvent
    pool: WarmPool | None = None
    is_witnessed: bool = False
    world: int | None = None
    level: Level = Level.NONE
    hidden: Sequence[Shape] | None = None
    seed: int = field(default_factory=lambda: secrets.randbits(48))
    results: list[CaseResult] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    why_no_speed: str = ""
    why_inconclusive: str = ""
    calm_ms: float = math.inf
    witnessing: Witnessing | None = None
    timings: tuple[Timing, ...] = ()
    card: str = "cpu"
    output: str = ""

    @property
    def cell(self) -> Cell:
        """How the workers are confined."""
        return Cell(self.level, self.exercise, self.curriculum, self.path)

    def run(self) -> Graded:
        """Grade on the CPU, then, where nothing failed and there is a card, on the card."""
        if self.exercise.language == "distributed":
            return self._run_group()
        self.on_event("starting")
        with contextlib.ExitStack() as stack:
            # The workers import torch while this side does, and the card's make their context while the CPU is graded.
            worker = stack.enter_context(self._learners("cpu"))
            if self.is_witnessed:
                self.witnessing = self._witnessing(stack)
            early = self.device != "cpu" and card_is_likely()
            learner = stack.enter_context(self._learners("cuda")) if early else None
            # The card's contexts are made one after the other. Where the identity's worker is forked, it can come last.
            identity = stack.enter_context(self._identity()) if early and not self.pool else None
            opening = open_card() if early else None
            grader = load_grader(self.curriculum, self.exercise)
            cases = self._cases(grader)
            has_card = opening is None and self._find_card()
            if opening:
                _import_for_card()
            with one_thread():
                stop = self._until_stopped(self._grade_on, worker, grader, [c for c in cases if "cpu" in c.devices])
            self.output = worker.output()
            # Before the card is probed: nothing of the learner's may be running then.
            worker.stop(is_awaited=opening is not None or has_card)
            has_failed = self._has_failed or (stop is not None and stop.outcome.is_failure)
            if opening:
                opening.join()
                if not has_failed and identity is None:
                    identity = stack.enter_context(self._identity())
                has_card = self._find_card()
            if has_card and not has_failed:
                self._probe_card()
                learner = learner or stack.enter_context(self._learners("cuda"))
                identity = identity or stack.enter_context(self._identity())
                stop = self._until_stopped(self._grade_on_card, learner, identity, grader, cases) or stop
                self.output = (self.output + learner.output())[-OUTPUT_KEPT_BYTES:]
        return Graded(
            results=tuple(self.results),
            tiers=frozenset(case.tier for case in cases),
            timings=self.timings,
            why_no_speed=self.why_no_speed,
            why_inconclusive=self.why_inconclusive,
            why_unwitnessed=self.witnessing.why_not if self.witnessing else "",
            evidence=self._evidence(grader, cases),
            stop=stop,
            device=self.card,
            versions=self.versions,
            seed=self.seed,
            stdout=self.output,
        )

    def _run_group(self) -> Graded:
        # Here, because it imports torch, which in all other checks is imported while the workers do the same.
        from gpuprep.grading.group_session import GroupSession

        grader = load_grader(self.curriculum, self.exercise)
        assert isinstance(grader, GroupGrader)  # noqa: S101  what a distributed exercise's grader is
        cases = self._cases(grader)
        group = GroupSession(
            self.exercise,
            self.curriculum,
            self.path,
            self.device,
            self.asking,
            self.on_event,
            self.cell,
            self.pool,
            self.world,
            self.seed,
        )
        with one_thread():
            return group.run(grader, cases)

    def _learners(self, device: str) -> WorkerProcess:
        """The learner's worker. One that was prepared was so before anybody knew what to confine it to."""
        bounds = self.cell.for_learner(device)
        prepared = self.pool.take(device) if self.pool and bounds is None else None
        return prepared or WorkerProcess(device, self.pool, bounds=bounds)

    def _witnessing(self, stack: contextlib.ExitStack) -> Witnessing:
        """The counting worker, which is only started once something has passed where that takes milliseconds."""
        cache = stack.enter_context(tempfile.TemporaryDirectory(prefix="gpuprep-witness-"))
        bounds = self.cell.for_witness(cache)

        def start() -> WorkerProcess:
            return stack.enter_context(WorkerProcess("witness", self.pool, is_trusted=True, bounds=bounds))

        witnessing = Witnessing(self.asking, start, cache)
        if self.pool is None:
            witnessing.begin()
        return witnessing

    def _identity(self) -> WorkerProcess:
        """The one that holds the identity against the learner's, and runs our code only."""
        return WorkerProcess("cuda", self.pool, is_trusted=True)

    def _evidence(self, grader: Grader, cases: Sequence[Case]) -> Evidence:
        # What torch did for host code is seen in the learner's process alone.
        are_kernels = all(grader.uses_kernels(case) for case in cases if case.tier is Tier.WORK)
        return Evidence.WITNESSED if self.is_witnessed and are_kernels else Evidence.SELF_REPORTED

    @property
    def _has_failed(self) -> bool:
        return any(result.outcome.is_failure for result in self.results)

    def _until_stopped(self, step: Callable[..., None], *args: Any) -> Stop | None:
        try:
            step(*args)
        except StopGradingError as error:
            return error.stop
        return None

    def _cases(self, grader: Grader) -> Sequence[Case]:
        try:
            cases = grader.cases(random.Random(self.seed))  # noqa: S311  sizes, not secrets: the seed itself is one
        except Exception as error:
            raise self.asking.grader_fault("cases", error) from error
        refuse_lost_targets(self.exercise, grader, cases)
        return cases if self.hidden is None else with_hidden(grader, cases, self.hidden)

    def _find_card(self) -> bool:
        import torch

        if self.device == "cpu":
            self.why_no_speed = "--device cpu was asked for"
            return False
        if torch.cuda.is_available():
            _import_for_card()
            self.card = torch.cuda.get_device_name(0)
            return True
        if self.device == "cuda":
            raise UsageError("--device cuda: no CUDA device found", next_step="gpuprep doctor")
        self.why_no_speed = "no GPU found"
        return False

    def _probe_card(self) -> None:
        """How calm it is while no process runs that has loaded the learner's file."""
        from gpuprep.grading.machine import card_uuids, probe_ms

        with lease.using(card_uuids(), self.on_event):
            self.calm_ms = probe_ms(N_PROBES)

    def _grade_on(self, worker: WorkerProcess, grader: Grader, cases: Sequence[Case]) -> None:
        worker.wait_until_ready()
        self.versions.update(worker.versions)
        if worker.device == "cpu" and not worker.can_count:
            raise GraderFaultError(worker.why_not, next_step="gpuprep doctor")
        deadline = self.asking.deadline(worker.device)
        self._load(worker, grader, deadline)
        for place, case in enumerate(cases, start=1):
            self.on_event(f"{worker.device}: case {place} of {len(cases)}: {case.name}")
            try:
                self.results.append(self._grade_case(worker, grader, case, deadline))
            except StopGradingError as error:
                stop = error.stop
                self.results.append(CaseResult(case, worker.device, stop.outcome, stop.message, where=stop.where))
                raise
            if self.results[-1].outcome is Outcome.TIMED_OUT:
                # A kernel that runs for ever does so in every case.
                return
        if worker.device == "cpu" and self.witnessing:
            self.witnessing.look(self.results)

    def _load(self, worker: WorkerProcess, grader: Grader, deadline: float) -> None:
        self.on_event(f"{worker.device}: loading {self.path.name}")
        driver = self.curriculum.driver_path(self.exercise)
        request = {
            "do": "load",
            "path": str(self.path.resolve()),
            "function": grader.function,
            "driver": str(driver) if driver else None,
        }
        answer = self.asking.ask(worker, request, deadline, "while it was being imported")
        with self.asking.making_sense_of("the import"):
            judge_import(self.path, grader, answer)

    def _grade_case(self, worker: WorkerProcess, grader: Grader, case: Case, deadline: float) -> CaseResult:
        args = self._inputs(grader, case)
        targets = tuple(target for target in self.exercise.targets if target.of == case.op)
        asked = Asked(grader, case, worker.device, args, str(self.path), targets)
        witnessing = self.witnessing if worker.device == "cpu" and grader.uses_kernels(case) else None

        def call(args: Sequence[Any], **options: Any) -> Answer:
            limit_s = max(0.0, deadline - time.monotonic())
            request = {"do": "call", "args": args, "reverse": False, "limit_s": limit_s, **options}
            return self.asking.ask(worker, request, deadline, f"in case {case.name}")

        answer = call(args, traced=witnessing is not None)
        with self.asking.making_sense_of(case.name):
            again = partial(call, args) if worker.can_count and witnessing is None else None
            result = result_of(asked, answer, again)
            result = budget_fault(asked, answer, result) or result
            if witnessing and result.outcome.is_pass:
                draw = partial(self._inputs, grader, case, SEED_STEP)
                witnessing.add(len(self.results), asked, answer, draw, call)
            return result

    def _inputs(self, grader: Grader, case: Case, step: int = 0) -> tuple[Any, ...]:
        try:
            return grader.inputs(case, Draw(case_seed(self.seed + step, case)))
        except Exception as error:
            raise self.asking.grader_fault(case.name, error) from error

    def _grade_on_card(
        self, worker: WorkerProcess, identity: WorkerProcess, grader: Grader, cases: Sequence[Case]
    ) -> None:
        from gpuprep.grading.machine import card_uuids
        from gpuprep.grading.replay import Replay

        timed = [case for case in cases if case.tier is Tier.SPEED]
        with contextlib.ExitStack() as stack:
            replay: Replay | None = None
            if self.is_witnessed and any(map(grader.uses_kernels, timed)):
                replay = stack.enter_context(Replay.started(self.cell, self.pool))
            with lease.using(card_uuids(), self.on_event):
                self._grade_on(worker, grader, [c for c in cases if "cuda" in c.devices and c.tier is Tier.CORRECT])
            if timed and not self._has_failed:
                self._time(worker, identity, grader, timed, replay)

    def _time(
        self,
        worker: WorkerProcess,
        identity: WorkerProcess,
        grader: Grader,
        cases: Sequence[Case],
        replay: Replay | None,
    ) -> None:
        from gpuprep.grading.ceilings import UnstableCardError
        from gpuprep.grading.speed import Bench
        from gpuprep.grading.speed_tier import measure_alone

        shared = (self.exercise, grader, self.path, self.seed, worker, identity, self.asking, self.on_event)
        bench = Bench(*shared, calm_ms=self.calm_ms, is_strict=self.is_witnessed)
        try:
            measured = measure_alone(bench, cases, self.card, replay)
        except UnstableCardError as error:
            self.why_inconclusive = error.message
            return
        self.timings, self.why_no_speed = measured.timings, measured.why_not
        self.results.extend(measured.results)


def _import_for_card() -> None:
    """Now, not when it is needed: by then a learner's code has run that can write where this would be read."""
    import gpuprep.grading.kernels
    import gpuprep.grading.speed_tier  # noqa: F401
