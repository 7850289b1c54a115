"""Times the learner's function by the grader's own clock, and judges every output that was timed.

A round: the worker queues R calls on the card, behind a gate, each with a copy of its result into a slot that we own
and have poisoned. Then the clock starts. The grader writes the inputs, which nobody could see before, where the
calls expect them, and opens the gate; the clock stops when it has its own copy of all R results. An identity worker,
which only copies, does the same while the learner's is held still. So

    net = (T_learner(R) − T_identity(R)) / R

is what the function takes on the card, whatever clock its process reports: the host was done before. Memory that the
learner's process sees is written in its own turns only, or it could wait for the identity's to slow that down.
"""

from __future__ import annotations

import contextlib
import gc
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
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
PATIENCE_S = 0.05
"""How long a round waits for its calls to be queued. Host code that needs to see a value is not done before it has."""

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

    Raises:
        DeviceMemoryError: the card's memory can't be shared, or no stream can wait for it.
    """

    def __init__(self, grader: Grader, case: Case, seed: int, claim_ms: float) -> None:
        import torch

        self._grader, self._case, self._seed = grader, case, seed
        self._drawn = self._number = 0
        args = self._draw()
        # Contiguous, as an output is: an oracle may be a view, whose strides would slow the copies into the slots.
        outputs = [want.value.to(getattr(torch, want.dtype)).contiguous() for want in grader.oracle(case, *args)]
        _, call_bytes = lay_out([arg for arg in args if isinstance(arg, torch.Tensor)])
        _, output_bytes = lay_out(outputs)
        # Inputs as drawn, laid out, the learner's and the identity's; both slots and our copy; the oracle's float64.
        free_bytes = torch.cuda.mem_get_info()[0] * MEMORY_SHARE - 8 * output_bytes * 4
        fitting = int(free_bytes // (4 * call_bytes + 3 * output_bytes + 1))
        self.calls_per_round = max(1, min(fitting, math.ceil(ROUND_MS / max(claim_ms, 1e-3))))
        self._places: list[list[Place]] = []
        end = 0
        for _ in range(self.calls_per_round):
            places, end = lay_out(outputs, end)
            self._places.append(places)
        self._flag = end
        self._learner = _Side(end, self.calls_per_round * call_bytes, is_shared=True)
        self._identity = _Side(end, self.calls_per_round * call_bytes, is_shared=False)
        self._copy = torch.empty(end, dtype=torch.uint8, device="cuda")

    def run(self, learner: Ask, identity: Ask, alone: Callable[[], AbstractContextManager[None]]) -> Audited:
        """Rounds of both workers in turn, on the same inputs, so that both meet the same clocks.

        Args:
            learner: asks the learner's worker; raises what ends the check.
            identity: asks the identity worker.
            alone: holds the learner's process still while the identity has its turn.
        """
        learner(self._opening(self._learner))
        identity(self._opening(self._identity))
        differences = []
        for number in range(N_ROUNDS + 1):
            sets = [self._draw() for _ in range(self.calls_per_round)]
            inputs, calls = staged(sets)
            with alone():
                identity_ms = self._timed_ms(identity, self._identity, inputs, calls)
            # All bits set: NaN in every float format, so a slot that was not written shows.
            self._learner.slots.bytes()[: self._flag].fill_(255)
            learner_ms = self._timed_ms(learner, self._learner, inputs, calls)
            if wrong := self._judge(sets):
                return Audited(0.0, 0.0, 0.0, self.calls_per_round, number, wrong)
            # The first round of each warms up.
            if number:
                differences.append((learner_ms - identity_ms) / self.calls_per_round)
        low, median, high = median_interval(differences)
        return Audited(median, low, high, self.calls_per_round, N_ROUNDS)

    def close(self) -> None:
        """Give the memory back."""
        self._learner.close()
        self._identity.close()

    def _draw(self) -> tuple[Any, ...]:
        self._drawn += 1
        draw = BareDraw(case_seed(self._seed + 1000 + self._drawn, self._case), "cuda")
        return self._grader.inputs(self._case, draw)

    def _opening(self, side: _Side) -> dict[str, Any]:
        return {
            "do": "audit",
            "slots": side.slots.handle().hex(),
            "bytes": side.slots.n_bytes,
            "places": [[asdict(place) for place in call] for call in self._places],
            "flag": self._flag,
        }

    def _timed_ms(self, ask: Ask, side: _Side, inputs: torch.Tensor, calls: list[list[Any]]) -> float:
        import torch

        self._number += 1
        queued = {"do": "queue", "inputs": side.shared(inputs.numel()), "calls": calls, "number": self._number}
        torch.cuda.synchronize()
        gc.collect(0)
        gc.disable()
        go = _Go(side, inputs, self._flag, self._number)
        try:
            try:
                with go.at_the_latest(PATIENCE_S):
                    ask(queued)
            finally:
                # Whatever became of the calls: what waits at the gate must end.
                started = go()
            ask({"do": "finish"})
            self._copy.copy_(side.slots.bytes()[: self._flag])
            torch.cuda.synchronize()
            return (time.perf_counter() - started) * 1e3
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


class _Side:
    """The memory of one of the two workers: slots for its outputs, with its gate behind them, and a round's inputs.

    Args:
        n_slot_bytes: of the slots.
        n_input_bytes: of a round's inputs.
        is_shared: the worker sees the inputs; the identity has no use for them, they are only written.
    """

    def __init__(self, n_slot_bytes: int, n_input_bytes: int, *, is_shared: bool) -> None:
        self._is_shared = is_shared
        self.slots = DeviceBuffer(n_slot_bytes + _GATE_BYTES)
        self.slots.bytes()[n_slot_bytes:].zero_()
        # A driver that can't do this says so now.
        self.slots.signal(n_slot_bytes, 0)
        self.slots.wait_for(n_slot_bytes, 0)
        self.inputs = DeviceBuffer(n_input_bytes)

    def shared(self, n_bytes: int) -> dict[str, Any] | None:
        """What a worker opens a round's inputs with; None where it does not see them."""
        if n_bytes > self.inputs.n_bytes:
            self.inputs.close()
            self.inputs = DeviceBuffer(n_bytes)
        return {"handle": self.inputs.handle().hex(), "bytes": self.inputs.n_bytes} if self._is_shared else None

    def close(self) -> None:
        self.slots.close()
        self.inputs.close()


_GATE_BYTES = 512


class _Go:
    """Starts the clock of a round, and then the round, once: when it is called, or when patience ends.

    Args:
        side: whose round it is.
        inputs: uint8, laid out as the calls expect them.
        flag: where in its slots the gate is.
        number: of the round: what opens the gate.
    """

    def __init__(self, side: _Side, inputs: torch.Tensor, flag: int, number: int) -> None:
        self._side, self._inputs, self._flag, self._number = side, inputs, flag, number
        self._lock = threading.Lock()
        self._started: float | None = None

    def __call__(self) -> float:
        """Seconds on the clock when it began."""
        with self._lock:
            if self._started is None:
                self._started = time.perf_counter()
                self._side.inputs.bytes()[: self._inputs.numel()].copy_(self._inputs)
                self._side.slots.signal(self._flag, self._number)
            return self._started

    @contextlib.contextmanager
    def at_the_latest(self, patience_s: float) -> Iterator[None]:
        """Goes by itself, if the block is not left in time."""
        timer = threading.Timer(patience_s, self)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()


class BareDraw(Draw):
    """Leaves out the guard bands: what it makes is copied into an allocation of its own."""

    def place(self, values: torch.Tensor, layout: str = "contiguous") -> torch.Tensor:
        """As `Draw` does, but a contiguous tensor stays where it is."""
        return values if layout == "contiguous" else super().place(values, layout)


def staged(sets: Sequence[Sequence[Any]]) -> tuple[torch.Tensor, list[list[Any]]]:
    """Sets of arguments one after the other in memory of our own, uint8, and the calls as a worker is told of them."""
    import torch

    tensors = [arg for args in sets for arg in args if isinstance(arg, torch.Tensor)]
    places, n_bytes = lay_out(tensors)
    memory = torch.empty(n_bytes, dtype=torch.uint8, device="cuda")
    for tensor, place in zip(tensors, places, strict=True):
        _view(memory, place).copy_(tensor)
    remaining = iter(places)
    calls = [[asdict(next(remaining)) if isinstance(arg, torch.Tensor) else arg for arg in args] for args in sets]
    return memory, calls


class buffered:  # noqa: N801  used like a function, as contextlib's own are
    """Sets of arguments in one allocation of their own, for as long as the block lasts: (buffer, calls as JSON)."""

    def __init__(self, sets: Sequence[Sequence[Any]]) -> None:
        import torch

        inputs, self._calls = staged(sets)
        self._buffer = DeviceBuffer(inputs.numel())
        self._buffer.bytes()[: inputs.numel()].copy_(inputs)
        torch.cuda.synchronize()

    def __enter__(self) -> tuple[DeviceBuffer, list[list[Any]]]:
        return self._buffer, self._calls

    def __exit__(self, *_: object) -> None:
        self._buffer.close()


def _view(data: torch.Tensor, place: Place) -> torch.Tensor:
    import torch

    dtype = getattr(torch, place.dtype)
    return data.view(dtype).as_strided(place.shape, place.strides, place.offset_bytes // dtype.itemsize)
