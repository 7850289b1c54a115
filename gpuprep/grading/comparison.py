"""A learner's function and what else there is for the job, timed side by side: burst by burst in turn, in one run.

These are times, not verdicts: nothing is judged here, and the learner's are what its own process says. `check` audits.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from gpuprep.curriculum import Curriculum
from gpuprep.errors import GpuprepError
from gpuprep.exercise import Exercise
from gpuprep.grader import Draw, Grader, GroupGrader
from gpuprep.grading import lease
from gpuprep.grading.asking import Asking, StopGradingError
from gpuprep.grading.audit import buffered
from gpuprep.grading.baselines import Burst, made_ready
from gpuprep.grading.ceilings import DTYPES, SPACING_S, Ceilings, calibrate
from gpuprep.grading.group_comparison import compare_ranks
from gpuprep.grading.loading import case_seed, load_grader
from gpuprep.grading.machine import card_uuids
from gpuprep.grading.process import WorkerProcess
from gpuprep.grading.side_by_side import Compared as Compared
from gpuprep.grading.side_by_side import Comparison as Comparison
from gpuprep.grading.side_by_side import Entry as Entry
from gpuprep.grading.speed_tier import fits
from gpuprep.model import Case, Tier

N_ROUNDS = 5
"""Everybody gets a burst in each."""
BURST_CAP_S = 0.1
N_SETS = 3
SEED = 0
"""Nothing is judged, so the inputs need not be secret, and two runs may have the same."""


def compare(
    curriculum: Curriculum,
    exercise: Exercise,
    files: Mapping[str, Path],
    *,
    on_event: Callable[[str], None],
    is_sweep: bool = False,
) -> Compared:
    """Time an exercise's files and its baselines on the current card.

    Args:
        curriculum: holds the grader.
        exercise: whose timed cases are run.
        files: what to time, by the name that it gets in the result.
        on_event: gets a few words whenever something starts.
        is_sweep: smaller sizes of each operation, too.

    Raises:
        GpuprepError: there is no card, nothing of the exercise is timed, or a file can't be run.
        UnstableCardError: the card's own rates vary too much.
    """
    import torch

    if not torch.cuda.is_available():
        raise GpuprepError("no GPU to time anything on", next_step="gpuprep doctor")
    grader = load_grader(curriculum, exercise)
    cases = [case for case in grader.cases(random.Random(SEED)) if case.tier is Tier.SPEED]  # noqa: S311  sizes
    if not cases:
        raise GpuprepError(
            f"{exercise.id} has no speed tier: there is nothing to time", next_step=f"gpuprep check {exercise.id}"
        )
    if isinstance(grader, GroupGrader):
        compared, seen = compare_ranks(curriculum, exercise, grader, cases, files, on_event)
        return Compared(exercise, compared, torch.cuda.get_device_name(0), seen)
    with contextlib.ExitStack() as stack:
        stack.enter_context(lease.timing(card_uuids(), on_event))
        on_event("calibrating this card")
        ceilings = calibrate(sorted({grader.traffic(case).dtype for case in cases} & set(DTYPES)), anew=False)
        runners = [
            stack.enter_context(_loaded(curriculum, exercise, grader, name, path, on_event))
            for name, path in files.items()
        ]
        comparisons = []
        fitting = [case for case in cases if fits(grader, case)]
        for case in swept(grader, fitting) if is_sweep else fitting:
            on_event(f"timing: {case.name}")
            comparisons.append(_compared(grader, case, ceilings, runners))
        versions = {**runners[0].worker.versions} if runners else {}
    if not comparisons:
        raise GpuprepError(f"{exercise.id}: no case fits this card's free memory", next_step="nvidia-smi")
    return Compared(exercise, tuple(comparisons), ceilings.card, versions)


def swept(grader: Grader, cases: Sequence[Case]) -> list[Case]:
    """The cases, and below each operation's first the smaller sizes of it that are not among them."""
    found: dict[str, Case] = {}
    seen_ops: set[str] = set()
    for case in cases:
        found[case.name] = case
        if case.op not in seen_ops:
            seen_ops.add(case.op)
            found |= {smaller.name: smaller for smaller in grader.sweep(case)}
    return list(found.values())


@dataclass(frozen=True)
class _Runner:
    """A worker that has one file loaded."""

    name: str
    worker: WorkerProcess
    asking: Asking

    def burst(self, request: Mapping[str, Any], space_s: float) -> list[float]:
        request = {**request, "cap_s": BURST_CAP_S, "space_s": space_s}
        return [float(sample) for sample in self._ask(request, "timed")["samples_ms"]]

    def put_away(self) -> None:
        self._ask({"do": "put_away"}, "put_away")

    def load(self, grader: Grader, driver: Path | None) -> None:
        request = {
            "path": str(self.asking.path),
            "function": grader.function,
            "driver": str(driver) if driver else None,
        }
        self._ask({"do": "load", **request}, "loaded")

    def _ask(self, request: dict[str, Any], wanted: str) -> dict[str, Any]:
        next_step = f"gpuprep check {self.asking.exercise.id}"
        try:
            answer = self.asking.ask(self.worker, request, self.asking.deadline("cuda"), "while it was timed")
        except StopGradingError as error:
            raise GpuprepError(f"{self.asking.path}: {error.stop.message}", next_step=next_step) from error
        if answer["status"] != wanted:
            what = answer.get("message") or f"there is no {request.get('function', 'function')}()"
            raise GpuprepError(f"{self.asking.path} can't be timed: {what}", next_step=next_step)
        return answer


@contextlib.contextmanager
def _loaded(
    curriculum: Curriculum,
    exercise: Exercise,
    grader: Grader,
    name: str,
    path: Path,
    on_event: Callable[[str], None],
) -> Iterator[_Runner]:
    on_event(f"loading {path.name}")
    with WorkerProcess("cuda") as worker:
        worker.wait_until_ready()
        runner = _Runner(name, worker, Asking(exercise, curriculum, path.resolve()))
        runner.load(grader, curriculum.driver_path(exercise))
        yield runner


def _compared(grader: Grader, case: Case, ceilings: Ceilings, runners: Sequence[_Runner]) -> Comparison:
    import torch

    sets = [grader.inputs(case, Draw(case_seed(SEED + number, case), "cuda")) for number in range(N_SETS)]
    blank = Comparison(case, grader.traffic(case), (), ceilings)
    # Where a matmul draws full power, all of them rest between samples, so that they meet the same clocks.
    space_s = SPACING_S if blank.is_compute_bound else 0.0
    with buffered(sets) as (buffer, calls):
        shared = {"handle": buffer.handle().hex(), "bytes": buffer.n_bytes, "calls": calls}
        entries: list[Entry] = []
        bursts: list[Burst | None] = []
        for runner in runners:
            first = runner.burst({"do": "time", "sets": shared}, space_s)
            entries.append(Entry(runner.name, is_file=True, samples_ms=tuple(first)))
            bursts.append(partial(runner.burst, {"do": "again"}, space_s))
        for baseline in grader.baselines(case):
            ready = made_ready(baseline, sets, cap_s=BURST_CAP_S, space_s=space_s)
            entries.append(Entry(baseline.title, is_file=False, why_not=ready.why_not))
            bursts.append(ready.burst)
        for _ in range(N_ROUNDS):
            for place, burst in enumerate(bursts):
                if burst is not None:
                    entry = entries[place]
                    entries[place] = replace(entry, samples_ms=(*entry.samples_ms, *burst()))
        del bursts
        for runner in runners:
            runner.put_away()
    del sets
    torch.cuda.empty_cache()
    return replace(blank, entries=tuple(entries))
