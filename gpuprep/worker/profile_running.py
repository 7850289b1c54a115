"""The worker's half of a profile on a card: which kernels one call launched, and a trace of some calls to look at."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from gpuprep.worker.profile_launches import noted

if TYPE_CHECKING:
    from gpuprep.worker.running import Answer, Runner

MAX_TRACE_BYTES = 64 * 2**20


def serve(runner: Runner, request: dict[str, Any]) -> Answer:
    """Answer one request about the sets of arguments that were timed; what the learner's code raises is an answer too.

    Args:
        runner: has the learner's file loaded, and has been asked to time it.
        request: `do` is profile_launches, or profile_trace with `n_calls`.
    """
    sets = runner.stopwatch.sets
    try:
        if request["do"] == "profile_launches":
            with noted() as launches:
                runner.run(*sets[0])
                torch.cuda.synchronize()
            return {"status": "noted", "kernels": launches.notes}
        return _traced(runner, request["n_calls"])
    except BaseException as error:  # noqa: BLE001  as in Runner.call
        return runner.raised(error, "profiling")


def _traced(runner: Runner, n_calls: int) -> Answer:
    """What torch's profiler saw of calls that have been warmed up, in the format of Chrome and Perfetto."""
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    sets = runner.stopwatch.sets
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=activities) as profile:
        for place in range(n_calls):
            with torch.profiler.record_function(f"call {place + 1}"):
                runner.run(*sets[place % len(sets)])
        torch.cuda.synchronize()
    with tempfile.TemporaryDirectory(prefix="gpuprep-profile-") as folder:
        path = Path(folder, "trace.json")
        profile.export_chrome_trace(str(path))
        text = path.read_bytes()
    if len(text) > MAX_TRACE_BYTES:
        return {"status": "untraced", "why": f"the trace takes {len(text) / 2**20:.0f} MiB"}
    return {"status": "traced", "trace": torch.frombuffer(bytearray(text), dtype=torch.uint8)}
