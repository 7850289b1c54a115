"""What a timed call launched, launched again by a worker of ours: a time and a trace that nobody can forge.

The learner's process runs one call more and writes it down as a recipe. Once it is gone, another process follows the
recipe on new inputs, with kernels compiled from their source. It is timed, traced and audited like a learner's, and all
of its outputs are judged. So a time that counts is one that these kernels reach by themselves, whatever else may have
run where it was claimed.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gpuprep.grading.asking import StopGradingError
from gpuprep.grading.confining import Cell
from gpuprep.grading.process import WorkerProcess
from gpuprep.grading.speed import INVALID_BELOW, TRUSTED_SHARE_OF_NET, Bench, SpeedTest
from gpuprep.grading.witnessed import SEED_STEP, beyond_recipes, unseen
from gpuprep.model import CaseResult, Diagnosis, Outcome

if TYPE_CHECKING:
    from gpuprep.grading.pool import WarmPool

_BANNED = Diagnosis("banned", "What was timed is not what the kernels do.")


@dataclass(frozen=True)
class Replayed:
    """What came of a replay: a time, or a fault, or why there is neither."""

    ms: float | None = None
    fault: CaseResult | None = None
    why_not: str = ""


@dataclass(frozen=True)
class Replay:
    """Replays the timed cases of one check.

    Args:
        worker: a process in which no learner's code has run.
        cache: a folder made for this check, where it keeps what it compiles: elsewhere the learner's process could have
            put something in its place.
    """

    worker: WorkerProcess
    cache: str

    @classmethod
    @contextlib.contextmanager
    def started(cls, cell: Cell, pool: WarmPool | None) -> Iterator[Replay]:
        """Its worker, for as long as the block lasts; it imports while others work.

        Args:
            cell: how the check's workers are confined.
            pool: forks it.
        """
        with (
            tempfile.TemporaryDirectory(prefix="gpuprep-replay-") as cache,
            WorkerProcess("cuda", pool, is_trusted=True, bounds=cell.for_replay(cache)) as worker,
        ):
            yield cls(worker, cache)

    def look(self, bench: Bench, test: SpeedTest) -> Replayed:
        """Replay what a test was told of its case.

        Args:
            bench: the check's.
            test: has its claim.

        Raises:
            ValueError: what it was told is no recipe.
            UnstableCardError: something kept the card busy.
        """
        told = test.told
        if told is None:
            return Replayed()
        if why_not := str(told["recipe"]["why_not"]):
            return Replayed(why_not=why_not)
        bench = replace(bench, learner=self.worker, seed=bench.seed + SEED_STEP, is_strict=False)
        again = SpeedTest(bench, test.asked.case)
        if not _are_alike(test.draw(0), again.draw(0)):
            return Replayed(why_not="its inputs have another layout, or other numbers, each time they are drawn")
        try:
            replayed = self._followed(test, again, told)
            again.put_away()
        except StopGradingError as error:
            return Replayed(why_not=error.stop.message)
        return replayed

    def _followed(self, test: SpeedTest, again: SpeedTest, told: dict[str, Any]) -> Replayed:
        answer = again.ask(self.worker, {"do": "follow", "recipe": told["recipe"], "cache": self.cache})
        if answer["status"] == "forbidden":
            return Replayed(fault=_banned(test, str(answer["message"])))
        if answer["status"] == "unfollowed":
            return Replayed(why_not=str(answer["message"]))
        if answer["status"] != "following":
            raise ValueError(f"a broken recipe: {answer['message']}")
        if fault := again.claim():
            return _made_of(fault, test, told)
        if test.claimed[1] < TRUSTED_SHARE_OF_NET * again.claimed[1]:
            # Moments differ; whatever disturbs a replay makes it late, so the earlier of two is nearer.
            again.time_again()
        low_ms, replayed_ms, _ = again.claimed
        if test.claimed[1] < INVALID_BELOW * low_ms:
            return Replayed(fault=_contradiction(test, replayed_ms))
        return Replayed(ms=replayed_ms)


def _are_alike(args: Sequence[Any], drawn: Sequence[Any]) -> bool:
    """True where a recipe of a call with one says what a call with the other would do, but for the tensors' values."""
    return unseen(args, drawn) is not None and all(
        old == new for old, new in zip(args, drawn, strict=True) if isinstance(old, bool | int | float | str)
    )


def _made_of(fault: CaseResult, test: SpeedTest, told: dict[str, Any]) -> Replayed:
    if fault.outcome is Outcome.BANNED_CALL:
        return Replayed(
            fault=replace(fault, message=f"its launches alone, done again from their source: {fault.message}")
        )
    if fault.outcome is not Outcome.WRONG_VALUES:
        return Replayed(why_not=f"from its source alone, {fault.message}")
    if op := beyond_recipes(told["host_ops"]):
        # Claimed by the learner's worker; but what is not graded gives nothing, so a false claim gains nothing.
        return Replayed(why_not=f"host code uses {op}, which can't be done again on other inputs")
    message = (
        "the launches alone, done again on inputs that host code had not seen, give wrong values: something else "
        f"computed what was timed ({fault.message})"
    )
    return Replayed(fault=_banned(test, message))


def _banned(test: SpeedTest, message: str) -> CaseResult:
    return test.asked.failed(Outcome.BANNED_CALL, message, diagnosis=_BANNED)


def _contradiction(test: SpeedTest, replayed_ms: float) -> CaseResult:
    return test.asked.failed(
        Outcome.INVALID,
        f"the worker's clock says {test.claimed[1]:.4f} ms a call, but its launches, done again from their source, "
        f"take {replayed_ms:.4f} ms: the measurement contradicts itself and needs a review",
    )
