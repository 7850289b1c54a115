"""The files of an exercise for several ranks and its baseline, timed side by side on as many cards as there are."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from gpuprep.curriculum import Curriculum
from gpuprep.errors import GpuprepError
from gpuprep.exercise import Exercise
from gpuprep.grader import GroupGrader
from gpuprep.grading import lease
from gpuprep.grading.answers import Asked
from gpuprep.grading.asking import Asking, StopGradingError
from gpuprep.grading.group import WorkerGroup
from gpuprep.grading.group_speed import TIME_LIMIT_S, GroupBench
from gpuprep.grading.machine import card_uuids
from gpuprep.grading.pool import WarmPool
from gpuprep.grading.side_by_side import Comparison, Entry
from gpuprep.model import Case

SEED = 0


def compare_ranks(
    curriculum: Curriculum,
    exercise: Exercise,
    grader: GroupGrader,
    cases: Sequence[Case],
    files: Mapping[str, Path],
    on_event: Callable[[str], None],
) -> tuple[tuple[Comparison, ...], Mapping[str, str]]:
    """The cases that there are enough cards for, and the versions of what ran.

    Raises:
        GpuprepError: there are too few cards, or a file can't be run.
    """
    import torch

    n_cards = torch.cuda.device_count()
    fitting = [case for case in cases if case["world"] <= n_cards]
    if not fitting:
        needed = min(case["world"] for case in cases)
        raise GpuprepError(f"{exercise.id} needs {needed} GPUs, and there are {n_cards}", next_step="gpuprep doctor")
    with contextlib.ExitStack() as stack:
        stack.enter_context(lease.timing(card_uuids(n_cards), on_event))
        pool = stack.enter_context(WarmPool())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gpuprep-group-")))
        n_ranks = max(int(case["world"]) for case in fitting)
        groups = [
            stack.enter_context(_loaded(curriculum, exercise, grader, path, n_ranks, pool, on_event))
            for path in files.values()
        ]
        asking = Asking(exercise, curriculum, next(iter(files.values())))
        bench = GroupBench(exercise, curriculum, grader, asking, on_event, pool, folder, SEED)
        ours = stack.enter_context(bench.baseline(fitting))
        comparisons = []
        for case in fitting:
            on_event(f"timing: {case.name}")
            sides = [*((group, int(case["world"])) for group in groups), (ours, grader.baseline_ranks(case))]
            try:
                samples = bench.samples_ms(sides, Asked(grader, case, "cuda", (), str(asking.path)))
            except StopGradingError as error:
                raise GpuprepError(f"{case.name}: {error}", next_step=f"gpuprep check {exercise.id}") from error
            names = [*((name, True) for name in files), (grader.baseline, False)]
            entries = tuple(
                Entry(name, is_file, tuple(times)) for (name, is_file), times in zip(names, samples, strict=True)
            )
            comparisons.append(Comparison(case, grader.traffic(case), entries, None))
        return tuple(comparisons), groups[0].workers[0].versions


@contextlib.contextmanager
def _loaded(
    curriculum: Curriculum,
    exercise: Exercise,
    grader: GroupGrader,
    path: Path,
    n_ranks: int,
    pool: WarmPool,
    on_event: Callable[[str], None],
) -> Iterator[WorkerGroup]:
    on_event(f"loading {path.name} on {n_ranks} ranks")
    with WorkerGroup("cuda", n_ranks, path, pool) as group:
        group.wait_until_ready()
        request = {
            "do": "load",
            "path": str(path.resolve()),
            "function": grader.function,
            "driver": str(curriculum.driver_path(exercise)),
        }
        answers = group.ask_all(request, TIME_LIMIT_S, "while it was being imported")
        if answers[0]["status"] != "loaded":
            raise GpuprepError(f"{path} can't be timed", next_step=f"gpuprep check {exercise.id}")
        yield group
