"""Checks an exercise for several ranks: a group of processes on gloo, and, with a card for each, on NCCL.

One process is one rank. Every rank gets its own shard of the inputs, and every rank's outputs are judged.
"""

from __future__ import annotations

import contextlib
import random
import secrets
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gpuprep.curriculum import Curriculum
from gpuprep.errors import UsageError
from gpuprep.exercise import Exercise
from gpuprep.grader import Draw, Expected, Grader, GroupGrader
from gpuprep.grading import lease
from gpuprep.grading.answers import Asked, result_of
from gpuprep.grading.asking import Asking, StopGradingError
from gpuprep.grading.confining import Cell
from gpuprep.grading.group import RankFailedError, WorkerGroup
from gpuprep.grading.group_speed import GroupBench
from gpuprep.grading.loading import case_seed
from gpuprep.grading.machine import card_uuids
from gpuprep.grading.message_order import order_fault
from gpuprep.grading.pool import WarmPool
from gpuprep.grading.signature import judge_import
from gpuprep.grading.verdict import Graded
from gpuprep.grading.work import budget_fault
from gpuprep.model import Budget, Case, CaseResult, Outcome, Tier, Timing

CALL_LIMIT_S = {"cpu": 8.0, "cuda": 60.0}
"""For one call of all ranks: milliseconds on a CPU, so that a deadlock is soon told; NCCL's first takes seconds."""


class RankGrader(Grader):
    """One rank's view of a case: its part of what must come back, its budgets.

    Args:
        grader: of the whole.
        case: the case.
        args: the whole's arguments.
        rank: whose view it is.
    """

    def __init__(self, grader: GroupGrader, case: Case, args: Sequence[Any], rank: int) -> None:
        self.function = grader.function  # type: ignore[misc]  # what a class says of itself elsewhere
        self.parameters = grader.parameters  # type: ignore[misc]
        self.allowed_ops = grader.allowed_ops  # type: ignore[misc]
        self._grader, self._args, self._rank = grader, args, rank
        self._whole: tuple[Expected, ...] = grader.oracle(case, *args)

    def cases(self, rng: random.Random) -> Sequence[Case]:
        """The whole's."""
        return self._grader.cases(rng)

    def inputs(self, case: Case, draw: Draw) -> tuple[Any, ...]:
        """This rank's shard."""
        return self._grader.shard(case, self._grader.inputs(case, draw), self._rank)

    def oracle(self, case: Case, *args: Any) -> tuple[Expected, ...]:  # noqa: ARG002  what a rank was given isn't all
        """What must come back from this rank."""
        n_outputs = len(self._whole) // int(case["world"])
        return self._whole[self._rank * n_outputs : (self._rank + 1) * n_outputs]

    def honest(self, case: Case, *args: Any, order: Any = None) -> tuple[Any, ...]:
        """There is none for one rank alone."""
        raise NotImplementedError

    def error_model(self, case: Case) -> Any:
        """The whole's."""
        return self._grader.error_model(case)

    def argument_names(self, case: Case) -> tuple[str, ...]:
        """The whole's."""
        return self._grader.argument_names(case)

    def output_names(self, case: Case) -> tuple[str, ...]:
        """The whole's."""
        return self._grader.output_names(case)

    def own_part(self, case: Case, place: int) -> Any:
        """What `honest` makes of this rank's terms of the sum, where that is a sum over ranks."""
        import torch

        n_outputs, world = len(self._whole) // int(case["world"]), int(case["world"])
        if world == 1 or self._grader.reduction_size(case) != world:
            return None
        exact = [arg.double() if torch.is_tensor(arg) and arg.is_floating_point() else arg for arg in self._args]
        try:
            own = self._grader.honest(case, *exact, order=torch.tensor([self._rank]))
        except Exception:  # noqa: BLE001  a grader answers for whole orders only, and this is just a guess
            return None
        return own[self._rank * n_outputs + place]

    def budgets(self, case: Case) -> tuple[Budget, ...]:
        """This rank's."""
        return self._grader.rank_budgets(case, self._rank)

    def uses_kernels(self, case: Case) -> bool:
        """The whole's."""
        return self._grader.uses_kernels(case)


@dataclass
class GroupSession:
    """One check of one file.

    Args:
        exercise: what is checked.
        curriculum: where its grader lies.
        path: the learner's file.
        device: `auto`, `cpu` or `cuda`.
        asking: makes sense of what goes wrong.
        on_event: gets a few words whenever something starts.
        cell: how the ranks are confined.
        pool: forks the workers; one of our own without it.
        world: the only number of ranks to check with; all that the grader has without it.
    """

    exercise: Exercise
    curriculum: Curriculum
    path: Path
    device: str
    asking: Asking
    on_event: Callable[[str], None]
    cell: Cell
    pool: WarmPool | None = None
    world: int | None = None
    seed: int = field(default_factory=lambda: secrets.randbits(48))
    results: list[CaseResult] = field(default_factory=list)
    timings: tuple[Timing, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    why_no_speed: str = ""
    card: str = "cpu"
    output: str = ""

    def run(self, grader: GroupGrader, cases: Sequence[Case]) -> Graded:
        """Grade with gloo, then, where nothing failed and there are cards, with NCCL.

        Args:
            grader: the exercise's.
            cases: all of them, of every number of ranks.

        Raises:
            UsageError: there is no case for the number of ranks, or too few cards for what was asked.
        """
        self.on_event("starting")
        cases = self._of_this_world(cases)
        stop = None
        with contextlib.ExitStack() as stack:
            pool = self.pool or stack.enter_context(WarmPool())
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gpuprep-group-")))
            n_cards = self._count_cards(cases)
            if n_cards and (why := self.cell.why_no_cards()):
                n_cards, self.why_no_speed = 0, why
            try:
                self._grade_on("cpu", pool, folder, grader, [case for case in cases if "cpu" in case.devices])
                if n_cards and not any(result.outcome.is_failure for result in self.results):
                    self._grade_on_cards(n_cards, pool, folder, grader, cases)
            except StopGradingError as error:
                stop = error.stop
        return Graded(
            results=tuple(self.results),
            tiers=frozenset(case.tier for case in cases),
            timings=self.timings,
            why_no_speed=self.why_no_speed,
            stop=stop,
            device=self.card,
            versions=self.versions,
            seed=self.seed,
            stdout=self.output,
        )

    def _of_this_world(self, cases: Sequence[Case]) -> Sequence[Case]:
        worlds = sorted({case["world"] for case in cases})
        if self.world is None:
            return cases
        if self.world not in worlds:
            raise UsageError(
                f"--world {self.world}: {self.exercise.id} is checked with {', '.join(map(str, worlds))} ranks",
                next_step=f"gpuprep check {self.exercise.id} --world {worlds[-1]}",
            )
        return [case for case in cases if case["world"] == self.world]

    def _count_cards(self, cases: Sequence[Case]) -> int:
        """How many there are to be used; if speed can't be graded with them, why not."""
        import torch

        n_cards = torch.cuda.device_count() if self.device != "cpu" and torch.cuda.is_available() else 0
        needed = min((case["world"] for case in cases if case.tier is Tier.SPEED), default=0)
        if self.device == "cuda" and n_cards < min(case["world"] for case in cases):
            raise UsageError(f"--device cuda: {n_cards} cards found", next_step="gpuprep doctor")
        if self.device == "cpu":
            self.why_no_speed = "--device cpu was asked for; ranks ran on gloo"
        elif n_cards < needed:
            found = "no GPU" if n_cards == 0 else "one GPU" if n_cards == 1 else f"{n_cards} GPUs"
            self.why_no_speed = f"{found} found, {needed} are needed: ranks ran on gloo"
        if n_cards:
            self.card = torch.cuda.get_device_name(0) + (f" × {n_cards}" if n_cards > 1 else "")
        return n_cards

    @contextlib.contextmanager
    def _group(self, device: str, n_ranks: int, pool: WarmPool, folder: Path, grader: Grader) -> Iterator[WorkerGroup]:
        with (
            self.cell.for_group(device, folder) as bounds,
            WorkerGroup(device, n_ranks, self.path, pool, bounds=bounds) as group,
        ):
            group.wait_until_ready()
            self.versions.update(group.workers[0].versions)
            try:
                self._load(group, grader)
                yield group
            finally:
                self.output += group.output()

    def _load(self, group: WorkerGroup, grader: Grader) -> None:
        self.on_event(f"{group.device}: loading {self.path.name} on {len(group.workers)} ranks")
        driver = self.curriculum.driver_path(self.exercise)
        request = {
            "do": "load",
            "path": str(self.path.resolve()),
            "function": grader.function,
            "driver": str(driver) if driver else None,
        }
        answers = group.ask_all(request, self.asking.limit_s(group.device), "while it was being imported")
        with self.asking.making_sense_of("the import"):
            judge_import(self.path, grader, answers[0])

    def _grade_on(self, device: str, pool: WarmPool, folder: Path, grader: GroupGrader, cases: Sequence[Case]) -> None:
        if not cases:
            return
        if why := self.cell.why_no_group():
            self.results += [CaseResult(case, device, Outcome.SKIPPED, why) for case in cases]
            return
        # By the number of ranks: those of a smaller group are the first of the largest.
        with self._group(device, max(case["world"] for case in cases), pool, folder, grader) as group:
            world = 0
            for place, case in enumerate(sorted(cases, key=lambda case: case["world"]), start=1):
                self.on_event(f"{device}: case {place} of {len(cases)}: {case.name}")
                if case["world"] != world:
                    world = case["world"]
                    group.join(world, folder)
                try:
                    self.results.append(self._grade_case(group, grader, case))
                except StopGradingError as error:
                    stop = error.stop
                    self.results.append(CaseResult(case, device, stop.outcome, stop.message, where=stop.where))
                    raise

    def _grade_case(self, group: WorkerGroup, grader: GroupGrader, case: Case) -> CaseResult:
        args = grader.inputs(case, Draw(case_seed(self.seed, case)))
        shards = [grader.shard(case, args, rank) for rank in range(case["world"])]
        asked = [
            Asked(RankGrader(grader, case, args, rank), case, group.device, shard, str(self.path))
            for rank, shard in enumerate(shards)
        ]
        limit_s = self.asking.timeout_s or CALL_LIMIT_S[group.device]
        requests = [{"do": "call", "args": shard, "reverse": False, "limit_s": limit_s} for shard in shards]
        try:
            answers = group.ask(requests, limit_s, f"in case {case.name}")
        except RankFailedError as failed:
            # The group is gone with those who waited, and so is the check.
            result = result_of(asked[failed.rank], failed.answer)
            message = f"rank {failed.rank}: {result.message} (meanwhile {failed.waiting} waited for it)"
            raise StopGradingError(result.outcome, message, result.where) from None
        with self.asking.making_sense_of(case.name):
            told = list(zip(asked, answers, strict=True))
            results = [result_of(rank_asked, answer) for rank_asked, answer in told]
            if all(result.outcome.is_pass for result in results):
                if group.device == "cpu" and (fault := order_fault(asked, answers)):
                    return fault
                # Only then: a rank that does too little shows in what others have.
                results = [
                    budget_fault(rank_asked, answer, result) or result
                    for (rank_asked, answer), result in zip(told, results, strict=True)
                ]
        return _worst(results)

    def _grade_on_cards(
        self, n_cards: int, pool: WarmPool, folder: Path, grader: GroupGrader, cases: Sequence[Case]
    ) -> None:
        fitting = [case for case in cases if "cuda" in case.devices and case["world"] <= n_cards]
        with lease.using(card_uuids(n_cards), self.on_event):
            self._grade_on("cuda", pool, folder, grader, [case for case in fitting if case.tier is Tier.CORRECT])
        # Of each operation the first, which is the largest.
        speed_cases = [case for case in fitting if case.tier is Tier.SPEED]
        timed = list({case.op: case for case in reversed(speed_cases)}.values())[::-1]
        if not timed or any(result.outcome.is_failure for result in self.results):
            return
        bench = GroupBench(self.exercise, self.curriculum, grader, self.asking, self.on_event, pool, folder, self.seed)
        with (
            lease.timing(card_uuids(n_cards), self.on_event),
            self._group("cuda", max(case["world"] for case in timed), pool, folder, grader) as group,
        ):
            measured = bench.measure(group, timed, self.card)
        self.timings = measured.timings
        self.results.extend(measured.results)
        left_out = sorted({case["world"] for case in cases if case.tier is Tier.SPEED and case not in fitting})
        if left_out:
            self.why_no_speed = f"{n_cards} GPUs found: not timed on {' and '.join(map(str, left_out))}"


def _worst(results: Sequence[CaseResult]) -> CaseResult:
    """The result of the rank that fails first by precedence, named; where all pass, that of rank 0."""
    worst = min(results, key=lambda result: result.outcome.precedence)
    if worst.outcome.is_pass:
        return results[0]
    ranks = [rank for rank, result in enumerate(results) if result.outcome is worst.outcome]
    if len(results) == 1:
        return worst
    every = len(ranks) == len(results)
    named = "every rank" if every else f"rank {ranks[0]}" if len(ranks) == 1 else f"ranks {', '.join(map(str, ranks))}"
    return replace(worst, message=f"{named}{'' if every else f' of {len(results)}'}: {worst.message}")
