"""The pieces of the audit that need no card, and, on one, that a forged clock gains nothing."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from gpuprep.curriculum import Curriculum
from gpuprep.device_memory import ALIGNMENT, PAGE_BYTES, DeviceBuffer, Place, lay_out
from gpuprep.grader import Draw
from gpuprep.grading import audit
from gpuprep.grading.audit import BareDraw, laid_out
from gpuprep.grading.card import open_card
from gpuprep.grading.session import check
from gpuprep.model import Outcome
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
    """A side, an event and a slot buffer that write down what is done with them."""

    gate = 8

    def __init__(self) -> None:
        self.said: list[Any] = []
        self.slots = self

    def record(self) -> None:
        self.said.append("clock")

    def signal(self, offset_bytes: int, number: int) -> None:
        self.said.append((offset_bytes, number))


def test_round_begins_once() -> None:
    """First the clock, then the inputs, then the gate; and not again."""
    log, source, target = Log(), torch.ones(3), torch.zeros(3)
    go = audit._Go(log, [(source, target)], log, 5)  # type: ignore[arg-type]
    with go.at_the_latest(60):
        assert log.said == []
    go()
    go()
    assert log.said == ["clock", (8, 5)]
    assert torch.equal(source, target)


def test_round_begins_when_patience_ends() -> None:
    """Calls that need to see a value are not all queued before it has begun."""
    log = Log()
    go = audit._Go(log, [], log, 5)  # type: ignore[arg-type]
    with go.at_the_latest(0.01):
        deadline = time.monotonic() + 10
        while len(log.said) < 2 and time.monotonic() < deadline:
            time.sleep(0.001)
    go()
    assert log.said == ["clock", (8, 5)]


@pytest.mark.parametrize(("is_done", "limit_s"), [(True, 60.0), (False, 0.01)])
def test_round_that_never_ends_is_given_up(is_done: bool, limit_s: float) -> None:
    """An event that never comes is not waited for without end."""
    assert audit._is_over(SimpleNamespace(query=lambda: is_done), limit_s) is is_done


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


NEVER_DONE = """

def _queue_only(rounds, inputs, calls, number):
    signal, rounds._slots.signal = rounds._slots.signal, lambda *_: None
    {death}
    _queue(rounds, inputs, calls, number)
    rounds._slots.signal = signal


if torch.cuda.is_available():
    from gpuprep.worker import stopwatch

    _queue, stopwatch.Rounds.queue = stopwatch.Rounds.queue, _queue_only
"""


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("death", "outcome"), [("", Outcome.INVALID), ("import os; os._exit(3)", Outcome.CRASHED)], ids=["silent", "dead"]
)
def test_round_that_nobody_ends(curriculum: Curriculum, tmp_path: Path, death: str, outcome: Outcome) -> None:
    """A worker that never says that a round is over, or is no more, keeps no check waiting."""
    exercise = curriculum.exercise("ex_02")
    path = tmp_path / "ex_02_reduction.py"
    path.write_text(curriculum.reference_path(exercise).read_text() + NEVER_DONE.format(death=death))
    report = check(exercise, curriculum, path, device="cuda")
    assert report.outcome is outcome, report.message or report.first_failure
