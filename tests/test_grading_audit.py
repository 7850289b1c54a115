"""The pieces of the audit that need no card, and, on one, that a forged clock gains nothing."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from waiting import soon

from gpuprep.curriculum import Curriculum
from gpuprep.device_memory import ALIGNMENT, PAGE_BYTES, DeviceBuffer, Place, lay_out
from gpuprep.grader import Draw
from gpuprep.grading import audit
from gpuprep.grading.audit import BareDraw, laid_out
from gpuprep.grading.card import open_card
from gpuprep.grading.loading import load_grader
from gpuprep.grading.session import check
from gpuprep.grading.speed import AuditRefusedError
from gpuprep.model import Case, CaseResult, Outcome, Tier
from gpuprep.worker import stopwatch
from gpuprep.worker.stopwatch import Rounds
from gpuprep.worker.timing import is_steady, median_interval

FORGED = """
import torch

torch.cuda.Event.elapsed_time = lambda start, end: {milliseconds}
"""


def test_places_keep_strides_and_don_t_overlap() -> None:
    """Tensors are laid out one after the other, each aligned, with the strides that they have."""
    first, second = torch.zeros(3, 5), torch.zeros(8, 2).t()
    places, n_bytes = lay_out([first, second, torch.zeros(())])
    assert [place.offset_bytes for place in places] == [0, ALIGNMENT, 2 * ALIGNMENT]
    assert places[1] == Place("float32", (2, 8), (1, 2), ALIGNMENT)
    assert n_bytes == 3 * ALIGNMENT


def test_place_survives_json() -> None:
    """A place is the same on the other side."""
    place = Place("float16", (2, 3), (3, 1), 512)
    assert Place.from_json({"dtype": "float16", "shape": [2, 3], "strides": [3, 1], "offset_bytes": 512}) == place


def test_empty_tensor_takes_no_room() -> None:
    """A tensor without elements has a place of no size."""
    places, n_bytes = lay_out([torch.zeros(0, 4)])
    assert (places[0].shape, n_bytes) == ((0, 4), 0)


def test_median_interval_holds_the_median() -> None:
    """The interval comes from order statistics and encloses the median."""
    low, median, high = median_interval([float(value) for value in range(1, 101)])
    assert low < median < high
    assert median == 51.0


def test_steady_samples_are_told_from_scattered_ones() -> None:
    """Sampling stops when the interval is narrow, not before."""
    assert is_steady([1.0] * 30)
    assert not is_steady([1.0, 1.2] * 15)


@pytest.mark.parametrize("layout", ["contiguous", "offset", "padded"])
def test_audited_inputs_are_drawn_like_all_others(layout: str) -> None:
    """The same values in the same layout; only the guard bands, which nobody would look at, are left out."""
    drawn, bare = (kind(7).tensor(5, 9, dtype="float16", layout=layout) for kind in (Draw, BareDraw))
    assert torch.equal(drawn, bare)
    assert drawn.stride() == bare.stride()
    assert layout != "contiguous" or bare.untyped_storage().nbytes() == 5 * 9 * 2


def test_calls_are_told_where_their_tensors_lie() -> None:
    """Tensors of all calls one after the other; what is none is told as it is."""
    x, y = torch.zeros(3), torch.ones(2, 5, dtype=torch.float16)
    tensors, places, n_bytes, calls = laid_out([(x, 7, y), (y, None, x)])
    assert [id(tensor) for tensor in tensors] == [id(x), id(y), id(y), id(x)]
    assert n_bytes == 4 * ALIGNMENT
    assert [[arg["offset_bytes"] if isinstance(arg, dict) else arg for arg in call] for call in calls] == [
        [0, 7, ALIGNMENT],
        [2 * ALIGNMENT, None, 3 * ALIGNMENT],
    ]
    assert Place.from_json(calls[0][2]) == places[1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.int8, torch.bool, torch.int64])
def test_copies_by_kernel_keep_every_bit(dtype: torch.dtype) -> None:
    """NaN and strides included."""
    source = torch.tensor([[0.0, -0.0, float("nan"), 3.0]] * 3).to(dtype)[:, ::2]
    target = torch.empty(5, 3, dtype=dtype)[1:4, :2]
    audit._copy_by_kernel(source, target)
    assert torch.equal(source.contiguous().view(torch.uint8), target.contiguous().view(torch.uint8))


class Log:
    """A side and a slot buffer that write down when the gate is opened."""

    gate = 8

    def __init__(self) -> None:
        self.said: list[Any] = []
        self.slots = self

    def signal(self, offset_bytes: int, number: int) -> None:
        self.said.append((offset_bytes, number))


def test_round_begins_once() -> None:
    """First the clock, then the inputs, then the gate; and not again."""
    log, source, target = Log(), torch.ones(3), torch.zeros(3)
    go = audit._Go([(source, target)], log, 5)  # type: ignore[arg-type]
    before = time.perf_counter()
    with go.at_the_latest(60):
        assert log.said == []
    started = go()
    assert before < started <= time.perf_counter()
    assert go() == started
    assert log.said == [(8, 5)]
    assert torch.equal(source, target)


def test_round_begins_when_patience_ends() -> None:
    """Calls that need to see a value are not all queued before it has begun."""
    log = Log()
    go = audit._Go([], log, 5)  # type: ignore[arg-type]
    with go.at_the_latest(0.01):
        assert soon(lambda: log.said == [(8, 5)])
    go()
    assert log.said == [(8, 5)]


def test_round_that_can_not_begin_keeps_nobody_waiting() -> None:
    """The gate is opened all the same, and whoever asks when it began hears why it did not; also from the timer."""
    log, source = Log(), torch.ones(3)
    go = audit._Go([(source, torch.zeros(3)[:1].expand(3))], log, 5)  # type: ignore[arg-type]
    with go.at_the_latest(0.01):
        assert soon(lambda: log.said == [(8, 5)])
    for _ in range(2):
        with pytest.raises(RuntimeError, match="single memory location"):
            go()
    assert log.said == [(8, 5)]


def test_card_is_opened_once() -> None:
    """By a thread that ends, with a card and without."""
    opening = open_card()
    opening.join(timeout=20)
    assert not opening.is_alive()
    assert open_card() is opening


@pytest.mark.gpu
def test_buffers_come_in_whole_pages() -> None:
    """A shared allocation of another size may be backed by small pages, which are slow."""
    torch.zeros(1, device="cuda")
    buffer = DeviceBuffer(PAGE_BYTES + 1)
    assert buffer.n_bytes == 2 * PAGE_BYTES
    assert len(buffer.handle()) == 64
    buffer.close()


@pytest.mark.gpu
def test_forged_clock_is_contradicted(curriculum: Curriculum, tmp_path: Path) -> None:
    """A worker whose events show half the time is INVALID: the grader's own clock disagrees."""
    exercise = curriculum.exercise("ex_01")
    path = tmp_path / "ex_01_vector_add.py"
    path.write_text(curriculum.reference_path(exercise).read_text() + FORGED.format(milliseconds=0.35))
    report = check(exercise, curriculum, path, device="cuda")
    assert report.outcome is Outcome.INVALID
    assert report.timings == ()


@pytest.mark.gpu
def test_slow_claims_are_believed(curriculum: Curriculum, tmp_path: Path) -> None:
    """Whoever claims to be slower than the wall's clock says is taken at their word."""
    exercise = curriculum.exercise("ex_02")
    path = tmp_path / "ex_02_reduction.py"
    path.write_text(curriculum.reference_path(exercise).read_text() + FORGED.format(milliseconds=1.5))
    report = check(exercise, curriculum, path, device="cuda")
    assert report.outcome in (Outcome.TOO_SLOW, Outcome.INVALID)


# Rounds, without a card


class HostBuffer:
    """A `DeviceBuffer` in the host's memory, by its handle the same for both sides."""

    made: ClassVar[dict[bytes, HostBuffer]] = {}

    def __init__(self, n_bytes: int, *, handle: bytes | None = None) -> None:
        if handle is not None:
            self.__dict__ = self.made[handle].__dict__
            return
        self.n_bytes = n_bytes
        self.memory = torch.zeros(max(512, n_bytes), dtype=torch.uint8)
        self.opened = threading.Condition()
        self.number = 0
        self.made[self.handle()] = self

    def handle(self) -> bytes:
        return id(self.memory).to_bytes(8, "big")

    def bytes(self) -> torch.Tensor:
        return self.memory

    def tensor(self, place: Place) -> torch.Tensor:
        return audit._view(self.memory, place)

    def signal(self, _offset_bytes: int, number: int) -> None:
        with self.opened:
            self.number = number
            self.opened.notify_all()

    def wait_for(self, _offset_bytes: int, number: int) -> None:
        with self.opened:
            assert self.opened.wait_for(lambda: self.number >= number, 20)

    def close(self) -> None:
        """Kept: views of it are looked at afterwards."""


class Card:
    """Runs what is queued on it when it is waited for: as a card does, after the gate was opened."""

    def __init__(self, rounds: Rounds) -> None:
        self._rounds = rounds
        self._queued: list[Any] = []

    def queue(self, request: dict[str, Any]) -> None:
        self._queued.append(request)

    def finish(self) -> None:
        for request in self._queued:
            self._rounds.queue(request["inputs"], request["calls"], request["number"])
        self._queued = []


class OnHost:
    """A worker whose card is the host. One that is `eager` has to see a value before it can go on."""

    def __init__(self, run: Any, *, is_eager: bool = False, does_wait: bool = True) -> None:
        self._run, self._is_eager, self._does_wait = run, is_eager, does_wait
        self.asked: list[str] = []

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(request["do"])
        if request["do"] == "audit":
            places = (request["slots"], request["bytes"], request["places"], request["gate"])
            self._card = Card(Rounds(self._run, *places))
            return {"status": "open"}
        if request["do"] == "queue":
            self._card.queue(request)
            if not self._is_eager:
                return {"status": "queued"}
        if self._does_wait:
            self._card.finish()
        return {"status": "done"}


@pytest.fixture
def auditor(curriculum: Curriculum, monkeypatch: pytest.MonkeyPatch) -> audit.Auditor:
    """An auditor of ex_01 whose card is the host."""
    for module in (audit, stopwatch):
        monkeypatch.setattr(module, "DeviceBuffer", HostBuffer)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (2**30, 2**31))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(audit.BareDraw, "__init__", lambda draw, seed, _device: Draw.__init__(draw, seed))
    monkeypatch.setattr(audit, "ON", "cpu")
    grader = load_grader(curriculum, curriculum.exercise("ex_01"))
    case = Case({"n": 65, "dtype": "float32"}, Tier.SPEED, ("cuda",))
    return audit.Auditor(grader, case, 7, claim_ms=1.0)


@pytest.mark.parametrize("is_eager", [False, True])
def test_rounds_are_gone_through(auditor: audit.Auditor, is_eager: bool) -> None:
    """Right outputs are right, whether host code is done before the round begins or has to see a value of it."""
    learner, identity = OnHost(torch.add, is_eager=is_eager), OnHost(None)
    audited = auditor.run(learner.ask, identity.ask, contextlib.nullcontext)
    assert (audited.wrong, audited.n_rounds, audited.calls_per_round) == ("", audit.N_ROUNDS, 3)
    assert audited.has_waited is is_eager
    n_rounds = audit.N_ROUNDS + 1
    assert learner.asked == ["audit", *(["queue"] if is_eager else ["queue", "finish"]) * n_rounds]
    assert identity.asked == ["audit", *["queue", "finish"] * n_rounds]
    auditor.close()


@pytest.mark.parametrize(
    "learner",
    [OnHost(torch.sub), OnHost(torch.add, does_wait=False), OnHost(torch.add, is_eager=True, does_wait=False)],
    ids=["wrong", "done before it is", "at once"],
)
def test_rounds_are_judged(auditor: audit.Auditor, learner: OnHost) -> None:
    """What is not right when a round is over is wrong."""
    audited = auditor.run(learner.ask, OnHost(None).ask, contextlib.nullcontext)
    assert "wrong elements" in audited.wrong


def test_gate_is_opened_whatever_happens(auditor: audit.Auditor) -> None:
    """A worker that fails while it queues leaves nothing waiting."""

    def ask(request: dict[str, Any]) -> dict[str, Any]:
        if request["do"] == "queue":
            raise AuditRefusedError(CaseResult(Case({"n": 1}), "cuda", Outcome.RAISED, "no"))
        return {"status": "open"}

    with pytest.raises(AuditRefusedError):
        auditor.run(ask, OnHost(None).ask, contextlib.nullcontext)
    assert auditor._learner.slots.number == 1  # type: ignore[attr-defined]


DEAD = """

def _queue_only(rounds, *args):
    _queue(rounds, *args)
    os._exit(3)


if torch.cuda.is_available():
    import os

    from gpuprep.worker import stopwatch

    _queue, stopwatch.Rounds.queue = stopwatch.Rounds.queue, _queue_only
"""


@pytest.mark.gpu
def test_worker_that_dies_in_a_round(curriculum: Curriculum, tmp_path: Path) -> None:
    """It keeps no check waiting."""
    exercise = curriculum.exercise("ex_02")
    path = tmp_path / "ex_02_reduction.py"
    path.write_text(curriculum.reference_path(exercise).read_text() + DEAD)
    assert check(exercise, curriculum, path, device="cuda").outcome is Outcome.CRASHED
