"""`gpuprep grade`: from a class's submissions to `scores.csv`, whatever stops it on the way."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gpuprep import __version__
from gpuprep.classroom import assignment as assignments
from gpuprep.classroom.assignment import Assignment
from gpuprep.classroom.executor import Executor, Task
from gpuprep.classroom.hidden import refuse_senseless_shapes
from gpuprep.classroom.journal import FILE_NAME, Identity, Journal, Noted
from gpuprep.classroom.local import LocalExecutor
from gpuprep.classroom.locking import locked
from gpuprep.classroom.run import SCORES, Graded, Run, Standing, Tell
from gpuprep.classroom.scoring import Row, scores_csv
from gpuprep.classroom.scratch import own_folder
from gpuprep.classroom.submissions import Found, Submission, collect, find, left_out, store
from gpuprep.confinement.permits import STRONGEST_FIRST, Level
from gpuprep.curriculum import Curriculum, default_root
from gpuprep.errors import UsageError
from gpuprep.grading.card import Card, card_is_likely, visible_cards
from gpuprep.grading.confining import AUTO, chosen_level, offered
from gpuprep.grading.loading import load_grader
from gpuprep.model import Tier
from gpuprep.workspace import write_atomically
from gpuprep.yaml_nodes import read_text

FILES = "graded"
"""Where a class's files lie as they were graded."""
JOB_BYTES = 4 * 2**30
"""Of a card's memory for each grader on it: three processes with the card's libraries, and a case's tensors."""

__all__ = ["Graded", "Settings", "Standing", "Tell", "by_exercise", "grade_class"]


@dataclass(frozen=True)
class Settings:
    """How to grade a class."""

    out: Path
    n_jobs: int | None = None
    """Files at a time; None for one a core."""
    is_resumed: bool = False
    device: str = "auto"
    required_sandbox: str = Level.NONE
    """The weakest that will do. The strongest that this machine offers is used in any case."""
    is_elsewhere: bool = False
    """Other machines grade: what this one has, and offers, says nothing of them."""


def grade_class(
    source: Path | Found,
    assignment_path: Path,
    curriculum: Curriculum,
    settings: Settings,
    *,
    on_standing: Tell | None = None,
    executor: Executor | None = None,
) -> Graded:
    """Grade a class, or what is left of it, and write its scores.

    Args:
        source: a folder of folders and archives, a list of paths, or one submission by itself.
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
    if settings.device == "cuda" and not settings.is_elsewhere and not card_is_likely():
        raise UsageError("--device cuda: no CUDA device found", next_step="gpuprep doctor")
    _refuse_lost_tiers(assignment, assignment_path, curriculum)
    refuse_senseless_shapes(assignment, assignment_path, curriculum)
    sandbox = sandbox_for(settings)
    exercises = [assigned.exercise for assigned in assignment.exercises]
    exercises_hash = assignments.hash_of(curriculum, exercises)
    identity = Identity(assignment.hash, exercises_hash, __version__, settings.device, sandbox)
    found = (source,) if isinstance(source, Found) else find(source)
    if isinstance(source, Path) and source.is_dir() and settings.out.resolve().is_relative_to(source.resolve()):
        raise UsageError(
            f"{settings.out} lies among the submissions, and would be taken for one", next_step="name another --out"
        )
    with _locked(settings) as out:
        submissions = [collect(each, exercises, curriculum) for each in found]
        with Journal(out) as journal:
            noted = [_noted(each) for each in submissions]
            if journal.has_begun:
                journal.refuse_another(identity, noted)
            else:
                root = curriculum.root.resolve()
                named = root if root != default_root().resolve() else None
                journal.begin(identity, noted, read_text(assignment_path), named)
            run = Run(assignment, journal, on_standing or (lambda _: None))
            every = [
                task
                for each in submissions
                for task in tasks_of(each, assignment, curriculum, out, device=settings.device, sandbox=sandbox)
            ]
            tasks = [task for task in every if task.exercise.id not in run.grades.get(task.submission, {})]
            n_before = len(every) - len(tasks)
            with executor_for(executor, settings, assignment, sandbox) as graders:
                run.through(graders, tasks, n_before)
            journal.finish()
            rows = run.rows()
        write_atomically(out / SCORES, scores_csv(assignment, rows))
    elapsed_s = time.monotonic() - started
    own_name = assignment_path.name if isinstance(source, Path) and assignment_path.parent == source else ""
    others = tuple(name for name in left_out(source) if name != own_name) if isinstance(source, Path) else ()
    return Graded(assignment, rows, out, sandbox, len(tasks), n_before, elapsed_s, left_out=others)


def default_jobs(cards: Sequence[Card] = ()) -> int:
    """Files at a time: one a core, and no more than the cards have memory for. Only one at a time is timed on each."""
    n_cores = len(os.sched_getaffinity(0))
    n_fitting = sum(max(1, card.n_bytes // JOB_BYTES) for card in cards)
    return min(n_cores, n_fitting) if cards else n_cores


def _refuse_lost_tiers(assignment: Assignment, path: Path, curriculum: Curriculum) -> None:
    """Points for a tier that an exercise doesn't have could never be had."""
    import random

    for assigned in assignment.exercises:
        if assigned.tiers == tuple(Tier):
            continue
        cases = load_grader(curriculum, assigned.exercise).cases(random.Random(0))  # noqa: S311  not the ones graded
        has = {Tier.CORRECT, *(case.tier for case in cases)}
        if lost := [tier for tier in assigned.tiers if tier not in has]:
            known = ", ".join(tier for tier in Tier if tier in has)
            raise UsageError(
                f"{path}: {assigned.id} has no tier {lost[0].value!r}; it has: {known}",
                next_step=f"edit {path}: leave that out of its `tiers`",
            )


def sandbox_for(settings: Settings) -> Level:
    """The sandbox to grade in: the strongest of this machine, or for other machines just what is required of them.

    Raises:
        UsageError: this machine offers less than is required.
    """
    if settings.is_elsewhere and settings.required_sandbox != Level.NONE:
        return Level(settings.required_sandbox)
    return chosen_sandbox(settings.required_sandbox)


def chosen_sandbox(required: str) -> Level:
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


def _noted(submission: Submission) -> Noted:
    submitted = submission.submitted or datetime.now(UTC)
    return Noted(submission.name, submission.hash, submitted, submission.refused, submission.notes)


def tasks_of(
    submission: Submission, assignment: Assignment, curriculum: Curriculum, out: Path, *, device: str, sandbox: Level
) -> Iterator[Task]:
    """What there is to grade of a submission; its files are written below `out`."""
    paths = store(submission, out / FILES)
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
                device=device,
                sandbox=sandbox,
                limit_s=assignment.limit_s,
                n_checks=assignment.n_checks(assigned),
                shapes=tuple(dict(each.shape) for each in assigned.shapes),
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
    if not has_journal and (strange := next((name for name in (SCORES, FILES) if (out / name).exists()), None)):
        raise UsageError(f"{out / strange} is of no grading, and would be written over", next_step="name another --out")
    if settings.is_resumed and not has_journal:
        raise UsageError(f"{out} holds no grading to resume", next_step="leave out --resume")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{out} can't be used: {error.strerror}", next_step="name another --out") from error
    with locked(out):
        yield out


@contextlib.contextmanager
def executor_for(
    given: Executor | None, settings: Settings, assignment: Assignment, sandbox: Level
) -> Iterator[Executor]:
    """Where checks run: what was given, or graders on this machine, which share out its cards among them."""
    if given is not None:
        with given:
            yield given
        return
    cards = visible_cards() if settings.device != "cpu" and card_is_likely() else ()
    # Ranks on cards of their own need all of them; in a sandbox they get none.
    has_ranks = any(assigned.exercise.language == "distributed" for assigned in assignment.exercises)
    shown = shown_cards(cards, is_together=has_ranks and sandbox is Level.NONE)
    with (
        own_folder() as scratch,
        LocalExecutor(settings.n_jobs or default_jobs(cards), scratch, settings.device, shown) as local,
    ):
        yield local


def shown_cards(cards: Sequence[Card], *, is_together: bool) -> tuple[str, ...]:
    """What graders in turn are given as CUDA_VISIBLE_DEVICES; nothing where one card is all there is.

    Args:
        cards: those that there are.
        is_together: each sees the others, too, after its own.
    """
    names = [card.uuid for card in cards]
    if len(names) < 2:
        return ()
    if is_together:
        return tuple(",".join(names[place:] + names[:place]) for place in range(len(names)))
    return tuple(names)


def by_exercise(rows: Sequence[Row]) -> Mapping[str, Mapping[str, int]]:
    """How often each outcome was reached, by exercise."""
    found: dict[str, dict[str, int]] = {}
    for each in rows:
        for score in each.scores:
            own = found.setdefault(score.exercise_id, {})
            own[score.outcome] = own.get(score.outcome, 0) + 1
    return found
