"""The worker's half of the speed tier: serves requests to time, trace and audit the loaded function.

Arguments come as the handle of a device buffer that the trusted side owns, or, where CUDA IPC doesn't work, as bytes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from gpuprep.device_memory import DeviceBuffer, DeviceMemoryError, Place
from gpuprep.worker.timing import WARM_UP_S, sample_ms

if TYPE_CHECKING:
    from gpuprep.worker.running import Runner

Answer = dict[str, Any]

AGAIN_WARM_UP_S = 0.02
"""A later burst finds everything compiled; only the clocks have to come up."""


class Stopwatch:
    """Holds the timed arguments and the audit's slots between requests.

    Args:
        runner: has the learner's file loaded, or nothing: then every call is the identity (see `Rounds`).
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._buffer: DeviceBuffer | None = None
        self._sets: list[list[Any]] = []
        self._rounds: Rounds | None = None
        # Poisoning every allocation would be timed too.
        torch.set_deterministic_debug_mode("default")
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        # Dynamo leaves a function uncompiled for good that was first called while operations were recorded.
        if dynamo := sys.modules.get("torch._dynamo"):
            dynamo.reset()

    @property
    def sets(self) -> Sequence[Sequence[Any]]:
        """The sets of arguments that calls are timed on in turn."""
        return self._sets

    def serve(self, request: dict[str, Any]) -> Answer:
        """Answer one request; whatever the learner's code raises is an answer too, as is memory that can't be seen."""
        try:
            return self._answer(request)
        except DeviceMemoryError as error:
            return {"status": "unshared", "why": str(error)}
        except BaseException as error:  # noqa: BLE001  as in Runner.call
            return self._runner.raised(error, "timing")

    def _answer(self, request: dict[str, Any]) -> Answer:
        if request["do"] in ("time", "again"):
            warm_up_s = AGAIN_WARM_UP_S
            if request["do"] == "time":
                self._take(request["sets"])
                warm_up_s = WARM_UP_S
            cap_s, space_s = request["cap_s"], request["space_s"]
            samples = sample_ms(self._runner.run, self._sets, cap_s=cap_s, warm_up_s=warm_up_s, space_s=space_s)
            return {"status": "timed", "samples_ms": samples}
        if request["do"] == "tell":
            return self._runner.retold(self._sets[0])
        if request["do"] == "can_trace":
            return _can_trace()
        if request["do"] == "trace":
            from gpuprep.worker.trace import trace_calls

            return trace_calls(self._runner, self._sets, request["n_calls"])
        if request["do"] == "audit":
            run = self._runner.run if self._runner.function is not None else None
            if self._rounds is not None:
                self._rounds.close()
            self._rounds = Rounds(run, request["slots"], request["bytes"], request["places"], request["gate"])
            return {"status": "open"}
        if request["do"] == "put_away":
            self._put_away()
            return {"status": "put_away"}
        assert self._rounds is not None  # noqa: S101  the trusted side opens an audit before its first round
        if request["do"] == "queue":
            began = time.monotonic()
            self._rounds.queue(request["inputs"], request["calls"], request["number"])
            if time.monotonic() < began + request["patience_s"]:
                return {"status": "queued"}
        self._rounds.finish()
        return {"status": "done"}

    def _take(self, sets: dict[str, Any]) -> None:
        if "handle" not in sets:
            from gpuprep.worker.running import move

            self._sets = [move(args, "cuda") for args in sets["calls"]]
            return
        self._sets = []
        if self._buffer is not None:
            self._buffer.close()
        self._buffer = DeviceBuffer(sets["bytes"], handle=bytes.fromhex(sets["handle"]))
        self._sets = [_arguments(self._buffer, call) for call in sets["calls"]]

    def _put_away(self) -> None:
        """Stop seeing what belongs to one timed case: the trusted side's memory is free only then, for the next."""
        torch.cuda.synchronize()
        self._sets = []
        if self._rounds is not None:
            self._rounds.close()
        if self._buffer is not None:
            self._buffer.close()
        self._buffer = self._rounds = None
        torch.cuda.empty_cache()


class Rounds:
    """Serves the rounds of one audit: queue the calls and the copies of their results, and say when all is done.

    What is queued waits on the card until the trusted side has written the round's inputs. So nothing can be computed
    before, and whatever host code takes until then is over when the clock starts.

    The same code runs in the learner's worker and, with results that are there already, in a trusted one: the
    difference of the two times is what the learner's function takes.

    Args:
        run: makes one call; None for the identity, which computes nothing.
        slots: the handle of the output slots, which stay open between rounds.
        n_bytes: their size.
        places: one list of places a call: where each of its outputs goes.
        gate: where in the same buffer the word lies that says which round has its inputs.
    """

    def __init__(
        self, run: Callable[..., Any] | None, slots: str, n_bytes: int, places: Sequence[Any], gate: int
    ) -> None:
        self._run = run
        self._gate = gate
        self._slots = DeviceBuffer(n_bytes, handle=bytes.fromhex(slots))
        self._targets = [[self._slots.tensor(Place.from_json(row)) for row in call] for call in places]
        # Made now, so that the identity has nothing to do in a round but the copies.
        self._ready = [target.clone() for target in self._targets[0]] if run is None else []
        self._inputs: DeviceBuffer | None = None
        self._handle = ""

    def queue(self, inputs: dict[str, Any] | None, calls: Sequence[Sequence[Any]], number: int) -> None:
        """Put a round's calls on the card; host code that has to see a value waits here until the round begins.

        Args:
            inputs: `handle` and `bytes` of the buffer that they will lie in; None for the identity.
            calls: the arguments of each.
            number: of the round.
        """
        # All arguments first, or the host could not keep ahead of short kernels.
        arguments = [_arguments(self._opened(inputs), call) for call in calls] if inputs else [[] for _ in calls]
        self._slots.wait_for(self._gate, number)
        for args, targets in zip(arguments, self._targets, strict=True):
            returned = self._ready if self._run is None else self._run(*args)
            outputs = returned if isinstance(returned, tuple | list) else (returned,)
            for target, output in zip(targets, outputs, strict=True):
                target.copy_(output)

    def finish(self) -> None:
        """Wait until all of it is done."""
        torch.cuda.synchronize()

    def close(self) -> None:
        """Stop seeing the slots and the inputs."""
        self._targets = []
        self._slots.close()
        if self._inputs is not None:
            self._inputs.close()
        self._inputs = None

    def _opened(self, inputs: dict[str, Any]) -> DeviceBuffer:
        if self._inputs is None or inputs["handle"] != self._handle:
            if self._inputs is not None:
                self._inputs.close()
            self._inputs = DeviceBuffer(inputs["bytes"], handle=bytes.fromhex(inputs["handle"]))
            self._handle = inputs["handle"]
        return self._inputs


def _arguments(buffer: DeviceBuffer, call: Sequence[Any]) -> list[Any]:
    return [buffer.tensor(Place.from_json(arg)) if isinstance(arg, dict) else arg for arg in call]


def _can_trace() -> Answer:
    from gpuprep.worker.trace import TraceUnavailableError, chosen_source

    try:
        return {"status": "traceable", "source": chosen_source()}
    except TraceUnavailableError as error:
        return {"status": "untraceable", "why": str(error)}
