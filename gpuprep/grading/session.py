"""One check of one exercise, start to end: the trusted side's story."""

from __future__ import annotations

import contextlib
import hashlib
import linecache
import math
import random
import secrets
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gpuprep
from gpuprep.curriculum import Curriculum
from gpuprep.errors import GpuprepError, GraderFaultError, UsageError
from gpuprep.exercise import Exercise
from gpuprep.grader import Draw, Grader
from gpuprep.grading.answers import Answer, Asked, result_of
from gpuprep.grading.loading import case_seed, load_grader
from gpuprep.grading.pool import WarmPool
from gpuprep.grading.process import OUTPUT_KEPT_BYTES, WorkerDiedError, WorkerProcess, WorkerTimeoutError
from gpuprep.grading.signature import signature_problem
from gpuprep.grading.sources import are_unstarted, read_sources
from gpuprep.grading.verdict import Graded, Stop, report_of
from gpuprep.grading.witnessed import SEED_STEP, Call, witnessed_result
from gpuprep.grading.work import budget_fault
from gpuprep.model import Case, CaseResult, Evidence, Outcome, Report, SourceLine, Tier, Timing

DEFAULT_LIMIT_S = {"cpu": 30.0, "cuda": 180.0, "witness": 30.0}
"""How long a learner's code may run in all, by device; on a card with its compiling; as `witness` each time."""

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
) -> Report:
    """Grade one file.

    Args:
        exercise: what it must solve.
        curriculum: where the grader and the stub are.
        path: the learner's file; it is never changed.
        device: `auto` uses a card where there is one, `cpu` ignores it, `cuda` insists on it.
        timeout_s: how long the learner's code may run on each device; DEFAULT_LIMIT_S where None.
        on_event: gets a few words whenever something starts.
        pool: forks the workers, which are started cold without it. The verdict does not depend on it.
        witnessed: have a second worker count, one that runs no host code; without it, counts are the learner's word.

    Returns:
        The verdict. Nothing that the learner's code does raises.

    Raises:
        WorkspaceError: the file can't be read.
        UsageError: `cuda` was asked for and there is none.
        GraderFaultError: the grader itself is broken.
    """
    started = time.monotonic()
    # Lines are shown beside faults; the file may have changed since an earlier check in this process.
    linecache.checkcache(str(path))
    sources = read_sources(exercise, curriculum.sources(path))
    identity: dict[str, Any] = {
        "exercise_id": exercise.id,
        "path": str(path),
        "file_hash": hashlib.sha256(b"\0".join(sources.values())).hexdigest(),
        "exercise_hash": curriculum.exercise_hash(exercise),
        "versions": {"gpuprep": gpuprep.__version__},
    }
    if are_unstarted(curriculum, exercise, sources):
        return Report(
            outcome=Outcome.NOT_STARTED, message="the stub has not been changed yet", **identity
        ).with_elapsed(time.monotonic() - started)
    session = _Session(exercise, curriculum, path, device, timeout_s, on_event or (lambda _: None), pool, witnessed)
    return report_of(session.run(), identity).with_elapsed(time.monotonic() - started)


class _StopGradingError(Exception):
    """The learner's process can't go on: it died, hung, or never loaded."""

    def __init__(self, outcome: Outcome, message: str, where: SourceLine | None = None) -> None:
        super().__init__(message)
        self.stop = Stop(outcome, message, where)


@dataclass
class _Session:
    exercise: Exercise
    curriculum: Curriculum
    path: Path
    device: str
    timeout_s: float | None
    on_event: OnEvent
    pool: WarmPool | None = None
    is_witnessed: bool = False
    seed: int = field(default_factory=lambda: secrets.randbits(48))
    results: list[CaseResult] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    why_no_speed: str = ""
    why_inconclusive: str = ""
    calm_ms: float = math.inf
    why_unwitnessed: str = ""
    witness: WorkerProcess | None = None
    timing: Timing | None = None
    card: str = "cpu"
    output: str = ""

    def run(self) -> Graded:
        """Grade on the CPU, then, where nothing failed and there is a card, on the card."""
        self.on_event("starting")
        with contextlib.ExitStack() as stack:
            # The workers import torch while this side does, and the card's make their context while the CPU is graded.
            prepared = self.pool.take("cpu") if self.pool else None
            worker = stack.enter_context(prepared or WorkerProcess("cpu", self.pool))
            if self.is_witnessed:
                self.witness = stack.enter_context(WorkerProcess("witness", self.pool, is_trusted=True))
            early = self.device != "cpu" and card_is_likely()
            on_card = [stack.enter_context(worker) for worker in self._card_workers()] if early else []
            grader = load_grader(self.curriculum, self.exercise)
            cases = self._cases(grader)
            has_card = self._find_card()
            with _one_thread():
                stop = self._until_stopped(self._grade_on, worker, grader, [c for c in cases if "cpu" in c.devices])
            self.output = worker.output()
            worker.stop()
            if has_card and not (stop and stop.outcome.is_failure) and not self._has_failed:
                learner, identity = on_card or (stack.enter_context(worker) for worker in self._card_workers())
                stop = self._until_stopped(self._grade_on_card, learner, identity, grader, cases) or stop
                self.output = (self.output + learner.output())[-OUTPUT_KEPT_BYTES:]
        return Graded(
            results=tuple(self.results),
            tiers=frozenset(case.tier for case in cases),
            timing=self.timing,
            why_no_speed=self.why_no_speed,
            why_inconclusive=self.why_inconclusive,
            why_unwitnessed=self.why_unwitnessed,
            evidence=Evidence.WITNESSED if self.is_witnessed else Evidence.SELF_REPORTED,
            stop=stop,
            device=self.card,
            versions=self.versions,
            seed=self.seed,
            stdout=self.output,
        )

    def _card_workers(self) -> Iterator[WorkerProcess]:
        """The learner's, and the one that holds the identity against it, which runs our code only."""
        yield WorkerProcess("cuda", self.pool)
        yield WorkerProcess("cuda", self.pool, is_trusted=True)

    @property
    def _has_failed(self) -> bool:
        return any(result.outcome.is_failure for result in self.results)

    def _until_stopped(self, step: Callable[..., None], *args: Any) -> Stop | None:
        try:
            step(*args)
        except _StopGradingError as error:
            return error.stop
        return None

    def _cases(self, grader: Grader) -> Sequence[Case]:
        try:
            return grader.cases(random.Random(self.seed))  # noqa: S311  sizes, not secrets: the seed itself is one
        except Exception as error:
            raise self._fault("cases", error) from error

    def _find_card(self) -> bool:
        import torch

        if self.device == "cpu":
            self.why_no_speed = "--device cpu was asked for"
            return False
        if torch.cuda.is_available():
            # Now, not when it is needed: by then a learner's code has run that can write where this would be read.
            import gpuprep.grading.kernels
            import gpuprep.grading.speed  # noqa: F401
            from gpuprep.grading.machine import probe_ms

            self.card = torch.cuda.get_device_name(0)
            # Before the learner's file is loaded anywhere.
            self.calm_ms = probe_ms(N_PROBES)
            return True
        if self.device == "cuda":
            raise UsageError("--device cuda: no CUDA device found", next_step="gpuprep doctor")
        self.why_no_speed = "no GPU found"
        return False

    def _grade_on(self, worker: WorkerProcess, grader: Grader, cases: Sequence[Case]) -> None:
        worker.wait_until_ready()
        self.versions.update(worker.versions)
        if worker.device == "cpu" and not worker.can_count:
            raise GraderFaultError(worker.why_not, next_step="gpuprep doctor")
        if worker.device == "cpu" and self.witness is not None:
            self.witness.wait_until_ready()
        deadline = time.monotonic() + (self.timeout_s or DEFAULT_LIMIT_S[worker.device])
        self._load(worker, grader, deadline)
        for place, case in enumerate(cases, start=1):
            self.on_event(f"{worker.device}: case {place} of {len(cases)}: {case.name}")
            try:
                self.results.append(self._grade_case(worker, grader, case, deadline))
            except _StopGradingError as error:
                stop = error.stop
                self.results.append(CaseResult(case, worker.device, stop.outcome, stop.message, where=stop.where))
                raise

    def _load(self, worker: WorkerProcess, grader: Grader, deadline: float) -> None:
        self.on_event(f"{worker.device}: loading {self.path.name}")
        driver = self.curriculum.driver_path(self.exercise)
        request = {
            "do": "load",
            "path": str(self.path.resolve()),
            "function": grader.function,
            "driver": str(driver) if driver else None,
        }
        answer = self._ask(worker, request, deadline, "while it was being imported")
        with self._making_sense_of("the import"):
            self._judge_import(grader, answer)

    def _judge_import(self, grader: Grader, answer: dict[str, Any]) -> None:
        if answer["status"] == "missing":
            defined = ", ".join(answer["defined"]) or "nothing"
            raise _StopGradingError(
                Outcome.WRONG_SIGNATURE, f"no function {grader.function}() in the file; it defines {defined}"
            )
        if answer["status"] == "raised":
            where = _line(self.path, answer["line"])
            message = f"{answer['type']}: {answer['message']}"
            if answer["needs_device"]:
                raise _StopGradingError(Outcome.SKIPPED, f"the file needs a GPU to be imported ({message})", where)
            outcome = Outcome.COMPILE_FAILED if answer["is_syntax"] else Outcome.RAISED
            raise _StopGradingError(outcome, f"{message} (while importing the file)", where)
        if problem := signature_problem(grader, answer["parameters"]):
            raise _StopGradingError(Outcome.WRONG_SIGNATURE, problem)

    def _grade_case(self, worker: WorkerProcess, grader: Grader, case: Case, deadline: float) -> CaseResult:
        args = self._inputs(grader, case)
        asked = Asked(grader, case, worker.device, args, str(self.path))
        witness = self.witness if worker.device == "cpu" else None

        def call(args: Sequence[Any], **options: bool) -> Answer:
            request = {"do": "call", "args": args, "reverse": False, **options}
            return self._ask(worker, request, deadline, f"in case {case.name}")

        answer = call(args, traced=witness is not None)
        with self._making_sense_of(case.name):
            reversed_answer = None
            has_order = answer["status"] == "returned" and answer["work"]["programs"] > 1
            if worker.can_count and has_order and witness is None:
                # Programs of a launch have no order on a card: the other order must give the same result.
                reversed_answer = call(args, reverse=True)
            result = result_of(asked, answer, reversed_answer)
            result = budget_fault(asked, answer, result) or result
            return self._witnessed(witness, asked, answer, call) if witness and result.outcome.is_pass else result

    def _witnessed(self, witness: WorkerProcess, asked: Asked, told: Answer, call: Call) -> CaseResult:
        """What the counting worker makes of a case that the learner's worker passed."""

        def ask(request: dict[str, Any]) -> Answer:
            deadline = time.monotonic() + (self.timeout_s or DEFAULT_LIMIT_S["witness"])
            return self._ask(witness, request, deadline, f"when case {asked.case.name} was counted again")

        witnessed = witnessed_result(asked, told, self._inputs(asked.grader, asked.case, SEED_STEP), ask, call)
        if witnessed.outcome is not Outcome.SKIPPED or asked.case.tier is Tier.WORK:
            return witnessed
        self.why_unwitnessed = witnessed.message
        return asked.passed()

    @contextlib.contextmanager
    def _making_sense_of(self, where: str) -> Iterator[None]:
        """Turns an exception into the fault of whom it comes from: the grader, or the worker that answered nonsense."""
        try:
            yield
        except (_StopGradingError, GpuprepError):
            raise
        except Exception as error:
            if _is_from_grader(error, self.curriculum.grader_path(self.exercise)):
                raise self._fault(where, error) from error
            what = f"{type(error).__name__}: {error}"
            raise _StopGradingError(
                Outcome.CRASHED, f"the worker's answer to {where} makes no sense ({what})"
            ) from error

    def _inputs(self, grader: Grader, case: Case, step: int = 0) -> tuple[Any, ...]:
        try:
            return grader.inputs(case, Draw(case_seed(self.seed + step, case)))
        except Exception as error:
            raise self._fault(case.name, error) from error

    def _ask(self, worker: WorkerProcess, request: dict[str, Any], deadline: float, when: str) -> dict[str, Any]:
        try:
            return worker.ask(request, deadline=deadline)
        except WorkerTimeoutError:
            limit_s = self.timeout_s or DEFAULT_LIMIT_S[worker.device]
            raise _StopGradingError(
                Outcome.TIMED_OUT, f"still running after {limit_s:g} s {when}", worker.last_line(self.path)
            ) from None
        except WorkerDiedError as error:
            raise _StopGradingError(
                Outcome.CRASHED, f"the process ended {when}: {error.how}", worker.last_line(self.path)
            ) from error

    def _grade_on_card(
        self, worker: WorkerProcess, identity: WorkerProcess, grader: Grader, cases: Sequence[Case]
    ) -> None:
        self._grade_on(worker, grader, [c for c in cases if "cuda" in c.devices and c.tier is Tier.CORRECT])
        timed = self._timed_case(grader, cases)
        if timed is None or self._has_failed:
            return
        from gpuprep.grading.ceilings import UnstableCardError
        from gpuprep.grading.speed import SpeedTest

        asked = Asked(grader, timed, "cuda", (), str(self.path))
        deadline = time.monotonic() + (self.timeout_s or DEFAULT_LIMIT_S["cuda"])

        def ask(which: WorkerProcess, request: dict[str, Any]) -> dict[str, Any]:
            return self._ask(which, request, deadline, "while it was timed")

        try:
            identity.wait_until_ready()
            with self._making_sense_of(timed.name):
                measured = SpeedTest(
                    self.exercise,
                    asked,
                    self.seed,
                    worker,
                    identity,
                    ask,
                    self.on_event,
                    calm_ms=self.calm_ms,
                    is_strict=self.is_witnessed,
                ).run()
        except UnstableCardError as error:
            self.why_inconclusive = error.message
            return
        self.timing = measured.timing
        self.results.append(measured.fault or asked.passed())

    def _timed_case(self, grader: Grader, cases: Sequence[Case]) -> Case | None:
        import torch

        free_bytes, _ = torch.cuda.mem_get_info()
        # Sets of arguments, an audited round's inputs, slots and copies, the oracle's float64 and its comparison.
        room = 12
        speed_cases = [case for case in cases if case.tier is Tier.SPEED]
        fitting = [case for case in speed_cases if room * grader.traffic(case).bytes < free_bytes]
        if speed_cases and not fitting:
            self.why_no_speed = f"{free_bytes / 2**30:.1f} GiB of free memory on {self.card} are too few to time it"
        return next(iter(fitting), None)

    def _fault(self, where: str, error: Exception) -> GraderFaultError:
        path = self.curriculum.grader_path(self.exercise)
        return GraderFaultError(
            f"{path}: {where}: {type(error).__name__}: {error}", next_step=f"gpuprep dev check {self.exercise.id}"
        )


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Torch without its threads: for cases this small they take longer to gather than to compute."""
    import torch

    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


def card_is_likely() -> bool:
    """A guess, which costs nothing but time where it is wrong."""
    # A file's existence instead of torch.cuda.is_available(), which costs the import that is to be overlapped. A wrong
    # guess costs time only.
    return any(Path(node).exists() for node in ("/dev/nvidia0", "/dev/nvidiactl", "/dev/dxg"))


def _line(path: Path, number: int) -> SourceLine | None:
    return SourceLine(str(path), number, linecache.getline(str(path), number).strip()) if number else None


def _is_from_grader(error: BaseException, path: Path) -> bool:
    frames = traceback.walk_tb(error.__traceback__)
    return any(Path(frame.f_code.co_filename).resolve() == path.resolve() for frame, _ in frames)
