"""What is made of a timed call whose launches were launched again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from gpuprep.curriculum import Curriculum
from gpuprep.grading import replay as replay_module
from gpuprep.grading.answers import Asked
from gpuprep.grading.asking import StopGradingError
from gpuprep.grading.loading import load_grader
from gpuprep.grading.replay import Replay, Replayed
from gpuprep.grading.session import check
from gpuprep.model import Case, CaseResult, Outcome, Tier

CASE = Case({"n": 33, "dtype": "float32"}, Tier.SPEED, ("cuda",))
Times = tuple[float, float, float]
FOLLOWING = {"status": "following"}


@dataclass
class Bench:
    """A bench as far as a replay changes it."""

    learner: Any = None
    seed: int = 7
    is_strict: bool = True


@dataclass
class Scripted:
    """A `SpeedTest`, scripted."""

    asked: Asked
    claimed: Times = (0.99, 1.0, 1.01)
    told: dict[str, Any] | None = None
    draws: Any = field(default_factory=lambda: (torch.zeros(3), 5))
    answer: dict[str, Any] = field(default_factory=lambda: dict(FOLLOWING))
    fault: CaseResult | Exception | None = None
    times: list[Times] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)

    def draw(self, _number: int) -> Any:
        return self.draws

    def ask(self, _worker: Any, request: dict[str, Any]) -> dict[str, Any]:
        self.requests.append(request)
        return self.answer

    def claim(self) -> CaseResult | None:
        if isinstance(self.fault, Exception):
            raise self.fault
        return self.fault

    def time_again(self) -> None:
        self.claimed = self.times.pop(0)

    def put_away(self) -> None:
        self.requests.append({"do": "put_away"})


@pytest.fixture
def asked(curriculum: Curriculum) -> Asked:
    return Asked(load_grader(curriculum, curriculum.exercise("ex_01")), CASE, "cuda", (), "solution.py")


Look = Callable[..., tuple[Replayed, Scripted]]


@pytest.fixture
def look(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> Look:
    """Looks at a claim of 1 ms, with what the second test is to do; returns what came of it, and that test."""

    def looked(why_not: str = "", host_ops: tuple[str, ...] = (), **script: Any) -> tuple[Replayed, Scripted]:
        again = Scripted(asked, **script)
        benches: list[Bench] = []

        def made(bench: Bench, _case: Case) -> Scripted:
            benches.append(bench)
            return again

        monkeypatch.setattr(replay_module, "SpeedTest", made)
        told = {"recipe": {"why_not": why_not}, "host_ops": [{"name": name} for name in host_ops]}
        worker = SimpleNamespace(pid=1)
        found = Replay(worker, "/cache").look(Bench(), Scripted(asked, told=told))  # type: ignore[arg-type]
        for bench in benches:
            assert bench.learner is worker
            assert bench.seed > 1_000_000
            assert not bench.is_strict
        return found, again

    return looked


def failed(outcome: Outcome, message: str = "it failed") -> CaseResult:
    return CaseResult(CASE, "cuda", outcome, message)


def test_time_of_a_replay_is_told(look: Look) -> None:
    """Launches that take what was claimed; what they are compiled to lies in a folder of this check's."""
    replayed, again = look()
    assert replayed == Replayed(1.0)
    assert [request["do"] for request in again.requests] == ["follow", "put_away"]
    assert again.requests[0]["cache"] == "/cache"


def test_nothing_was_told(asked: Asked) -> None:
    """Where torch's own operations may do the work, there is nothing to replay."""
    assert Replay(None, "").look(None, Scripted(asked)) == Replayed()  # type: ignore[arg-type]


def test_slower_launches_are_timed_again(look: Look) -> None:
    """The card may have been disturbed: the earlier time counts."""
    replayed, again = look(claimed=(1.19, 1.2, 1.21), times=[(1.0, 1.01, 1.02)])
    assert replayed == Replayed(1.01)
    assert again.times == []


def test_launches_that_take_longer_than_was_claimed(look: Look) -> None:
    """Something else ran where the time was taken."""
    replayed, _ = look(claimed=(1.19, 1.2, 1.21), times=[(1.19, 1.2, 1.21)])
    assert replayed.ms is None
    assert replayed.fault is not None
    assert replayed.fault.outcome is Outcome.INVALID
    assert "1.0000 ms a call, but its launches, done again from their source, take 1.2000 ms" in replayed.fault.message


def test_launches_that_take_a_little_longer_count(look: Look) -> None:
    """Within what moments differ by, nothing contradicts; the grade follows the slower of the two."""
    replayed, _ = look(claimed=(1.1, 1.12, 1.13), times=[(1.1, 1.12, 1.13)])
    assert replayed == Replayed(1.12)


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ({"why_not": "a CUDA graph"}, "a CUDA graph"),
        ({"answer": {"status": "unfollowed", "message": "libdevice"}}, "libdevice"),
        ({"fault": failed(Outcome.RAISED, "RuntimeError: no")}, "from its source alone, RuntimeError: no"),
        ({"fault": failed(Outcome.INVALID, "our clocks differ")}, "from its source alone, our clocks differ"),
        ({"fault": failed(Outcome.TIMED_OUT, "the first calls took 9 s")}, "from its source alone, the first calls"),
        ({"fault": StopGradingError(Outcome.CRASHED, "the process ended")}, "the process ended"),
        ({"draws": (torch.zeros(3), 6)}, "its inputs have another layout, or other numbers"),
        ({"draws": (torch.zeros(4), 5)}, "its inputs have another layout, or other numbers"),
        ({"fault": failed(Outcome.WRONG_VALUES), "host_ops": ("aten.max.default",)}, "host code uses aten.max.default"),
    ],
)
def test_what_can_not_be_replayed_is_no_fault(look: Look, script: dict[str, Any], why: str) -> None:
    """It is said, and no time counts: a file that claims it gains nothing, and an honest one is not accused."""
    replayed, _ = look(**script)
    assert (replayed.ms, replayed.fault) == (None, None)
    assert replayed.why_not.startswith(why)


@pytest.mark.parametrize(
    ("script", "outcome", "said"),
    [
        ({"answer": {"status": "forbidden", "message": "an import in a kernel"}}, Outcome.BANNED_CALL, "an import"),
        ({"fault": failed(Outcome.WRONG_VALUES)}, Outcome.BANNED_CALL, "something else computed what was timed"),
        ({"fault": failed(Outcome.BANNED_CALL, "cuBLAS")}, Outcome.BANNED_CALL, "done again from their source: cuBLAS"),
    ],
)
def test_what_a_replay_shows(look: Look, script: dict[str, Any], outcome: Outcome, said: str) -> None:
    """Launches that are none, don't compute the function, or leave it to a library."""
    replayed, _ = look(**script)
    assert replayed.fault is not None
    assert replayed.fault.outcome is outcome
    assert said in replayed.fault.message


def test_recipe_that_is_none(look: Look) -> None:
    """No honest worker sends it: whoever made sense of the answer says so."""
    with pytest.raises(ValueError, match="a broken recipe: KeyError"):
        look(answer={"status": "broken", "message": "KeyError: 'steps'"})


# On a card


SLOWER_WHERE_NOBODY_LOOKS = """
import sys

import torch
import triton
import triton.language as tl


@triton.jit
def _add(x_ptr, y_ptr, out_ptr, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + offsets, mask=offsets < n)
    y = tl.load(y_ptr + offsets, mask=offsets < n)
    tl.store(out_ptr + offsets, x + y, mask=offsets < n)


def add(x, y):
    out = torch.empty_like(x)
    frame, block = sys._getframe(), 1024
    while frame is not None:
        # Launched again, it is what it was when it was written down.
        block = {block} if frame.f_code.co_name == "retold" else block
        frame = frame.f_back
    _add[(triton.cdiv(x.numel(), block),)](x, y, out, x.numel(), BLOCK=block, num_warps=1)
    return out
"""


@pytest.mark.gpu
@pytest.mark.parametrize("exercise_id", ["ex_01", "ex_16"])
def test_reference_is_replayed(curriculum: Curriculum, exercise_id: str) -> None:
    """Triton and CUDA C: the launches alone take what the function takes."""
    exercise = curriculum.exercise(exercise_id)
    report = check(exercise, curriculum, curriculum.reference_path(exercise), witnessed=True)
    assert report.outcome is Outcome.PASSED, report.message or report.first_failure
    assert report.timings
    for timing in report.timings:
        assert timing.replayed_ms == pytest.approx(timing.claimed_ms, rel=0.05)


@pytest.mark.gpu
@pytest.mark.parametrize(("block", "outcome"), [(1024, Outcome.PASSED), (32, Outcome.INVALID)])
def test_launches_of_another_size_on_a_card(
    curriculum: Curriculum, tmp_path: Path, block: int, outcome: Outcome
) -> None:
    """What is written down must be what was timed."""
    path = tmp_path / "ex_01.py"
    path.write_text(SLOWER_WHERE_NOBODY_LOOKS.replace("{block}", str(block)))
    report = check(curriculum.exercise("ex_01"), curriculum, path, witnessed=True)
    assert report.outcome is outcome, report.message or report.first_failure


@pytest.mark.gpu
def test_torch_has_nothing_to_replay(curriculum: Curriculum) -> None:
    """Its speed is graded as before, and nobody says that it was replayed."""
    exercise = next(exercise for exercise in curriculum.exercises if exercise.id == "ex_09")
    report = check(exercise, curriculum, curriculum.reference_path(exercise), witnessed=True)
    assert report.timings
    assert [timing.replayed_ms for timing in report.timings] == [None] * len(report.timings)


def test_speed_that_was_replayed_is_witnessed(asked: Asked) -> None:
    """The record keeps what the launches took."""
    from gpuprep.practice.recorded import _timing

    content = {"case": {"params": dict(CASE.params), "tier": "speed", "devices": ["cuda"]}, "device": "card"}
    numbers = {"median_ms": 1.0, "low_ms": 0.9, "high_ms": 1.1, "n_samples": 20, "replayed_ms": 1.05}
    timing = _timing({**content, **numbers})
    assert timing is not None
    assert timing.replayed_ms == 1.05
    assert replace(timing, replayed_ms=None).audited is False
