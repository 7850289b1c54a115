"""The speed of several ranks together: a call takes as long as its slowest rank, and a baseline of ours says what for.

The learner's group and the baseline's take turns on the same cards, in processes of their own. Both make the same
arguments from one seed, which the learner's learns when it is to make them. Afterwards some elements of both results
are compared, drawn when the calls are over. The times are the ranks' own: there is no audit across several cards.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpuprep.curriculum import Curriculum
from gpuprep.exercise import Exercise, Target
from gpuprep.grader import GroupGrader
from gpuprep.grading.answers import Asked
from gpuprep.grading.asking import Asking, StopGradingError
from gpuprep.grading.group import RankFailedError, WorkerGroup
from gpuprep.grading.pool import WarmPool
from gpuprep.grading.raising import raised
from gpuprep.grading.speed_tier import Measured
from gpuprep.model import Case, CaseResult, Measurement, Outcome, Timing
from gpuprep.worker.timing import median_interval

N_TURNS = 3
N_SAMPLES = 10
"""Each side's, a turn."""
TIME_LIMIT_S = 180.0
N_COMPARED = 4096
CLOSE = 0.02
"""How far elements may lie apart, by their typical size: correctness was judged elsewhere, this is for results that
only the timed size gets wrong."""
UNAUDITED = "the time is that of the ranks' own clocks: across several cards there is no audit"


@dataclass(frozen=True)
class GroupBench:
    """What the timed cases of one check share."""

    exercise: Exercise
    curriculum: Curriculum
    grader: GroupGrader
    asking: Asking
    on_event: Callable[[str], None]
    pool: WarmPool
    folder: Path
    seed: int

    def measure(self, learners: WorkerGroup, cases: Sequence[Case], card: str) -> Measured:
        """Time the learner's ranks and the baseline's in turn.

        Args:
            learners: has the learner's file loaded.
            cases: those with as many cards as ranks.
            card: their name.

        Raises:
            StopGradingError: a rank of the learner's died, hung or raised.
        """
        results: list[CaseResult] = []
        timings: list[Timing] = []
        with self.baseline(cases) as ours:
            for case in cases:
                self.on_event(f"timing: {case.name}")
                asked = Asked(self.grader, case, "cuda", (), str(self.asking.path))
                with self.asking.making_sense_of(case.name):
                    fault, timing = self._time(learners, ours, asked, card)
                results.append(fault or asked.passed())
                if fault is not None:
                    return Measured(tuple(results))
                timings.extend(filter(None, [timing]))
        return Measured(tuple(results), tuple(timings))

    @contextlib.contextmanager
    def baseline(self, cases: Sequence[Case]) -> Iterator[WorkerGroup]:
        """Ranks that have the driver loaded, and nothing of the learner's."""
        n_ranks = max(self.grader.baseline_ranks(case) for case in cases)
        with WorkerGroup("cuda", n_ranks, self.asking.path, self.pool, is_trusted=True) as ours:
            ours.wait_until_ready()
            driver = str(self.curriculum.driver_path(self.exercise))
            ours.ask_all({"do": "load", "path": "", "function": "", "driver": driver}, TIME_LIMIT_S, "while loading")
            yield ours

    def samples_ms(self, sides: Sequence[tuple[WorkerGroup, int]], asked: Asked) -> list[list[float]]:
        """Times of some groups on one case, in turn: milliseconds a call, those of the slowest rank.

        Args:
            sides: the groups, and how many of their ranks take part.
            asked: the case.
        """
        made = {"do": "make", "params": dict(asked.case.params), "seed": self.seed}
        samples: list[list[float]] = [[] for _ in sides]
        for group, n_ranks in sides:
            group.join(n_ranks, self.folder)
            self._ask(group, made, n_ranks, asked)
        for _ in range(N_TURNS):
            for (group, n_ranks), times in zip(sides, samples, strict=True):
                answers = self._ask(group, {"do": "time_together", "n_samples": N_SAMPLES}, n_ranks, asked)
                times.extend(map(max, zip(*(answer["samples_ms"] for answer in answers), strict=True)))
        return samples

    def _time(
        self, learners: WorkerGroup, ours: WorkerGroup, asked: Asked, card: str
    ) -> tuple[CaseResult | None, Timing | None]:
        case = asked.case
        sides = ((learners, int(case["world"])), (ours, self.grader.baseline_ranks(case)))
        samples = self.samples_ms(sides, asked)
        if wrong := self._differ(sides, asked):
            return asked.failed(Outcome.WRONG_VALUES, wrong), None
        low_ms, median_ms, high_ms = median_interval(samples[0])
        figures = tuple(self._figure(target, samples) for target in self.exercise.targets if target.of == case.op)
        n_samples = len(samples[0])
        return None, Timing(
            case, card, median_ms, low_ms, high_ms, n_samples, figures, claimed_ms=median_ms, notes=(UNAUDITED,)
        )

    def _figure(self, target: Target, samples: Sequence[Sequence[float]]) -> Measurement:
        low_ms, median_ms, high_ms = median_interval(samples[0])
        best_ms = median_interval(samples[1])[1]
        detail = f"{self.grader.baseline} takes {best_ms:.3f} ms"
        return Measurement(target, best_ms / median_ms, best_ms / high_ms, best_ms / low_ms, detail)

    def _differ(self, sides: Sequence[tuple[WorkerGroup, int]], asked: Asked) -> str:
        """Which rank's result is none; empty where all are the baseline's."""
        places = random.SystemRandom().sample(range(2**40), N_COMPARED)
        found = [self._ask(group, {"do": "take", "places": places}, n_ranks, asked) for group, n_ranks in sides]
        theirs, wanted = ([answer["values"] for answer in answers] for answers in found)
        for rank, outputs in enumerate(theirs):
            for output, want in zip(outputs, wanted[rank % len(wanted)], strict=True):
                room = CLOSE * (want.abs() + want.square().mean().sqrt())
                n_wrong = int((~((output - want).abs() <= room)).sum())
                if n_wrong:
                    return (
                        f"rank {rank}: {n_wrong} of {N_COMPARED} elements of a timed result are not those of "
                        f"{self.grader.baseline}"
                    )
        return ""

    def _ask(self, group: WorkerGroup, request: dict[str, Any], n_ranks: int, asked: Asked) -> list[dict[str, Any]]:
        try:
            answers = group.ask_all(request, TIME_LIMIT_S, f"while {asked.case.name} was timed", n_ranks)
        except RankFailedError as failed:
            answers = [failed.answer]
        for answer in answers:
            if answer["status"] == "raised":
                fault = raised(asked, answer)
                raise StopGradingError(fault.outcome, fault.message, fault.where)
        return answers
