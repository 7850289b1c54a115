"""Grades in jobs of Slurm, submitted by submitit as an array: some tasks a job, one grader each.

Tasks and answers are files (`classroom.slurm_job`). What a job has answered counts, whatever becomes of the job; what
it has not comes back as lost.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpuprep.classroom.executor import Executor, Finished, Task
from gpuprep.classroom.parcels import Kit, Parcel
from gpuprep.classroom.ray_executor import finished_from
from gpuprep.classroom.slurm_job import KIT, answers, answers_path, parcels_path, work
from gpuprep.classroom.slurm_options import SlurmOptions
from gpuprep.errors import UsageError

FOLDER = "slurm"
"""In the output folder."""
POLL_S = 1.0
ASK_EVERY_S = 30.0
"""How often Slurm is asked what became of its jobs; it answers for all at once, and slowly."""
OVERDUE_S = 600.0
"""After its time limit a job that has begun is over, even if Slurm can't be asked."""
END_LIMIT_S = 20.0
"""How long jobs may take to end that were cancelled or have answered all, until their folder is removed."""


@dataclass
class _Job:
    """A job and its tasks."""

    job: Any
    tasks: dict[int, Task]
    """Those without an answer, by line."""
    path: Path
    """Of its answers."""
    n_read: int = 0
    began_at: float | None = None
    why: str = ""
    """Why it can't grade, where it said so."""

    def read(self) -> Iterator[Finished]:
        """What it has answered since."""
        with self.path.open("rb") as file:
            file.seek(self.n_read)
            content = file.read()
        content = content[: content.rfind(b"\n") + 1]
        self.n_read += len(content)
        for answer in answers(content):
            if "began" in answer:
                self.began_at = time.monotonic()
            self.why = str(answer.get("unfit", self.why))
            task = self.tasks.pop(answer.get("n", -1), None)
            if task is not None:
                yield finished_from(task, answer)


class SlurmExecutor(Executor):
    """Graders in jobs of Slurm.

    Args:
        options: how they are submitted.
        out: the output folder.

    Raises:
        UsageError: submitit is not installed.
    """

    def __init__(self, options: SlurmOptions, out: Path) -> None:
        if importlib.util.find_spec("submitit") is None:
            raise UsageError(
                "--executor slurm needs submitit, which is not installed", next_step="pip install 'gpuprep[slurm]'"
            )
        self._options = options
        # Named after the output folder, so that what a kill left there is found by the next run.
        name = hashlib.sha256(os.fsencode(out.resolve())).hexdigest()[:12]
        self._folder = (options.folder / f"gpuprep-{name}") if options.folder else out / FOLDER
        self._jobs: list[_Job] = []
        self._asked_at = time.monotonic()

    def run(self, tasks: Sequence[Task]) -> Iterator[Finished]:
        """Each task's end, as soon as it is known.

        Raises:
            UsageError: there is no Slurm, or it takes no jobs.
        """
        parcels: list[Parcel] = []
        for task in tasks:
            try:
                parcels.append(Parcel.packed(task))
            except (OSError, ValueError) as error:
                yield Finished(task, fault=str(error))
        if parcels:
            self._jobs = self._submitted(parcels)
        open_jobs = self._jobs
        while open_jobs:
            for job in open_jobs:
                yield from job.read()
                if job.tasks and self._is_over(job):
                    # What it wrote last may have come since.
                    yield from job.read()
                    why = job.why or self._why_lost(job)
                    for task in job.tasks.values():
                        yield Finished(task, fault=why, is_unfit=bool(job.why))
                    job.tasks.clear()
            open_jobs = [job for job in self._jobs if job.tasks]
            if open_jobs:
                time.sleep(POLL_S)
        self._wait_for_ends()

    def close(self) -> None:
        """Cancel the jobs that are left, and remove the folder."""
        for job in self._jobs:
            if not self._has_ended(job):
                with contextlib.suppress(OSError):
                    job.job.cancel(check=False)
        self._wait_for_ends()

    def _submitted(self, parcels: Sequence[Parcel]) -> list[_Job]:
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        self._remove()
        self._folder.mkdir(parents=True)
        is_elsewhere = self._options.cluster != "local"
        kit = Kit.packed(Path(parcels[0].task.curriculum), self._options.device, is_elsewhere=is_elsewhere)
        (self._folder / KIT).write_text(kit.to_json(), encoding="utf-8")
        size = self._tasks_per_job(len(parcels))
        chunks = [parcels[start : start + size] for start in range(0, len(parcels), size)]
        for number, chunk in enumerate(chunks):
            text = "".join(f"{parcel.to_json()}\n" for parcel in chunk)
            parcels_path(self._folder, number).write_text(text, encoding="utf-8")
            answers_path(self._folder, number).touch()
        try:
            jobs = self._map(len(chunks))
        except (OSError, RuntimeError, NameError, ValueError, FailedJobError, FailedSubmissionError) as error:
            self._remove()
            said = str(error).strip().splitlines()
            raise UsageError(
                f"Slurm takes no jobs: {said[-1] if said else type(error).__name__}",
                next_step="run it where sbatch is, or try it with --slurm cluster=local",
            ) from error
        self._asked_at = time.monotonic()
        return [
            _Job(job, {line: parcel.task for line, parcel in enumerate(chunk)}, answers_path(self._folder, number))
            for number, (job, chunk) in enumerate(zip(jobs, chunks, strict=True))
        ]

    def _map(self, n_chunks: int) -> Sequence[Any]:
        import submitit

        with _safe_path():
            executor = submitit.AutoExecutor(folder=self._folder / "log", cluster=self._options.cluster)
            executor.update_parameters(**self._options.parameters)
            jobs: Sequence[Any] = executor.map_array(work, [str(self._folder.resolve())] * n_chunks, range(n_chunks))
        return jobs

    def _tasks_per_job(self, n_tasks: int) -> int:
        if self._options.cluster == "local":
            # All start at once there.
            return -(-n_tasks // (self._options.n_jobs or 1))
        return self._options.tasks_per_job

    def _is_over(self, job: _Job) -> bool:
        limit_s = 60 * self._options.minutes + OVERDUE_S
        return self._has_ended(job) or (job.began_at is not None and time.monotonic() > job.began_at + limit_s)

    def _has_ended(self, job: _Job) -> bool:
        is_asked = time.monotonic() > self._asked_at + ASK_EVERY_S
        if is_asked:
            self._asked_at = time.monotonic()
        return bool(job.job.done(force_check=is_asked))

    def _why_lost(self, job: _Job) -> str:
        said = (job.job.stderr() or "").strip().splitlines()
        return f"job {job.job.job_id} ended ({job.job.state}){': ' + said[-1][:300] if said else ''}"

    def _wait_for_ends(self) -> None:
        """Until jobs have ended that are about to, and then their folder is of no more use."""
        deadline = time.monotonic() + END_LIMIT_S
        while any(not self._has_ended(job) for job in self._jobs) and time.monotonic() < deadline:
            time.sleep(POLL_S / 4)
        self._jobs.clear()
        self._remove()

    def _remove(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


@contextlib.contextmanager
def _safe_path() -> Iterator[None]:
    """Jobs are started as `python -m …`, which would import from the folder that we were started in."""
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = before
