"""The process that Nsight Compute looks into: one warm call of a learner's function, marked for the profiler."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from gpuprep.worker.running import Runner

WARM_UPS = 2
"""The first compiles and tunes."""


def main(folder: str) -> None:
    """Make the call that is described in a folder.

    Args:
        folder: holds `job.json` with `path`, `function` and `driver`, and the arguments in `args.pt`.
    """
    job = json.loads(Path(folder, "job.json").read_text(encoding="utf-8"))
    args = torch.load(Path(folder, "args.pt"), weights_only=True, map_location="cuda")
    runner = Runner("cuda")
    # Or ncu would see the kernel that poisons what the call allocates.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    loaded = runner.load(job["path"], job["function"], job["driver"])
    if loaded["status"] != "loaded":
        sys.exit(str(loaded.get("message", loaded["status"])))
    for _ in range(WARM_UPS):
        runner.run(*args)
    torch.cuda.synchronize()
    torch.cuda.profiler.start()  # type: ignore[no-untyped-call]
    runner.run(*args)
    torch.cuda.synchronize()
    torch.cuda.profiler.stop()  # type: ignore[no-untyped-call]
