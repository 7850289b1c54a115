"""One check of a workspace's file, recorded; and what several checks together exit with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpuprep.errors import GraderFaultError, ProgressError, WorkspaceError
from gpuprep.exercise import Exercise
from gpuprep.model import Evidence, Outcome, Report, Tier

if TYPE_CHECKING:
    from pathlib import Path

    from gpuprep.curriculum import Curriculum
    from gpuprep.grading.pool import WarmPool
    from gpuprep.progress import Attempt
    from gpuprep.workspace import Workspace

EXIT_PASSED = 0
EXIT_NOT_PASSED = 1
EXIT_GRADER_FAULT = 3


@dataclass(frozen=True)
class Options:
    """How to grade, and what counts as passed."""

    device: str = "auto"
    """auto, cpu or cuda."""
    timeout_s: float | None = None
    """How long the learner's code may run on each device; None is the grader's own limit."""
    required: str | None = None
    """`speed`: a pass without graded, audited speed is none. `witnessed`: nor is one whose work only its own process
    counted; `speed` asks for that too."""

    world: int | None = None
    """Of an exercise for several ranks, the only number of them to check with."""

    @property
    def can_be_asked(self) -> bool:
        """True where a pool that runs in the background may do it. What must count is not asked of whoever listens."""
        return self.required is None and self.world is None

    def unmet(self, report: Report) -> str:
        """Why a pass does not count as one here; empty where it does, or where there is none."""
        if self.required is None or not report.outcome.is_pass:
            return ""
        work = report.tier(Tier.WORK)
        if work is not None and (work.outcome is not Outcome.PASSED or work.evidence is not Evidence.WITNESSED):
            return f"witnessed work was required, and was not graded ({work.reason or 'self-reported'})"
        if self.required == "witnessed":
            return ""
        if report.outcome is Outcome.PROVISIONAL:
            return "speed was required, and could not be graded"
        for timing in report.timings:
            if not timing.audited:
                return f"audited speed was required ({timing.case.name}: {'; '.join(timing.notes) or 'unaudited'})"
        return ""


@dataclass(frozen=True)
class Checked:
    """A check, and why it could not be recorded, if so."""

    exercise: Exercise
    report: Report
    unrecorded: ProgressError | None = None
    unkept: str = ""
    """Why the record doesn't have the source that was graded, if so."""


def check_file(
    workspace: Workspace,
    curriculum: Curriculum,
    exercise: Exercise,
    options: Options,
    *,
    on_event: Callable[[str], None] | None = None,
    pool: WarmPool | None = None,
) -> Checked:
    """Grade the learner's file and record what came of it. A grader that breaks is an outcome here, not an exception.

    A stub that nobody has touched yet is no attempt.

    Args:
        workspace: holds the file and the record.
        curriculum: holds the grader.
        exercise: what to check.
        options: how to grade it.
        on_event: gets a few words whenever something starts.
        pool: forks the workers; without it, a pool that runs in the background is asked, if there is one.

    Raises:
        WorkspaceError: the file is missing or can't be read.
        UsageError: the device that was asked for is not there.
    """
    from gpuprep.practice import keeping
    from gpuprep.progress import Progress

    path = workspace.exercise_path(exercise)
    before = keeping.snapshot(curriculum.sources(path))
    try:
        report = _graded(curriculum, exercise, path, options, on_event, pool)
    except GraderFaultError as fault:
        report = Report(exercise.id, Outcome.GRADER_FAULT, message=fault.message, path=str(path))
    try:
        with Progress(workspace.progress_path) as progress:
            if report.outcome is Outcome.NOT_STARTED and not report.cases and progress.last(exercise.id) is None:
                return Checked(exercise, report)
            sources, unkept = keeping.graded(before, keeping.snapshot(curriculum.sources(path)), report.file_hash)
            number = progress.record(report, sources, unkept=unkept)
            return Checked(exercise, report, unkept=progress.unkept(number))
    except ProgressError as error:
        # The verdict is worth more than its record: it must still reach the learner.
        return Checked(exercise, report, error)


def _graded(
    curriculum: Curriculum,
    exercise: Exercise,
    path: Path,
    options: Options,
    on_event: Callable[[str], None] | None,
    pool: WarmPool | None,
) -> Report:
    device, timeout_s = options.device, options.timeout_s
    if pool is None and options.can_be_asked:
        from gpuprep.grading import pool_client

        report = pool_client.check(exercise, curriculum, path, device=device, timeout_s=timeout_s, on_event=on_event)
        if report is not None:
            return report
    from gpuprep.grading import session

    return session.check(
        exercise,
        curriculum,
        path,
        device=device,
        timeout_s=timeout_s,
        on_event=on_event,
        pool=pool,
        witnessed=options.required is not None,
        world=options.world,
    )


def ask_ahead(workspace: Workspace, curriculum: Curriculum, exercises: Sequence[Exercise], options: Options) -> None:
    """Ask a pool that runs in the background for the first check; `check_file` collects the answer.

    Meanwhile the caller can import what shows it.
    """
    if exercises and options.can_be_asked:
        from gpuprep.grading import pool_client

        path = workspace.exercise_path(exercises[0])
        pool_client.begin(exercises[0], curriculum.root, path, options.device, options.timeout_s)


def present(workspace: Workspace, exercises: Iterable[Exercise]) -> list[Exercise]:
    """Those whose file is in the workspace.

    Raises:
        WorkspaceError: there is none.
    """
    found = [exercise for exercise in exercises if workspace.exercise_path(exercise).is_file()]
    if not found:
        raise WorkspaceError(f"no exercise file in {workspace.root}", next_step=f"gpuprep init {workspace.root}")
    return found


def require_present(workspace: Workspace, exercises: Iterable[Exercise]) -> None:
    """Find a missing file before anything is graded.

    Raises:
        WorkspaceError: an exercise's file is not in the workspace.
    """
    for exercise in exercises:
        path = workspace.exercise_path(exercise)
        if not path.is_file():
            raise WorkspaceError(f"{workspace.display(path)} is missing", next_step=f"gpuprep reset {exercise.id}")


def exit_code(reports: Iterable[Report], options: Options) -> int:
    """What the process exits with: the worst report decides, a grader's fault before a failure before a pass."""
    return max((_exit_code(report, options) for report in reports), default=EXIT_NOT_PASSED)


def last_diagnosis(attempt: Attempt | None) -> str | None:
    """The id of what the attempt's deciding case was diagnosed with."""
    if attempt is None:
        return None
    place = attempt.report.get("first_failure")
    if place is None:
        return None
    diagnosis = attempt.report["cases"][place].get("diagnosis")
    return diagnosis["id"] if diagnosis else None


def _exit_code(report: Report, options: Options) -> int:
    if report.outcome is Outcome.GRADER_FAULT:
        return EXIT_GRADER_FAULT
    return EXIT_PASSED if report.outcome.is_pass and not options.unmet(report) else EXIT_NOT_PASSED
