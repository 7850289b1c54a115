"""Times the learner's function by the grader's own clock, and judges every output that was timed.

A round: R calls' inputs in a fresh allocation whose handle is the starting signal, so that nothing can be computed
early; the worker copies each result into a slot that the grader owns and has poisoned; the clock stops when the grader
has its own copy of all R. An identity worker, which only copies, does the same while the learner's is held still. So

    net = (T_learner(R) − T_identity(R)) / R

is what the function takes, whatever clock its process reports.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from gpuprep.device_memory import DeviceBuffer, Place, lay_out
from gpuprep.grader import Draw, Grader
from gpuprep.grading.judge import is_within, judge
from gpuprep.grading.loading import case_seed
from gpuprep.model import Case
from gpuprep.worker.timing import median_interval

if TYPE_CHECKING:
    import torch

N_ROUNDS = 12
ROUND_MS = 3.0
"""A round holds at least this much of the learner's GPU work, so that the host's jitter is small beside it."""
MEMORY_SHARE = 0.5
"""Of the card's free memory: what a round's inputs, slots and copies may take."""

Ask = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class Audited:
    """What the rounds found."""

    net_ms: float
    low_ms: float
    high_ms: float
    calls_per_round: int
    n_rounds: int
    wrong: str = ""
    """What was wrong with an output that was timed, or empty."""


class Auditor:
    """Audits one timed case.

    Args:
        grader: makes inputs and judges outputs.
        case: the timed case.
        seed: the check's; every round draws from it anew.
        claim_ms: a call's time as the worker tells it; decides how many calls make a round.
    """

    def __init__(self, grader: Grader, case: Case, seed: int, claim_ms: float) -> None:
        import torch

        self._grader, self._case, self._seed = grader, case, seed
        self._drawn = 0
        args = self._draw()
        # Contiguous, as an output is: an oracle may be a view, whose strides would slow the copies into the slots.
        outputs = [want.value.to(getattr(torch, want.dtype)).contiguous() for want in grader.oracle(case, *args)]
        _, call_bytes = lay_out([arg for arg in args if isinstance(arg, torch.Tensor)])
        _, output_bytes = lay_out(outputs)
        # Inputs, slots, our copy of them, and the oracle's float64 beside its temporaries.
        free_bytes = torch.cuda.mem_get_info()[0] * MEMORY_SHARE - 8 * output_bytes * 4
        fitting = int(free_bytes // (call_bytes + 2 * output_bytes + 1))
        self.calls_per_round = max(1, min(fitting, math.ceil(ROUND_MS / max(claim_ms, 1e-3))))
        self._places: list[list[Place]] = []
        end = 0
        for _ in range(self.calls_per_round):
            places, end = lay_out(outputs, end)
            self._places.append(places)
        self._slots = DeviceBuffer(end)
        self._copy = torch.empty(self._slots.n_bytes, dtype=torch.uint8, device="cuda")

    def run(self, learner: Ask, identity: Ask, alone: Callable[[], AbstractContextManager[None]]) -> Audited:
        """Rounds of both workers in turn, on the same inputs, so that both meet the same clocks.

        Args:
            learner: asks the learner's worker; raises what ends the check.
            identity: asks the identity worker.
            alone: holds the learner's process still while the identity has its turn.
        """
        learner(self._opening())
        identity(self._opening())
        differences = []
        for number in range(N_ROUNDS + 1):
            sets = [self._draw() for _ in range(self.calls_per_round)]
            with buffered(sets) as (buffer, calls):
                go = {"do": "round", "handle": buffer.handle().hex(), "bytes": buffer.n_bytes, "calls": calls}
                with alone():
                    identity_ms = self._timed_ms(identity, go)
                # All bits set: NaN in every float format, so a slot that was not written shows.
                self._slots.bytes().fill_(255)
                learner_ms = self._timed_ms(learner, go)
            if wrong := self._judge(sets):
                return Audited(0.0, 0.0, 0.0, self.calls_per_round, number, wrong)
            # The first round of each warms up.
            if number:
                differences.append((learner_ms - identity_ms) / self.calls_per_round)
        low, median, high = median_interval(differences)
        return Audited(median, low, high, self.calls_per_round, N_ROUNDS)

    def close(self) -> None:
        """Give the slots back."""
        self._slots.close()

    def _draw(self) -> tuple[Any, ...]:
        self._drawn += 1
        draw = BareDraw(case_seed(self._seed + 1000 + self._drawn, self._case), "cuda")
        return self._grader.inputs(self._case, draw)

    def _opening(self) -> dict[str, Any]:
        return {
            "do": "audit",
            "slots": self._slots.handle().hex(),
            "bytes": self._slots.n_bytes,
            "places": [[asdict(place) for place in call] for call in self._places],
        }

    def _timed_ms(self, ask: Ask, go: dict[str, Any]) -> float:
        import torch

        torch.cuda.synchronize()
        gc.collect(0)
        gc.disable()
        try:
            start = time.perf_counter()
            ask(go)
            self._copy.copy_(self._slots.bytes())
            torch.cuda.synchronize()
            return (time.perf_counter() - start) * 1e3
        finally:
            gc.enable()

    def _judge(self, sets: Sequence[tuple[Any, ...]]) -> str:
        model = self._grader.error_model(self._case)
        for number, (args, places) in enumerate(zip(sets, self._places, strict=True)):
            for want, place in zip(self._grader.oracle(self._case, *args), places, strict=True):
                got = _view(self._copy, place)
                if is_within(want, got, model):
                    continue
                found = judge(want, got, model)
                if not found.is_right:
                    return (
                        f"call {number + 1} of a timed round returned {found.n_wrong} wrong elements of "
                        f"{found.wrong.numel()}: what is timed must be computed, every time"
                    )
        return ""


class BareDraw(Draw):
    """Leaves out the guard bands: what it makes is copied into an allocation of its own."""

    def place(self, values: torch.Tensor, layout: str = "contiguous") -> torch.Tensor:
        """As `Draw` does, but a contiguous tensor stays where it is."""
        return values if layout == "contiguous" else super().place(values, layout)


class buffered:  # noqa: N801  used like a function, as contextlib's own are
    """Sets of arguments in one allocation of their own, for as long as the block lasts: (buffer, calls as JSON)."""

    def __init__(self, sets: Sequence[Sequence[Any]]) -> None:
        import torch

        tensors = [arg for args in sets for arg in args if isinstance(arg, torch.Tensor)]
        places, n_bytes = lay_out(tensors)
        self._buffer = DeviceBuffer(n_bytes)
        for tensor, place in zip(tensors, places, strict=True):
            self._buffer.tensor(place).copy_(tensor)
        torch.cuda.synchronize()
        remaining = iter(places)
        self._calls = [
            [asdict(next(remaining)) if isinstance(arg, torch.Tensor) else arg for arg in args] for args in sets
        ]

    def __enter__(self) -> tuple[DeviceBuffer, list[list[Any]]]:
        return self._buffer, self._calls

    def __exit__(self, *_: object) -> None:
        self._buffer.close()


def _view(data: torch.Tensor, place: Place) -> torch.Tensor:
    import torch

    dtype = getattr(torch, place.dtype)
    return data.view(dtype).as_strided(place.shape, place.strides, place.offset_bytes // dtype.itemsize)
