"""The counting worker of one check: started when it is needed, and asked about what the learner's worker passed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gpuprep.grading.answers import Answer, Asked
from gpuprep.grading.asking import Asking, StopGradingError
from gpuprep.grading.process import WorkerProcess
from gpuprep.grading.witnessed import Call, witnessed_result
from gpuprep.model import CaseResult, Outcome, Tier


@dataclass(frozen=True)
class _Waiting:
    """A case that the learner's worker passed."""

    place: int
    """Among the results."""
    asked: Asked
    told: Answer
    draw: Callable[[], Sequence[Any]]
    call: Call


@dataclass
class Witnessing:
    """The counting worker, and the cases that wait for it.

    Args:
        asking: how the check asks its workers.
        start: starts it.
        cache: where it keeps what it compiles, made for this check.
    """

    asking: Asking
    start: Callable[[], WorkerProcess]
    cache: str
    why_not: str = ""
    """What it could not follow; else empty."""
    _worker: WorkerProcess | None = None
    _waiting: list[_Waiting] = field(default_factory=list)

    def begin(self) -> None:
        """Start it now: started cold, it imports while the learner's worker does."""
        self._worker = self._worker or self.start()

    def add(self, place: int, asked: Asked, told: Answer, draw: Callable[[], Sequence[Any]], call: Call) -> None:
        """Have it look at a case when all have been called.

        Args:
            place: of the case's result among all.
            asked: the case as the learner's worker was asked it.
            told: its answer, with its recipe.
            draw: makes the same case's arguments from another seed.
            call: has the learner's worker called again.
        """
        self._waiting.append(_Waiting(place, asked, told, draw, call))

    def look(self, results: list[CaseResult]) -> None:
        """Put what it makes of the waiting cases in the place of their passes; nothing where the file is wrong anyway.

        Raises:
            StopGradingError: a worker can't go on.
        """
        # A file that only does too much work may still be right, and so must be seen to be.
        if not self._waiting or any(result.outcome.is_failure and not _is_about_work(result) for result in results):
            return
        self.begin()
        assert self._worker is not None  # noqa: S101  begun
        self._worker.wait_until_ready()
        for waiting in self._waiting:
            asked = waiting.asked
            try:
                with self.asking.making_sense_of(asked.case.name):
                    results[waiting.place] = self._seen(self._worker, waiting)
            except StopGradingError as error:
                stop = error.stop
                results[waiting.place] = asked.failed(stop.outcome, stop.message, where=stop.where)
                raise

    def _seen(self, worker: WorkerProcess, waiting: _Waiting) -> CaseResult:
        asked = waiting.asked

        def ask(request: dict[str, Any]) -> Answer:
            deadline = self.asking.deadline("witness")
            request = {**request, "cache": self.cache}
            return self.asking.ask(worker, request, deadline, f"when case {asked.case.name} was counted again")

        witnessed = witnessed_result(asked, waiting.told, waiting.draw(), ask, waiting.call)
        if witnessed.outcome is not Outcome.SKIPPED or asked.case.tier is Tier.WORK:
            return witnessed
        self.why_not = witnessed.message
        return asked.passed()


def _is_about_work(result: CaseResult) -> bool:
    return result.case.tier is Tier.WORK and result.outcome in (Outcome.BANNED_CALL, Outcome.TOO_MUCH_WORK)
