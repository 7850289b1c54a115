"""Which cases are timed, in which order everything is measured, and what comes of it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import several_operations as several
import torch

from gpuprep.curriculum import Curriculum
from gpuprep.device_memory import DeviceMemoryError
from gpuprep.errors import GraderFaultError
from gpuprep.exercise import Exercise, Target
from gpuprep.grader import Traffic
from gpuprep.grading import lease, machine, speed_tier
from gpuprep.grading import session as session_module
from gpuprep.grading import speed as speed_module
from gpuprep.grading.asking import Asking, StopGradingError
from gpuprep.grading.audit import Ask, Audited
from gpuprep.grading.ceilings import Ceilings, UnstableCardError
from gpuprep.grading.process import WorkerDiedError, WorkerTimeoutError
from gpuprep.grading.replay import Replayed
from gpuprep.grading.session import check
from gpuprep.grading.speed import Bench, SpeedTest
from gpuprep.grading.speed_tier import ROOM, Measured, measure, timed_cases
from gpuprep.model import Case, CaseResult, Outcome, Tier, Timing
from gpuprep.worker import stopwatch as stopwatch_module
from gpuprep.worker.stopwatch import Stopwatch

GIB = 2**30
CEILINGS = Ceilings("card", "uuid", copy_gb_per_s=4000.0, matmul_tflop_per_s={"float16": 800.0})


def speed_case(op: str, n: int = GIB, **more: Any) -> Case:
    return Case({**({"op": op} if op else {}), "n": n, "dtype": "float32", **more}, Tier.SPEED, ("cuda",))


ADD, TOTAL = speed_case("add"), speed_case("total")


# Which cases


class OneByteEach:
    """A grader as far as `timed_cases` asks it."""

    def traffic(self, case: Case) -> Traffic:
        return Traffic(bytes=case["n"], flops=200 * case["n"], dtype="float16")


@pytest.fixture
def free_bytes(monkeypatch: pytest.MonkeyPatch) -> int:
    """A card with a little more room than a case of 1 GiB takes."""
    free = ROOM * GIB + 1
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (free, 2 * free))
    return free


def chosen(*cases: Case) -> tuple[tuple[Case, ...], str]:
    return timed_cases(OneByteEach(), cases, "card")  # type: ignore[arg-type]


def test_first_case_that_fits_is_timed(free_bytes: int) -> None:
    """Of one operation the first speed case that fits the memory is timed, and no other."""
    large, fits, small = (speed_case("", n) for n in (2 * GIB, GIB, GIB // 2))
    assert chosen(Case({"n": 3}), large, fits, small) == ((fits,), "")


def test_one_case_of_each_operation(free_bytes: int) -> None:
    """Of several operations each has its case, in the grader's order, whichever sizes the others take."""
    cases = [speed_case(op, n) for n in (2 * GIB, GIB, GIB // 2) for op in ("add", "total")]
    assert chosen(*cases) == ((ADD, TOTAL), "")


def test_operation_without_room_is_named(free_bytes: int) -> None:
    """Where one operation fits the card in no size, the others are timed and the reason names it."""
    timed, why = chosen(ADD, speed_case("total", 2 * GIB), speed_case("scan", 3 * GIB))
    assert timed == (ADD,)
    assert "card" in why
    assert why.endswith("to time total and scan")
    assert chosen(speed_case("", 2 * GIB)) == ((), "12.0 GiB of free memory on card are too few to time it")


def test_nothing_to_time(free_bytes: int) -> None:
    """An exercise without speed cases has nothing to time and no reason why."""
    assert chosen(Case({"n": 3})) == ((), "")


# In which order


@dataclass
class Worker:
    """A worker as far as the speed tier asks it."""

    log: list[str]
    name: str = "learner"
    answer: Any = None
    pid: int = 0
    device: str = "cuda"

    def stop(self, *, is_awaited: bool = False) -> None:
        self.log.append(f"{self.name} stopped")

    def ask(self, request: dict[str, Any], *, deadline: float) -> dict[str, Any]:
        self.log.append(f"{self.name}: {request['do']}")
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer or {}

    def last_line(self, path: Path) -> None:
        return None


EXERCISE = Exercise(
    "ex_01",
    "x",
    "X",
    "00_first",
    "triton",
    "x",
    5,
    (),
    (Target("share_of_copy", 0.8, 0.95, "add"), Target("share_of_matmul", 0.5, None, "total")),
)


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def bench(log: list[str], tmp_path: Path) -> Bench:
    """A bench with workers that only write down what they are asked."""
    asking = Asking(EXERCISE, several.made(tmp_path), tmp_path / "x.py")
    learner, identity = Worker(log), Worker(log, "identity")
    return Bench(EXERCISE, OneByteEach(), asking.path, 7, learner, identity, asking, lambda _: None)  # type: ignore[arg-type]


@dataclass
class Plan:
    """What becomes of the claims, by case; nothing goes wrong with the others."""

    faults: dict[str, CaseResult | Exception]
    slow: tuple[str, ...] = ()


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch, log: list[str]) -> Plan:
    """Puts tests in place of the real ones that need no card and write down when they are asked for what."""
    plan = Plan({})

    class Scripted(SpeedTest):
        def claim(self) -> CaseResult | None:
            log.append(f"claim {self.asked.case.op}")
            fault = plan.faults.get(self.asked.case.op)
            if isinstance(fault, Exception):
                raise fault
            self._samples = [100.0 if self.asked.case.op in plan.slow else 0.3] * 30
            return fault

        def put_away(self) -> None:
            log.append(f"put {self.asked.case.op} away")

        def timing(self, ceilings: Ceilings, others: Collection[int] = ()) -> Timing:
            log.append(f"figures {self.asked.case.op}")
            return super().timing(ceilings, others)

    def calibrated(dtypes: list[str], *, anew: bool) -> Ceilings:
        log.append(f"ceilings {', '.join(dtypes)}")
        return CEILINGS

    monkeypatch.setattr(speed_tier, "SpeedTest", Scripted)
    monkeypatch.setattr(speed_tier, "calibrate", calibrated)
    monkeypatch.setattr(speed_module, "card_state", lambda *_: None)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(uuid="uuid"))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    return plan


def test_ceilings_come_once_and_after_the_learner(bench: Bench, plan: Plan, log: list[str]) -> None:
    """All claims first, then the learner's process ends, then the ceilings, once, and each case's figures."""
    measured = measure(bench, (ADD, TOTAL))
    assert log == [
        "claim add",
        "put add away",
        "claim total",
        "put total away",
        "learner stopped",
        "ceilings float16",
        "figures add",
        "figures total",
    ]
    assert [timing.case for timing in measured.timings] == [ADD, TOTAL]
    assert [(result.case, result.outcome) for result in measured.results] == [
        (ADD, Outcome.PASSED),
        (TOTAL, Outcome.PASSED),
    ]


def test_figures_belong_to_their_operation(bench: Bench, plan: Plan) -> None:
    """Each case is held against its own operation's targets and none of the others'."""
    add, total = measure(bench, (ADD, TOTAL)).timings
    assert [figure.target for figure in add.figures] == [EXERCISE.targets[0]]
    assert [figure.target for figure in total.figures] == [EXERCISE.targets[1]]


def test_slow_operation_keeps_no_other_from_being_timed(bench: Bench, plan: Plan) -> None:
    """The second operation is measured although the first is far too slow."""
    plan.slow = ("add",)
    add, total = measure(bench, (ADD, TOTAL)).timings
    assert (add.outcome, total.outcome) == (Outcome.TOO_SLOW, Outcome.PASSED)


def test_fault_in_the_first_operation_ends_it(bench: Bench, plan: Plan, log: list[str]) -> None:
    """After a fault nothing else is timed, and no ceiling is measured for it."""
    plan.faults["add"] = CaseResult(ADD, "cuda", Outcome.BANNED_CALL, "a library")
    assert measure(bench, (ADD, TOTAL)) == Measured((plan.faults["add"],))
    assert log == ["claim add", "learner stopped"]


def test_fault_in_the_second_operation(bench: Bench, plan: Plan, log: list[str]) -> None:
    """What passed before a fault is told, but its time is not."""
    plan.faults["total"] = CaseResult(TOTAL, "cuda", Outcome.INVALID, "contradicts itself")
    measured = measure(bench, (ADD, TOTAL))
    assert [result.outcome for result in measured.results] == [Outcome.PASSED, Outcome.INVALID]
    assert measured.timings == ()
    assert log[-1] == "learner stopped"


def test_unstable_card_names_the_case(bench: Bench, plan: Plan) -> None:
    """Where somebody else's work kept the card busy, the message says during which case."""
    plan.faults["total"] = UnstableCardError("something kept the card busy", next_step="nvidia-smi")
    with pytest.raises(UnstableCardError) as caught:
        measure(bench, (ADD, TOTAL))
    assert caught.value.message == "total n=1073741824 float32: something kept the card busy"
    assert caught.value.next_step == "nvidia-smi"


def test_nonsense_names_the_case(bench: Bench, plan: Plan) -> None:
    """A worker whose answer makes no sense has crashed in that case."""
    plan.faults["total"] = KeyError("samples_ms")
    with pytest.raises(StopGradingError) as caught:
        measure(bench, (ADD, TOTAL))
    assert caught.value.stop.outcome is Outcome.CRASHED
    assert "total n=1073741824" in caught.value.stop.message


@dataclass
class Replays:
    """Stands for `replay.Replay`: what comes of a replay, by case."""

    found: dict[str, Replayed]
    log: list[str]
    worker: Any = field(default_factory=lambda: SimpleNamespace(pid=1))

    def look(self, bench: Bench, test: SpeedTest) -> Replayed:
        self.log.append(f"replay {test.asked.case.op}")
        return self.found.get(test.asked.case.op, Replayed(0.3))


def test_launches_are_replayed_when_the_learner_is_gone(bench: Bench, plan: Plan, log: list[str]) -> None:
    """No process of the learner's is there any more when what counts is measured."""
    measured = measure(bench, (ADD, TOTAL), Replays({}, log))  # type: ignore[arg-type]
    assert log[4:8] == ["learner stopped", "replay add", "replay total", "ceilings float16"]
    assert [timing.replayed_ms for timing in measured.timings] == [0.3, 0.3]
    assert measured.why_not == ""


def test_replay_that_could_not_be_made_is_said(bench: Bench, plan: Plan, log: list[str]) -> None:
    """The time is told, and that nobody could hold a replay against it."""
    measured = measure(bench, (ADD, TOTAL), Replays({"add": Replayed(why_not="a CUDA graph")}, log))  # type: ignore[arg-type]
    assert [timing.replayed_ms for timing in measured.timings] == [None, 0.3]
    assert measured.why_not == "what was timed can't be replayed: a CUDA graph"


def test_fault_of_a_replay_ends_it(bench: Bench, plan: Plan, log: list[str]) -> None:
    """What a replay shows to be wrong is that case's result, and no time is told."""
    fault = CaseResult(ADD, "cuda", Outcome.BANNED_CALL, "a library")
    measured = measure(bench, (ADD, TOTAL), Replays({"add": Replayed(fault=fault)}, log))  # type: ignore[arg-type]
    assert [result.outcome for result in measured.results] == [Outcome.PASSED, Outcome.BANNED_CALL]
    assert measured.timings == ()
    assert log[-1] == "replay add"


# One case


@pytest.mark.parametrize(
    ("answer", "outcome"), [(WorkerTimeoutError(), Outcome.TIMED_OUT), (WorkerDiedError("SIGKILL"), Outcome.CRASHED)]
)
def test_death_while_timed_names_the_case(bench: Bench, answer: Exception, outcome: Outcome) -> None:
    """A process that dies or hangs while it is timed says in which case."""
    dying = replace(bench, learner=Worker([], answer=answer))  # type: ignore[arg-type]
    with pytest.raises(StopGradingError) as caught:
        SpeedTest(dying, TOTAL).put_away()
    assert caught.value.stop.outcome is outcome
    assert "while total n=1073741824 float32 was timed" in caught.value.stop.message


def test_worker_that_will_not_put_its_memory_away(bench: Bench, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nonsense in place of an answer ends the check and not the grader."""
    scripted = speed_tier.SpeedTest
    monkeypatch.setattr(scripted, "put_away", SpeedTest.put_away)
    stubborn = replace(bench, learner=Worker([], answer=UNSHARED))  # type: ignore[arg-type]
    with pytest.raises(StopGradingError) as caught:
        measure(stubborn, (ADD,))
    assert caught.value.stop.outcome is Outcome.CRASHED
    assert "makes no sense" in caught.value.stop.message


def test_both_workers_put_their_memory_away(bench: Bench, log: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two cases the learner's and the identity's process let go of what they were lent."""
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: log.append("emptied"))
    SpeedTest(bench, ADD).put_away()
    assert log == ["learner: put_away", "identity: put_away", "emptied"]


def test_time_is_held_against_the_graders_clock(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures follow from the time that the audit agreed to, and a claim of less than that is stretched."""
    monkeypatch.setattr(speed_module, "card_state", lambda *_: None)
    test = SpeedTest(bench, ADD)
    test._samples = [0.25] * 30
    test._audited = Audited(0.4, 0.39, 0.41, calls_per_round=4, n_rounds=12)
    timing = test.timing(CEILINGS)
    assert (timing.claimed_ms, timing.net_ms) == (0.25, 0.4)
    assert timing.median_ms == pytest.approx(0.95 * 0.4)
    assert timing.figures[0].value == pytest.approx(GIB / 4000e9 * 1e3 / (0.95 * 0.4))
    assert timing.figures[0].detail.endswith("of 4000 GB/s")


@pytest.mark.parametrize(("net_ms", "graded_ms"), [(0.2, 0.95 * 0.4), (0.5, 0.95 * 0.5)])
def test_time_is_held_against_a_replay(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, net_ms: float, graded_ms: float
) -> None:
    """What the launches take by themselves counts as the grader's clock does: the slower of the two decides."""
    monkeypatch.setattr(speed_module, "card_state", lambda *_: None)
    test = SpeedTest(bench, ADD)
    test._samples, test.replayed_ms = [0.25] * 30, 0.4
    test._audited = Audited(net_ms, net_ms, net_ms, calls_per_round=4, n_rounds=12)
    timing = test.timing(CEILINGS)
    assert timing.replayed_ms == 0.4
    assert timing.median_ms == pytest.approx(graded_ms)


def test_earlier_of_two_times_is_kept(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Timed once more, a test keeps what was nearer to the kernels' own time."""
    monkeypatch.setattr(speed_module, "buffered", lambda _sets: contextlib.nullcontext((NoBuffer(), [])))
    monkeypatch.setattr(SpeedTest, "draw", lambda *_: ())
    for again_ms, kept_ms in ((0.2, 0.2), (0.3, 0.25)):
        answer = {"status": "timed", "samples_ms": [again_ms] * 30}
        test = SpeedTest(replace(bench, learner=Worker([], answer=answer)), ADD)  # type: ignore[arg-type]
        test._samples = [0.25] * 30
        test.time_again()
        assert test.claimed == (kept_ms, kept_ms, kept_ms)


class NoBuffer:
    """A buffer on no card."""

    n_bytes = 0

    def handle(self) -> bytes:
        return b""


class ScriptedAuditor:
    """An auditor that asks each worker once, then says what it is told to have found."""

    found = Audited(0.0, 0.0, 0.0, calls_per_round=4, n_rounds=12)
    closed: ClassVar[list[bool]] = []

    def __init__(self, *_: object) -> None:
        pass

    def run(self, learner: Ask, identity: Ask, alone: object) -> Audited:
        for ask in (identity, learner):
            ask({"do": "audit"})
        return self.found

    def close(self) -> None:
        self.closed.append(True)


@pytest.fixture
def audited(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[CaseResult | None, SpeedTest]]:
    """Audits a claim of 0.25 ms with workers that give these answers."""
    monkeypatch.setattr(speed_module, "Auditor", ScriptedAuditor)

    def done(found: Audited, **answers: dict[str, Any]) -> tuple[CaseResult | None, SpeedTest]:
        monkeypatch.setattr(ScriptedAuditor, "found", found)
        monkeypatch.setattr(ScriptedAuditor, "closed", [])
        workers = {name: Worker([], answer=answers.get(name, {"status": "open"})) for name in ("learner", "identity")}
        test = SpeedTest(replace(bench, **workers), ADD)  # type: ignore[arg-type]
        test._samples = [0.25] * 30
        result = test._audit()
        assert ScriptedAuditor.closed == [True]
        return result, test

    return done


AGREED = Audited(0.25, 0.24, 0.26, calls_per_round=4, n_rounds=12)
LATE = Audited(0.4, 0.39, 0.41, calls_per_round=4, n_rounds=12)
UNSHARED = {"status": "unshared", "why": "cuIpcOpenMemHandle_v2: operation not supported"}


def test_claim_that_the_grader_contradicts(audited: Any) -> None:
    """Its own clock, by more than honest clocks differ."""
    assert audited(AGREED)[0] is None
    result, _ = audited(LATE)
    assert result.outcome is Outcome.INVALID
    assert "0.2500 ms a call, the grader's 0.4000 ms" in result.message


def test_host_code_that_waits_is_no_contradiction(audited: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own time is in the rounds and hidden in the claim: it is told, and what counts is the grader's clock."""
    monkeypatch.setattr(speed_module, "card_state", lambda *_: None)
    result, test = audited(replace(LATE, has_waited=True))
    assert result is None
    timing = test.timing(CEILINGS)
    assert timing.median_ms == pytest.approx(0.95 * 0.4)
    assert timing.notes == (
        "its host code waits for the card: 0.2500 ms a call on the card, 0.4000 ms with the waiting, which counts",
    )


@pytest.mark.parametrize(
    ("answer", "why"),
    [(UNSHARED, UNSHARED["why"]), ({"status": "raised", "message": "out of memory"}, "the grader's own part of it")],
)
def test_audit_that_can_not_be_made_is_said(
    audited: Any, monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any], why: str
) -> None:
    """Where a process of ours can't do its part, nobody is accused, and the time is called unaudited."""
    monkeypatch.setattr(speed_module, "card_state", lambda *_: None)
    result, test = audited(LATE, identity=answer)
    assert result is None
    timing = test.timing(CEILINGS)
    assert (timing.net_ms, timing.median_ms) == (None, 0.25)
    assert timing.notes[0].startswith(f"unaudited: {why}")


def test_learners_process_alone_can_not_refuse_an_audit(audited: Any) -> None:
    """Where ours can see the memory, theirs can."""
    result, _ = audited(AGREED, learner=UNSHARED)
    assert result.outcome is Outcome.INVALID
    assert "but not with the process of this file" in result.message


@pytest.mark.parametrize("is_ours", [True, False], ids=["no handle", "handle not opened"])
def test_values_are_sent_where_memory_can_not_be_shared(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, is_ours: bool
) -> None:
    """The claim is taken all the same."""
    sent = []

    class Unshared(NoBuffer):
        def handle(self) -> bytes:
            if is_ours:
                raise DeviceMemoryError("cuIpcGetMemHandle: operation not supported")
            return b""

    class Picky(Worker):
        def ask(self, request: dict[str, Any], *, deadline: float) -> dict[str, Any]:
            sent.append(request["sets"])
            return UNSHARED if "handle" in request["sets"] else {"status": "timed", "samples_ms": [0.25] * 30}

    monkeypatch.setattr(speed_module, "buffered", lambda _sets: contextlib.nullcontext((Unshared(), [])))
    monkeypatch.setattr(SpeedTest, "draw", lambda _test, number: (number,))
    test = SpeedTest(replace(bench, learner=Picky([])), ADD)  # type: ignore[arg-type]
    test._samples = [0.3] * 30
    test.time_again()
    assert test.claimed == (0.25, 0.25, 0.25)
    assert sent[-1] == {"calls": [(0,), (1,), (2,)]}
    assert len(sent) == (1 if is_ours else 2)


def test_full_card_is_no_fault_of_the_file(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that somebody took since cases were chosen leaves nothing to say about the speed."""

    def refused(_sets: object) -> None:
        raise DeviceMemoryError("cuMemAlloc_v2: out of memory")

    monkeypatch.setattr(speed_module, "buffered", refused)
    monkeypatch.setattr(SpeedTest, "draw", lambda *_: ())
    with pytest.raises(UnstableCardError, match="too full for timing: cuMemAlloc_v2: out of memory"):
        SpeedTest(bench, ADD).claim()


def test_stopwatch_lets_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked to put things away, the worker closes the inputs and the slots of the case before."""
    closed = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(
        stopwatch_module,
        "DeviceBuffer",
        lambda n_bytes, handle: SimpleNamespace(close=lambda: closed.append(n_bytes), tensor=lambda place: None),
    )
    raised = SimpleNamespace(function=None, raised=lambda error, during: {"status": f"raised {error}"})
    watch = Stopwatch(raised)  # type: ignore[arg-type]
    watch._take({"handle": "00", "bytes": 3, "calls": []})
    watch._take({"handle": "01", "bytes": 4, "calls": []})
    assert closed == [3]
    assert watch.serve({"do": "put_away"}) == {"status": "put_away"}
    assert closed == [3, 4]
    assert watch.serve({"do": "put_away"}) == {"status": "put_away"}
    assert closed == [3, 4]


def test_stopwatch_that_can_not_see_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the machine's doing and not the file's."""

    def refused(_n_bytes: int, *, handle: bytes) -> None:
        raise DeviceMemoryError(f"cuIpcOpenMemHandle_v2: {len(handle)} bytes refused")

    monkeypatch.setattr(stopwatch_module, "DeviceBuffer", refused)
    watch = Stopwatch(SimpleNamespace(function=None))  # type: ignore[arg-type]
    answer = watch.serve({"do": "time", "sets": {"handle": "00", "bytes": 3, "calls": []}})
    assert answer == {"status": "unshared", "why": "cuIpcOpenMemHandle_v2: 1 bytes refused"}


# A whole check


def test_every_operation_is_called(tmp_path: Path) -> None:
    """On a CPU the cases of all operations are graded, named by their operation, and the pass is provisional."""
    curriculum = several.made(tmp_path)
    exercise = curriculum.exercise("ex_01")
    report = check(exercise, curriculum, curriculum.reference_path(exercise), device="cpu")
    assert report.outcome is Outcome.PROVISIONAL, report.message or report.first_failure
    assert [result.case.name for result in report.cases] == [
        "add n=31 float32",
        "add n=1025 float32",
        "double n=31 float32",
        "double n=1025 float32",
    ]


@pytest.mark.parametrize(
    ("targets", "said"), [("duble: {", "did you mean 'double'?"), ("scan: {", "known here: add, double")]
)
def test_target_that_nothing_is_timed_for_is_refused(tmp_path: Path, targets: str, said: str) -> None:
    """A target whose operation the grader does not time is the curriculum's mistake, wherever the check runs."""
    curriculum = several.made(tmp_path, targets)
    exercise = curriculum.exercise("ex_01")
    with pytest.raises(GraderFaultError, match="share_of_copy target") as caught:
        check(exercise, curriculum, curriculum.reference_path(exercise), device="cpu")
    assert said in caught.value.message


def on_card(
    curriculum: Curriculum, monkeypatch: pytest.MonkeyPatch, measured: Measured | Exception, log: list[str]
) -> session_module._Session:
    """What a session knows after its part on the card, where measuring came to this."""

    def scripted(bench: Bench, cases: tuple[Case, ...], replay: None) -> Measured:
        log.append("timed")
        if isinstance(measured, Exception):
            raise measured
        return measured

    exercise = curriculum.exercise("ex_01")
    asking = Asking(exercise, curriculum, Path("x.py"))
    session = session_module._Session(exercise, curriculum, Path("x.py"), "auto", asking, lambda _: None)
    monkeypatch.setattr(session, "_grade_on", lambda *_: log.append("judged"))
    monkeypatch.setattr(speed_tier, "timed_cases", lambda *_: ((ADD, TOTAL), "no room for scan"))
    for how in ("using", "timing"):
        monkeypatch.setattr(lease, how, functools.partial(logged, log, how))
    monkeypatch.setattr(speed_tier, "card_uuids", lambda: ("a card",))
    monkeypatch.setattr(machine, "card_uuids", lambda: ("a card",))
    monkeypatch.setattr(speed_tier, "measure", scripted)
    identity = SimpleNamespace(wait_until_ready=lambda: None)
    session._grade_on_card(SimpleNamespace(pid=0), identity, OneByteEach(), (ADD, TOTAL))  # type: ignore[arg-type]
    return session


def test_session_keeps_all_that_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Timings and results of every case reach the verdict, and why one was not timed."""
    results = tuple(CaseResult(case, "cuda", Outcome.PASSED) for case in (ADD, TOTAL))
    timings = tuple(Timing(case, "card", 1.0, 1.0, 1.0, 20, ()) for case in (ADD, TOTAL))
    session = on_card(several.made(tmp_path), monkeypatch, Measured(results, timings), [])
    assert (tuple(session.results), session.timings) == (results, timings)
    assert (session.why_no_speed, session.why_inconclusive) == ("no room for scan", "")


def test_session_keeps_why_the_card_was_unstable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A card that others keep busy leaves no timing, and a reason."""
    session = on_card(several.made(tmp_path), monkeypatch, UnstableCardError("add: busy"), [])
    assert (session.results, session.timings, session.why_inconclusive) == ([], (), "add: busy")


def test_card_is_shared_to_judge_and_had_alone_to_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One lease after the other, each given back."""
    log: list[str] = []
    on_card(several.made(tmp_path), monkeypatch, Measured(()), log)
    assert log == ["using a card", "judged", "using over", "timing a card", "timed", "timing over"]


@contextlib.contextmanager
def logged(log: list[str], how: str, uuids: tuple[str, ...], _tell: object) -> Iterator[None]:
    """In a lease's place."""
    log.append(f"{how} {', '.join(uuids)}")
    yield
    log.append(f"{how} over")


# On a card


def graded(curriculum: Curriculum, folder: Path, text: str) -> Any:
    path = folder / "solution.py"
    path.write_text(text)
    return check(curriculum.exercise("ex_01"), curriculum, path, device="cuda")


@pytest.mark.gpu
def test_two_operations_on_a_card(tmp_path: Path) -> None:
    """Both operations are timed and audited, each with its own figures."""
    report = graded(several.made(tmp_path), tmp_path, several.SOLUTION)
    assert report.outcome is Outcome.PASSED, report.message or report.first_failure
    assert [timing.case.op for timing in report.timings] == ["add", "double"]
    assert all(timing.audited and len(timing.figures) == 1 for timing in report.timings)


@pytest.mark.gpu
def test_slow_first_operation_on_a_card(tmp_path: Path) -> None:
    """A first operation that is too slow fails the check, and the second is timed all the same."""
    report = graded(several.made(tmp_path), tmp_path, several.SLOW_ADD)
    assert report.outcome is Outcome.TOO_SLOW, report.message or report.first_failure
    assert report.message.startswith("add n=")
    assert [timing.outcome for timing in report.timings] == [Outcome.TOO_SLOW, Outcome.PASSED]


@pytest.mark.gpu
def test_library_in_the_first_operation_on_a_card(tmp_path: Path) -> None:
    """A library's kernel in the first operation ends the timing."""
    report = graded(several.made(tmp_path), tmp_path, several.LIBRARY_ADD)
    assert report.outcome is Outcome.BANNED_CALL
    assert report.first_failure is not None
    assert report.first_failure.case.op == "add"
    assert report.timings == ()
