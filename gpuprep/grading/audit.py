"""Times the learner's function by the grader's own clock, and judges every output that was timed.

A round: the worker queues R calls on the card, behind a gate, each with a copy of its result into a slot that we own
and have poisoned. Then the clock starts. We write the inputs, which nobody could see before, where
the calls expect them, and open the gate; the clock stops when we have our own copy of all R results. An identity
worker, which only copies, does the same while the learner's is held still. So

    net = (T_learner(R) − T_identity(R)) / R

is what the function takes on the card, whatever clock its process reports. No time of the host's is in it, unless host
code waits for the card itself. Whoever does not wait at the gate, or says too early that
all is done, gains nothing: kernels of two processes share a card by turns, and what we write and copy is written and
copied by kernels. Memory that the learner's process sees is written in its own turns only, or it could wait for the
identity's to slow that down.
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

from gpuprep.device_memory import DeviceBuffer, DeviceMemoryError, Place, lay_out
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
ON = "cuda"
"""Where the rounds are."""
_GATE_BYTES = 512

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
    has_waited: bool = False
    """True where host code waited for the card: then its own time is in the rounds too, and in no claim."""


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
        # Inputs as drawn, the learner's and the identity's; both slots and our copy; the oracle's float64 beside its
        # temporaries.
        judging_bytes = 4 * 8 * max(output.numel() for output in outputs)
        free_bytes = torch.cuda.mem_get_info()[0] * MEMORY_SHARE - judging_bytes
        fitting = int(free_bytes // (3 * call_bytes + 3 * output_bytes + 1))
        self.calls_per_round = max(1, min(fitting, math.ceil(ROUND_MS / max(claim_ms, 1e-3))))
        self._places: list[list[Place]] = []
        end = 0
        for _ in range(self.calls_per_round):
            places, end = lay_out(outputs, end)
            self._places.append(places)
        n_input_bytes = self.calls_per_round * call_bytes
        with contextlib.ExitStack() as made:
            self._learner = made.enter_context(contextlib.closing(_Side(end, n_input_bytes, is_shared=True)))
            self._identity = made.enter_context(contextlib.closing(_Side(end, n_input_bytes, is_shared=False)))
            self._copy = torch.empty(end, dtype=torch.uint8, device=ON)
            made.pop_all()

    def run(self, learner: Ask, identity: Ask, alone: Callable[[], AbstractContextManager[None]]) -> Audited:
        """Rounds of both workers in turn, on the same inputs, so that both meet the same clocks.

        Args:
            learner: asks the learner's worker; raises what ends the check.
            identity: asks the identity worker; raises where that can't do its part.
            alone: holds the learner's process still while the identity has its turn.

        Raises:
            DeviceMemoryError: the card's memory can't be shared.
        """
        identity(self._opening(self._identity))
        learner(self._opening(self._learner))
        differences, has_waited = [], False
        for number in range(N_ROUNDS + 1):
            sets = [self._draw() for _ in range(self.calls_per_round)]
            # All bits set: NaN in every float format, so a slot that was not written shows.
            self._learner.results().fill_(255)
            learner_ms, is_late = self._timed_ms(learner, self._learner, sets)
            if wrong := self._judge(sets):
                return Audited(0.0, 0.0, 0.0, self.calls_per_round, number, wrong)
            with alone():
                identity_ms, _ = self._timed_ms(identity, self._identity, sets)
            # The first round of each warms up.
            if number:
                differences.append((learner_ms - identity_ms) / self.calls_per_round)
                has_waited |= is_late
        low, median, high = median_interval(differences)
        return Audited(median, low, high, self.calls_per_round, N_ROUNDS, has_waited=has_waited)

    def close(self) -> None:
        """Give the memory back."""
        import torch

        # A round that was broken off may have left something on the card.
        torch.cuda.synchronize()
        self._learner.close()
        self._identity.close()

    def _draw(self) -> tuple[Any, ...]:
        self._drawn += 1
        draw = BareDraw(case_seed(self._seed + 1000 + self._drawn, self._case), ON)
        return self._grader.inputs(self._case, draw)

    def _opening(self, side: _Side) -> dict[str, Any]:
        return {
            "do": "audit",
            "slots": side.slots.handle().hex(),
            "bytes": side.slots.n_bytes,
            "places": [[asdict(place) for place in call] for call in self._places],
            "gate": side.gate,
        }

    def _timed_ms(self, ask: Ask, side: _Side, sets: Sequence[tuple[Any, ...]]) -> tuple[float, bool]:
        """A round's time, and whether it had to begin before all of its calls were queued."""
        import torch

        self._number += 1
        inputs, calls = side.expecting(sets)
        queue = {"do": "queue", "inputs": side.handed_over(), "calls": calls, "number": self._number}
        torch.cuda.synchronize()
        gc.collect(0)
        gc.disable()
        try:
            go = _Go(inputs, side, self._number)
            try:
                with go.at_the_latest(PATIENCE_S):
                    answer = ask({**queue, "patience_s": PATIENCE_S})
            finally:
                # Whatever became of the calls: what waits at the gate must end.
                started = go()
            # Host code that waited for the round to begin is done with it when there is an answer.
            is_late = answer["status"] == "done"
            if not is_late:
                ask({"do": "finish"})
            _copy_by_kernel(side.results().view(torch.int64), self._copy.view(torch.int64))
            torch.cuda.synchronize()
            return (time.perf_counter() - started) * 1e3, is_late
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
    """The memory of one of the two workers: slots for its outputs, its gate behind them, and a round's inputs.

    Args:
        n_result_bytes: of all slots.
        n_input_bytes: of a round's inputs.
        is_shared: the worker sees the inputs; the identity has no use for them, they are only written.
    """

    def __init__(self, n_result_bytes: int, n_input_bytes: int, *, is_shared: bool) -> None:
        self._is_shared = is_shared
        self._n_result_bytes = n_result_bytes
        self.gate = n_result_bytes
        """Where the word lies that says which round has begun."""
        self.slots = DeviceBuffer(n_result_bytes + _GATE_BYTES)
        try:
            self.slots.bytes()[n_result_bytes:].zero_()
            # A driver that can't do this says so now.
            self.slots.signal(self.gate, 0)
            self.slots.wait_for(self.gate, 0)
            self._inputs = DeviceBuffer(n_input_bytes)
        except DeviceMemoryError:
            self.slots.close()
            raise

    def results(self) -> torch.Tensor:
        """All slots, uint8."""
        return self.slots.bytes()[: self._n_result_bytes]

    def expecting(self, sets: Sequence[Sequence[Any]]) -> tuple[list[tuple[torch.Tensor, torch.Tensor]], list[Any]]:
        """Each input beside the place where it will lie, and the calls as a worker is told of them."""
        tensors, places, n_bytes, calls = laid_out(sets)
        if n_bytes > self._inputs.n_bytes:
            self._inputs.close()
            self._inputs = DeviceBuffer(n_bytes)
        pairs = zip(tensors, places, strict=True)
        return [(tensor, self._inputs.tensor(place)) for tensor, place in pairs], calls

    def handed_over(self) -> dict[str, Any] | None:
        """What a worker opens a round's inputs with; None where it does not see them."""
        return {"handle": self._inputs.handle().hex(), "bytes": self._inputs.n_bytes} if self._is_shared else None

    def close(self) -> None:
        self.slots.close()
        self._inputs.close()


class _Go:
    """Starts the clock of a round, and then the round, once: when it is called, or when patience ends.

    Args:
        inputs: each beside the place where the calls expect it.
        side: whose round it is.
        number: of the round: what opens the gate.
    """

    def __init__(self, inputs: Sequence[tuple[torch.Tensor, torch.Tensor]], side: _Side, number: int) -> None:
        self._inputs, self._side, self._number = inputs, side, number
        self._lock = threading.Lock()
        self._started = 0.0
        self._failed: Exception | None = None

    def __call__(self) -> float:
        """When it began, by `time.perf_counter`; raises what kept its inputs from being written."""
        self._start()
        if self._failed is not None:
            raise self._failed
        return self._started

    def _start(self) -> None:
        with self._lock:
            if self._started:
                return
            self._started = time.perf_counter()
            try:
                try:
                    for tensor, place in self._inputs:
                        _copy_by_kernel(tensor, place)
                finally:
                    # Whatever became of the inputs, nobody is kept waiting.
                    self._side.slots.signal(self._side.gate, self._number)
            except Exception as error:  # noqa: BLE001  it may be another thread's, which has nobody to tell
                self._failed = error

    @contextlib.contextmanager
    def at_the_latest(self, patience_s: float) -> Iterator[None]:
        """Goes by itself, if the block is not left in time."""
        timer = threading.Timer(patience_s, self._start)
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


_WIDTHS = {1: "uint8", 2: "int16", 4: "int32", 8: "int64"}


def _copy_by_kernel(source: torch.Tensor, target: torch.Tensor) -> None:
    """A copy that the card's processors make: its copy engines could do so while another process computes."""
    import torch

    width = getattr(torch, _WIDTHS[source.element_size()])
    torch.bitwise_or(source.view(width), 0, out=target.view(width))


def laid_out(sets: Sequence[Sequence[Any]]) -> tuple[list[torch.Tensor], list[Place], int, list[list[Any]]]:
    """The tensors of several sets of arguments, their places one after the other, and the calls as JSON.

    Returns:
        tensors, places, the bytes that they take in all, calls.
    """
    import torch

    tensors = [arg for args in sets for arg in args if isinstance(arg, torch.Tensor)]
    places, n_bytes = lay_out(tensors)
    remaining = iter(places)
    calls = [[asdict(next(remaining)) if isinstance(arg, torch.Tensor) else arg for arg in args] for args in sets]
    return tensors, places, n_bytes, calls


class buffered:  # noqa: N801  used like a function, as contextlib's own are
    """Sets of arguments in one allocation of their own, for as long as the block lasts: (buffer, calls as JSON)."""

    def __init__(self, sets: Sequence[Sequence[Any]]) -> None:
        import torch

        tensors, places, n_bytes, self._calls = laid_out(sets)
        self._buffer = DeviceBuffer(n_bytes)
        for tensor, place in zip(tensors, places, strict=True):
            self._buffer.tensor(place).copy_(tensor)
        torch.cuda.synchronize()

    def __enter__(self) -> tuple[DeviceBuffer, list[list[Any]]]:
        return self._buffer, self._calls

    def __exit__(self, *_: object) -> None:
        self._buffer.close()


def _view(data: torch.Tensor, place: Place) -> torch.Tensor:
    import torch

    dtype = getattr(torch, place.dtype)
    return data.view(dtype).as_strided(place.shape, place.strides, place.offset_bytes // dtype.itemsize)
