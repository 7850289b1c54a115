"""The worker's half of an exercise for several ranks: joins a process group, and times what all of them do together."""

from __future__ import annotations

import datetime as dt
import os
import time
import warnings
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import FileStore

from gpuprep.worker.timing import SPIN_CYCLES

if TYPE_CHECKING:
    from gpuprep.worker.running import Runner

Answer = dict[str, Any]

COLLECTIVE_LIMIT = dt.timedelta(minutes=5)
"""Longer than the trusted side waits for anything: it is to find where a rank waits, not to be told that it gave up."""
_ENVIRONMENT = {
    # Ranks of a check are processes of one machine; the name of the host may lead anywhere.
    "GLOO_SOCKET_IFNAME": "lo",
    # Multicast over NVLink is not to be had in every container, and NCCL hangs where it only seems to be.
    "NCCL_NVLS_ENABLE": "0",
}
N_WARM_UP = 3
CYCLES_A_SECOND = 2e9
"""Of a card's clock, or somewhat more."""
MOST_SPINNING_S = 0.01


class Member:
    """One rank of a group.

    Args:
        runner: has the learner's file loaded, or only the driver: then it is the baseline that is timed.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._args: list[Any] = []
        self._outputs: list[torch.Tensor] = []

    def serve(self, request: dict[str, Any]) -> Answer:
        """Answer one request; whatever the learner's code raises is an answer too."""
        try:
            if request["do"] == "join":
                return self._join(**request["group"])
            if request["do"] == "make":
                return self._make(request["params"], request["seed"])
            if request["do"] == "time_together":
                return self._time(request["n_samples"])
            return self._take(request["places"])
        except BaseException as error:  # noqa: BLE001  as in Runner.call
            return self._runner.raised(error, "timing")

    def _join(self, rank: int, world: int, back_end: str, store: str) -> Answer:
        """Become this rank of a new group, in place of the one before."""
        if dist.is_initialized():
            dist.destroy_process_group()
        os.environ.update(_ENVIRONMENT)
        if back_end == "nccl":
            torch.cuda.set_device(rank)
        # torch 2.13 has new names for two collectives; the old ones are all that earlier versions know.
        warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.distributed")
        with warnings.catch_warnings():
            # Of torch's own making: about the device of a group that a backend has only one of.
            warnings.simplefilter("ignore")
            dist.init_process_group(
                back_end, store=FileStore(store, world), rank=rank, world_size=world, timeout=COLLECTIVE_LIMIT
            )
            _meet(self._runner.device)
        return {"status": "joined"}

    def _make(self, params: dict[str, Any], seed: int) -> Answer:
        """The driver makes this rank's arguments here: what is timed may be gigabytes."""
        torch.set_deterministic_debug_mode("default")
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        self._args = list(self._runner.driver.timed_args(params, dist.get_rank(), dist.get_world_size(), seed))
        return {"status": "made"}

    def _time(self, n_samples: int) -> Answer:
        """Milliseconds of each call on this rank's own card. All begin together, as nearly as a barrier allows."""
        device, host_s = self._runner.device, 0.0
        for _ in range(N_WARM_UP):
            began = time.perf_counter()
            self._call()
            host_s = time.perf_counter() - began
            _meet(device)
        # What goes round in many messages takes the host longer to queue than the cards to do. All spin equally long.
        host_s = min(2 * _slowest(host_s, device), MOST_SPINNING_S)
        cycles = max(SPIN_CYCLES, int(host_s * CYCLES_A_SECOND))
        samples = []
        for _ in range(n_samples):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
            _meet(device)
            torch.cuda._sleep(cycles)  # type: ignore[no-untyped-call]  # noqa: SLF001
            start.record()
            self._call()
            end.record()
            end.synchronize()
            samples.append(float(start.elapsed_time(end)))
        return {"status": "timed", "samples_ms": samples}

    def _take(self, places: list[int]) -> Answer:
        """Some elements of the last call's outputs, float64; asked for when the call is long over."""
        index = torch.tensor(places, device=self._runner.device)
        taken = [output.flatten()[index % output.numel()].double().cpu() for output in self._outputs]
        return {"status": "taken", "values": taken}

    def _call(self) -> None:
        returned = self._runner.run(*self._args)
        self._outputs = list(returned) if isinstance(returned, tuple | list) else [returned]


def _meet(device: str) -> None:
    """Wait until every rank is here, and what it has queued is done."""
    _slowest(0.0, device)
    if device == "cuda":
        torch.cuda.synchronize()


def _slowest(seconds: float, device: str) -> float:
    """The most that any rank has."""
    longest = torch.full((1,), seconds, device=device)
    dist.all_reduce(longest, op=dist.ReduceOp.MAX)
    return float(longest)
