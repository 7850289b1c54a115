"""What Ray and Slurm's jobs cost beside graders of this machine: the same files of ex_01, one executor after the other.

    python tests/executor_speed.py [--files 60] [--jobs 2] [--rounds 2] [--executor local --executor ray …]

Prints a row a run: seconds until the first verdict, between that and the last one for each file, and until all is gone
again; processor seconds and the most memory (PSS) of all processes together, as seen every second. Slurm's jobs are
processes of this machine here, in place of a cluster's.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from gpuprep import curriculum as curricula
from gpuprep.classroom.executor import Executor, Task
from gpuprep.classroom.executors import Place
from gpuprep.classroom.local import LocalExecutor
from gpuprep.grading.confining import AUTO, chosen_level

SLURM_HERE = ("cluster=local",)


@dataclass(frozen=True)
class Run:
    """One executor, once."""

    executor: str
    first_s: float
    each_s: float
    end_s: float
    cpu_s: float
    peak_bytes: int


def tasks(n_files: int) -> list[Task]:
    """The reference of ex_01, as often as that, in the strongest sandbox."""
    curriculum = curricula.load()
    exercise = curriculum.exercise("ex_01")
    path = curriculum.reference_path(exercise)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    level = chosen_level(AUTO)
    return [
        Task(f"student_{n}", exercise, str(path), digest, str(curriculum.root), sandbox=level) for n in range(n_files)
    ]


def executor_of(name: str, n_jobs: int, scratch: Path) -> Executor:
    """As `gpuprep grade --executor` makes it."""
    place = Place(name, slurm=SLURM_HERE if name == "slurm" else ())
    return place.executor(scratch, n_jobs=n_jobs, device="cpu") or LocalExecutor(n_jobs, scratch)


@dataclass
class Watched:
    """What all descendants together have used."""

    cpu_s: float = 0.0
    """Of those that live, with the children that they had: nobody who grades for long ends before the end."""
    peak_bytes: int = 0

    def look(self) -> None:
        """Once more."""
        used_s, held_bytes = 0.0, 0
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                used_s += times.user + times.system + times.children_user + times.children_system
                held_bytes += process.memory_full_info().pss
        self.cpu_s, self.peak_bytes = max(self.cpu_s, used_s), max(self.peak_bytes, held_bytes)


@contextlib.contextmanager
def watched() -> Iterator[Watched]:
    """Look at them every second."""
    seen = Watched()
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(1.0):
            seen.look()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        is_over.set()
        thread.join()


def run(name: str, n_jobs: int, given: Sequence[Task]) -> Run:
    """Grade them all."""
    with tempfile.TemporaryDirectory() as scratch, watched() as seen:
        started = time.monotonic()
        verdicts: list[float] = []
        with executor_of(name, n_jobs, Path(scratch)) as executor:
            for finished in executor.run(given):
                assert finished.report, finished.fault
                verdicts.append(time.monotonic() - started)
            seen.look()
            ending = time.monotonic()
        end_s = time.monotonic() - ending
    each_s = (verdicts[-1] - verdicts[0]) / max(1, len(verdicts) - 1)
    return Run(name, verdicts[0], each_s, end_s, seen.cpu_s, seen.peak_bytes)


def main() -> None:
    """The table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=60)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--executor", action="append", choices=("local", "ray", "slurm"))
    asked = parser.parse_args()
    print("| executor | first verdict, s | each further, ms | end, s | processor, s | peak, MiB |")
    print("|---|---|---|---|---|---|")
    for _ in range(asked.rounds):
        for name in asked.executor or ("local", "ray", "slurm"):
            done = run(name, asked.jobs, tasks(asked.files))
            print(
                f"| {name} | {done.first_s:.1f} | {1000 * done.each_s:.0f} | {done.end_s:.1f} | {done.cpu_s:.0f} "
                f"| {done.peak_bytes / 2**20:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
