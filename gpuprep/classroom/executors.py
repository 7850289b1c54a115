"""Which executor was asked for: this machine, Ray, or Slurm."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gpuprep.classroom.executor import Executor
from gpuprep.errors import UsageError

LOCAL = "local"
NAMES = (LOCAL, "ray", "slurm")


@dataclass(frozen=True)
class Place:
    """Where checks run, as the options of `gpuprep grade` say."""

    name: str = LOCAL
    ray_address: str | None = None
    """Of a Ray that runs: `auto` or `host:port`."""
    accelerator: str | None = None
    """The type of GPU that each grader needs, as Ray calls it."""
    slurm: Sequence[str] = ()
    """KEY=VALUE, in sbatch's words."""

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise UsageError(f"no executor is called {self.name!r}", next_step=f"choose one of {', '.join(NAMES)}")
        named = {"--ray-address": ("ray", self.ray_address), "--accelerator": ("ray", self.accelerator)}
        for option, (name, value) in {**named, "--slurm": ("slurm", self.slurm)}.items():
            if value and self.name != name:
                raise UsageError(f"{option} needs --executor {name}", next_step=f"add --executor {name}")

    @property
    def is_elsewhere(self) -> bool:
        """True where other machines than this one may grade."""
        if self.name == "slurm":
            return "cluster=local" not in self.slurm
        return self.name == "ray" and self._address is not None

    def executor(self, out: Path, *, n_jobs: int | None, device: str) -> Executor | None:
        """The executor; None for the one of this machine.

        Args:
            out: the output folder.
            n_jobs: files at a time.
            device: to grade on.

        Raises:
            UsageError: its package is not installed, or an option makes no sense.
        """
        if self.name == "ray":
            from gpuprep.classroom.ray_executor import RayExecutor, RayOptions

            return RayExecutor(RayOptions(n_jobs, device, self._address, self.accelerator))
        if self.name == "slurm":
            from gpuprep.classroom.slurm_executor import SlurmExecutor
            from gpuprep.classroom.slurm_options import slurm_options

            return SlurmExecutor(slurm_options(self.slurm, n_jobs=n_jobs, device=device), out)
        return None

    @property
    def _address(self) -> str | None:
        return self.ray_address or os.environ.get("RAY_ADDRESS") or None
