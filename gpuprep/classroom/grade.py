"""`gpuprep grade`: from a class's submissions to `scores.csv`, whatever stops it on the way."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from gpuprep import __version__
from gpuprep.classroom import assignment as assignments
from gpuprep.classroom.assignment import Assignment
from gpuprep.classroom.executor import Executor, Finished, Task
from gpuprep.classroom.journal import FILE_NAME, Grade, Identity, Journal, Noted
from gpuprep.classroom.local import LocalExecutor
from gpuprep.classroom.scoring import Fate, Row, row, scores_csv
from gpuprep.classroom.submissions import Submission, collect, find, store
from gpuprep.confinement.permits import STRONGEST_FIRST, Level
from gpuprep.curriculum import Curriculum
from gpuprep.errors import UsageError
from gpuprep.grading.card import card_is_likely
from gpuprep.grading.confining import AUTO, chosen_level, offered
from gpuprep.grading.loading import load_grader
from gpuprep.model import Outcome, Tier
from gpuprep.workspace import write_atomically
from gpuprep.yaml_nodes import read_text

SCORES = "scores.csv"
FILES = "graded"
"""Where a class's files lie as they were graded."""
N_TRIES = 2
"""Of a task that the grader itself failed in, or whose machine was lost."""


@dataclass(frozen=True)
class Settings:
    """How to grade a class."""

    out: Path
    n_jobs: int | None = None
    """Files at a time; None for one a core, and one alone where a card is timed."""
    is_resumed: bool = False
    device: str = "auto"
    required_sandbox: str = Level.NONE
    """The weakest that will do. The strongest that this machine offers is used in any case."""


@dataclass(frozen=True)
class Standing:
    """How far it has come."""

    n_done: int
    """Files graded, those of an earlier run among them."""
    n_files: int
    row: Row | None = None
    """A submission of which all has been graded just now."""


@dataclass(frozen=True)
class Graded:
    """A class that has been graded."""

    assignment: Assignment
    rows: tuple[Row, ...]
    out: Path
    sandbox: Level
    n_graded: int
    """Files that were graded by this run."""
    n_before: int
    """Files that an earlier run had graded."""
    elapsed_s: float

    @property
    def scores_path(self) -> Path:
        """Where the scores are."""
        return self.out / SCORES

    @property
    def outcomes(self) -> dict[str, int]:
        """How often each outcome was reached, over all exercises."""
        found: dict[str, int] = {}
        for each in self.rows:
            for score in each.scores:
                found[score.outcome] = found.get(score.outcome, 0) + 1
        return found

    @property
    def n_faults(self) -> int:
        """Files that the grader failed in."""
        return self.outcomes.get(Outcome.GRADER_FAULT, 0)

    @property
    def to_rerun(self) -> tuple[Row, ...]:
        """Submissions that are to be graded again, at least in part."""
        return tuple(each for each in self.rows if each.named(Fate.RERUN))


Tell = Callable[[Standing], None]


def grade_class(
    source: Path,
    assignment_path: Path,
    curriculum: Curriculum,
    settings: Settings,
    *,
    on_standing: Tell | None = None,
    executor: Executor | None = None,
) -> Graded:
    """Grade a class, or what is left of it, and write its scores.

    Args:
        source: a folder of folders and archives, or a list of paths.
        assignment_path: what to grade, and what it is worth.
        curriculum: whose graders, targets and stubs count.
        settings: how.
        on_standing: told whenever something is done, when it is on the disk.
        executor: where checks run; on this machine by default.

    Raises:
        CurriculumError: the assignment makes no sense.
        UsageError: so do the submissions or the settings, or what is resumed was another grading.
        ProgressError: the journal can't be read or written.
        GraderFaultError: no grader starts.
    """
    started = time.monotonic()
    assignment = assignments.read(assignment_path, curriculum)
    if settings.device == "cuda" and not card_is_likely():
        raise UsageError("--device cuda: no CUDA device found", next_step="gpuprep doctor")
    _refuse_lost_tiers(assignment, curriculum)
    sandbox = _sandbox(settings.required_sandbox)
    exercises = [assigned.exercise for assigned in assignment.exercises]
    identity = Identity(assignment.hash, _hash(curriculum, assignment), __version__, settings.device, sandbox)
    found = find(source)
    with _locked(settings) as out:
        submissions = [collect(each, exercises, curriculum) for each in found]
        with Journal(out) as journal:
            noted = [_noted(each) for each in submissions]
            if journal.has_begun:
                journal.refuse_another(identity, noted)
            else:
                journal.begin(identity, noted, read_text(assignment_path))
            run = _Run(assignment, journal, on_standing or (lambda _: None))
            n_before = run.n_done
            tasks = run.left(
                [task for each in submissions for task in _tasks(each, assignment, curriculum, settings, sandbox)]
            )
            with _executor(executor, settings) as graders:
                run.through(graders, tasks)
            journal.finish()
            rows = tuple(run.row(each) for each in journal.submissions())
        write_atomically(out / SCORES, scores_csv(assignment, rows))
    return Graded(assignment, rows, out, sandbox, run.n_done - n_before, n_before, time.monotonic() - started)


@dataclass
class _Run:
    """What is being graded."""

    assignment: Assignment
    journal: Journal
    tell: Tell
    grades: dict[str, dict[str, Grade]] = field(default_factory=dict)
    """By submission and exercise."""
    n_files: int = 0
    names: dict[str, Noted] = field(default_factory=dict)
    due: dict[str, int] = field(default_factory=dict)
    """How many files of each submission are still to be graded."""

    def __post_init__(self) -> None:
        self.names = {noted.name: noted for noted in self.journal.submissions()}
        for grade in self.journal.grades():
            self.grades.setdefault(grade.submission, {})[grade.exercise_id] = grade

    @property
    def n_done(self) -> int:
        return sum(map(len, self.grades.values()))

    def row(self, noted: Noted) -> Row:
        return row(self.assignment, noted, self.grades.get(noted.name, {}))

    def left(self, tasks: Sequence[Task]) -> list[Task]:
        """Those that no run has finished."""
        self.n_files = len(tasks)
        return [task for task in tasks if task.exercise.id not in self.grades.get(task.submission, {})]

    def through(self, executor: Executor, tasks: Sequence[Task]) -> None:
        """Grade them all, and those once more in which the grader itself failed."""
        for task in tasks:
            self.due[task.submission] = self.due.get(task.submission, 0) + 1
        self.tell(Standing(self.n_done, self.n_files))
        for n_try in range(1, N_TRIES + 1):
            again: list[Task] = []
            for finished in executor.run(tasks) if tasks else ():
                if finished.fault and n_try < N_TRIES:
                    again.append(finished.task)
                else:
                    self._take(finished)
            tasks = again

    def _take(self, finished: Finished) -> None:
        task = finished.task
        name = task.submission
        grade = Grade(name, task.exercise.id, finished.tiers, finished.report, finished.fault, task.n_checks)
        self.journal.record(grade)
        self.grades.setdefault(name, {})[task.exercise.id] = grade
        self.due[task.submission] -= 1
        is_whole = not self.due[task.submission]
        self.tell(Standing(self.n_done, self.n_files, self.row(self.names[name]) if is_whole else None))


def default_jobs(device: str) -> int:
    """Files at a time: one a core; where a card may be timed one alone, since every other would disturb it."""
    return 1 if device != "cpu" and card_is_likely() else len(os.sched_getaffinity(0))


def _refuse_lost_tiers(assignment: Assignment, curriculum: Curriculum) -> None:
    """Points for a tier that an exercise doesn't have could never be had."""
    import random

    for assigned in assignment.exercises:
        if assigned.tiers == tuple(Tier):
            continue
        cases = load_grader(curriculum, assigned.exercise).cases(random.Random(0))  # noqa: S311  not the ones graded
        has = {Tier.CORRECT, *(case.tier for case in cases)}
        if lost := [tier for tier in assigned.tiers if tier not in has]:
            raise UsageError(
                f"{assigned.id} has no tier {lost[0]!r}; it has: {', '.join(tier for tier in Tier if tier in has)}",
                next_step="edit the assignment's `tiers`",
            )


def _sandbox(required: str) -> Level:
    """The strongest sandbox that there is.

    Raises:
        UsageError: that is weaker than what is required.
    """
    level = chosen_level(AUTO)
    if level is not STRONGEST_FIRST[0]:
        # A try can fail by chance, and the class would be graded in a weaker one.
        offered.cache_clear()
        level = chosen_level(AUTO)
    order = [*STRONGEST_FIRST, Level.NONE]
    if required not in tuple(Level):
        raise UsageError(f"no sandbox is called {required!r}", next_step=f"choose one of {', '.join(Level)}")
    if order.index(level) > order.index(Level(required)):
        chosen_level(required)  # says why it can't be had
    return level


def _hash(curriculum: Curriculum, assignment: Assignment) -> str:
    digest = hashlib.sha256()
    for assigned in assignment.exercises:
        digest.update(f"{assigned.id}\0{curriculum.exercise_hash(assigned.exercise)}\0".encode())
    return digest.hexdigest()


def _noted(submission: Submission) -> Noted:
    submitted = submission.submitted or datetime.now(UTC)
    return Noted(submission.name, submission.hash, submitted, submission.refused, submission.notes)


def _tasks(
    submission: Submission, assignment: Assignment, curriculum: Curriculum, settings: Settings, sandbox: Level
) -> Iterator[Task]:
    paths = store(submission, settings.out.resolve() / FILES)
    for assigned in assignment.exercises:
        if assigned.id in paths:
            path = paths[assigned.id]
            files = submission.files[assigned.id]
            contents = [files[source.name] for source in curriculum.sources(path)]
            yield Task(
                submission=submission.name,
                exercise=assigned.exercise,
                path=str(path),
                file_hash=hashlib.sha256(b"\0".join(contents)).hexdigest(),
                curriculum=str(curriculum.root.resolve()),
                device=settings.device,
                sandbox=sandbox,
                limit_s=assignment.limit_s,
                n_checks=1 + assignment.n_hidden_seeds,
            )


@contextlib.contextmanager
def _locked(settings: Settings) -> Iterator[Path]:
    """The output folder, which nobody else grades into meanwhile.

    Raises:
        UsageError: somebody does, or it holds a grading that was not asked for.
    """
    out = settings.out.resolve()
    has_journal = (out / FILE_NAME).is_file()
    if has_journal and not settings.is_resumed:
        raise UsageError(
            f"{out} holds a grading already", next_step="add --resume to go on with it, or name another --out"
        )
    if settings.is_resumed and not has_journal:
        raise UsageError(f"{out} holds no grading to resume", next_step="leave out --resume")
    try:
        out.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(out, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"{out} can't be used: {error.strerror}", next_step="name another --out") from error
    try:
        # It goes with this process, however that ends, and leaves no file.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield out
    except BlockingIOError:
        raise UsageError(f"another gpuprep grades into {out} now", next_step="wait for it") from None
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _executor(given: Executor | None, settings: Settings) -> Iterator[Executor]:
    if given is not None:
        with given:
            yield given
        return
    scratch = Path(tempfile.mkdtemp(prefix="gpuprep-grade-"))
    try:
        with LocalExecutor(settings.n_jobs or default_jobs(settings.device), scratch, settings.device) as local:
            yield local
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def by_exercise(rows: Sequence[Row]) -> Mapping[str, Mapping[str, int]]:
    """How often each outcome was reached, by exercise."""
    found: dict[str, dict[str, int]] = {}
    for each in rows:
        for score in each.scores:
            own = found.setdefault(score.exercise_id, {})
            own[score.outcome] = own.get(score.outcome, 0) + 1
    return found
