"""Nsight Compute's counters for one call, where `ncu` is there and the driver lets this user read them."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gpuprep.grading.births import environment, package_root
from gpuprep.grading.profiled import Counters

METRICS: Mapping[str, str] = {
    "device_bytes": "dram__bytes.sum",
    "memory_share": "dram__throughput.avg.pct_of_peak_sustained_elapsed",
    "compute_share": "sm__throughput.avg.pct_of_peak_sustained_elapsed",
    "active_warps_share": "sm__warps_active.avg.pct_of_peak_sustained_active",
    "load_requests": "l1tex__t_requests_pipe_lsu_mem_global_op_ld.sum",
    "load_sectors": "l1tex__t_sectors_pipe_lsu_mem_global_op_ld.sum",
    "shared_loads": "smsp__inst_executed_op_shared_ld.sum",
    "shared_stores": "smsp__inst_executed_op_shared_st.sum",
    "load_conflicts": "l1tex__data_bank_conflicts_pipe_lsu_mem_shared_op_ld.sum",
    "store_conflicts": "l1tex__data_bank_conflicts_pipe_lsu_mem_shared_op_st.sum",
}
"""Few, so that ncu replays each kernel only some times; shares are percent of the card's peak."""
LIMIT_S = 240.0
_NOT_ALLOWED = "ERR_NVGPUCTRPERM"
_TARGET = (
    "import sys; sys.dont_write_bytecode = True; sys.path.append(sys.argv[1]);"
    "from gpuprep.worker.profile_target import main; main(sys.argv[2])"
)

Run = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]


class NoCountersError(Exception):
    """There are no counters to read; the message says why."""


def ncu_path() -> str:
    """Where ncu is.

    Raises:
        NoCountersError: nowhere.
    """
    found = shutil.which("ncu") or shutil.which("ncu", path="/usr/local/cuda/bin")
    if found is None:
        raise NoCountersError("ncu is not installed; it comes with the CUDA toolkit, as Nsight Compute")
    return found


def read_counters(job: Mapping[str, Any], args: Sequence[Any], *, run: Run | None = None) -> tuple[Counters, ...]:
    """The counters of every kernel that one warm call launches, in a process of its own.

    Args:
        job: `path`, `function` and `driver`, as a worker loads them.
        args: the call's.
        run: runs a command; tests give another.

    Raises:
        NoCountersError: there is no ncu, it isn't allowed to, or it fails.
    """
    import torch

    program = ncu_path()
    with tempfile.TemporaryDirectory(prefix="gpuprep-ncu-") as folder:
        Path(folder, "job.json").write_text(json.dumps(job), encoding="utf-8")
        torch.save(list(args), Path(folder, "args.pt"))
        log = Path(folder, "counters.csv")
        options = ("--csv", "--print-units", "base", "--clock-control", "none", "--profile-from-start", "off")
        target = (sys.executable, "-I", "-c", _TARGET, str(package_root()), folder)
        metrics = ",".join(METRICS.values())
        command = [program, *options, "--log-file", str(log), "--metrics", metrics, *target]
        try:
            done = (run or _run)(command)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NoCountersError(f"ncu can't be run: {error}") from error
        said = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    if _NOT_ALLOWED in said + done.stdout + done.stderr:
        raise NoCountersError(
            f"the driver lets administrators alone read counters ({_NOT_ALLOWED}); one of them can allow it to all, "
            "with the module option NVreg_RestrictProfilingToAdminUsers=0"
        )
    found = parsed(said)
    if done.returncode or not found:
        lines = [line for line in (said + done.stdout + done.stderr).splitlines() if line.strip()]
        raise NoCountersError(f"ncu found nothing: {lines[-1][:200] if lines else f'exit code {done.returncode}'}")
    return found


def parsed(said: str) -> tuple[Counters, ...]:
    """What is in ncu's CSV, a row a kernel and metric; what comes before its header is no part of it."""
    lines = said.splitlines()
    start = next((place for place, line in enumerate(lines) if line.startswith('"ID"')), None)
    if start is None:
        return ()
    names = {metric: name for name, metric in METRICS.items()}
    kernels: dict[str, tuple[str, dict[str, float]]] = {}
    for row in csv.DictReader(io.StringIO("\n".join(lines[start:]))):
        name, number = names.get(row.get("Metric Name") or ""), row.get("ID")
        if name is None or not number:
            continue
        _, figures = kernels.setdefault(number, (row.get("Kernel Name") or "", {}))
        try:
            figures[name] = float((row.get("Metric Value") or "").replace(",", ""))
        except ValueError:
            # ncu says n/a of what a card doesn't count.
            continue
    return tuple(Counters(kernel[:200], figures) for kernel, figures in kernels.values())


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        env=environment("cuda"),
        timeout=LIMIT_S,
        check=False,
    )
