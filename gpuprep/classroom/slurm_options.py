"""`--slurm KEY=VALUE`: what is asked of Slurm, in sbatch's own words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpuprep.errors import UsageError

DEFAULT_MINUTES = 60
TASKS_PER_JOB = 25
"""Enough that starting a grader, which takes seconds, is the smaller part of a job."""
OWN = ("cluster", "folder", "tasks_per_job", "time")
REFUSED = ("array", "error", "nodes", "ntasks", "ntasks_per_node", "open_mode", "output", "wrap")
"""How jobs are cut and where their output goes is decided here: a job has one grader."""
CLUSTERS = ("slurm", "local")
_NAME = re.compile(r"[a-z][a-z0-9-]*")
_TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<first>\d+)(?::(?P<second>\d+))?(?::(?P<third>\d+))?")


@dataclass(frozen=True)
class SlurmOptions:
    """How jobs are submitted."""

    n_jobs: int | None = None
    """At a time; None leaves it to Slurm."""
    device: str = "cpu"
    cluster: str = "slurm"
    """Or `local`: the same jobs as processes of this machine, to try it out."""
    folder: Path | None = None
    """On a file system that the nodes share; the output folder where None."""
    tasks_per_job: int = TASKS_PER_JOB
    minutes: int = DEFAULT_MINUTES
    sbatch: Mapping[str, Any] = field(default_factory=dict)
    """Any of sbatch's long options, by name; True for one without a value."""

    @property
    def parameters(self) -> dict[str, Any]:
        """The same for submitit."""
        asked = dict(self.sbatch)
        if self.device == "cuda" and not self._asks_for_gpus:
            asked["gpus-per-node"] = 1
        found: dict[str, Any] = {"name": "gpuprep", "timeout_min": self.minutes}
        if self.cluster == "local":
            return found
        if asked:
            found["slurm_additional_parameters"] = asked
        if self.n_jobs:
            found["slurm_array_parallelism"] = self.n_jobs
        # Not from the folder that we were started in, where anybody's files may lie.
        found["slurm_setup"] = ["export PYTHONSAFEPATH=1"]
        return found

    @property
    def _asks_for_gpus(self) -> bool:
        return any(name.startswith("gpus") or name == "gres" for name in self.sbatch)


def slurm_options(pairs: Sequence[str], *, n_jobs: int | None, device: str) -> SlurmOptions:
    """What `--slurm KEY=VALUE …` says.

    Raises:
        UsageError: a key is refused, or a value makes no sense.
    """
    said: dict[str, str] = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        key = key.strip().lstrip("-").replace("_", "-")
        if not _NAME.fullmatch(key) or (separator and not value):
            raise UsageError(f"--slurm {pair}: want KEY=VALUE", next_step="for example: --slurm partition=gpu")
        if key.replace("-", "_") in REFUSED:
            raise UsageError(f"--slurm {pair}: gpuprep decides that itself", next_step=f"leave out --slurm {key}")
        if "\n" in value:
            raise UsageError(f"--slurm {key}: want one line")
        said[key] = value if separator else ""
    cluster = said.pop("cluster", "slurm")
    if cluster not in CLUSTERS:
        raise UsageError(f"--slurm cluster={cluster}: want one of {', '.join(CLUSTERS)}")
    folder = said.pop("folder", None)
    tasks_per_job = said.pop("tasks-per-job", str(TASKS_PER_JOB))
    if not tasks_per_job.isdigit() or int(tasks_per_job) < 1:
        raise UsageError(f"--slurm tasks_per_job={tasks_per_job}: want a number above 0")
    return SlurmOptions(
        n_jobs=n_jobs,
        device=device,
        cluster=cluster,
        folder=Path(folder).expanduser() if folder else None,
        tasks_per_job=int(tasks_per_job),
        minutes=_minutes(said.pop("time")) if "time" in said else DEFAULT_MINUTES,
        sbatch={key: value or True for key, value in said.items()},
    )


def _minutes(text: str) -> int:
    """A time limit as Slurm writes it: minutes[:seconds], hours:minutes:seconds, or days-hours[:minutes[:seconds]]."""
    found = _TIME.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"--slurm time={text}: want minutes, or a time like 1:30:00 or 1-12")
    parts = [int(part) for part in found.group("first", "second", "third") if part]
    if found["days"]:
        hours, minutes, seconds = (*parts, 0, 0)[:3]
    elif len(parts) == 3:
        hours, minutes, seconds = parts
    else:
        hours, minutes, seconds = 0, *(*parts, 0)[:2]
    total_s = ((int(found["days"] or 0) * 24 + hours) * 60 + minutes) * 60 + seconds
    if total_s <= 0:
        raise UsageError(f"--slurm time={text}: want more than nothing")
    return -(-total_s // 60)
