"""Several workers that are the ranks of one group: asked together, ended together, and what kept one is told."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gpuprep.errors import GraderFaultError
from gpuprep.grading.asking import StopGradingError
from gpuprep.grading.guarded import Bounds
from gpuprep.grading.pool import WarmPool
from gpuprep.grading.process import WorkerDiedError, WorkerProcess, WorkerTimeoutError
from gpuprep.model import Outcome, SourceLine

Answer = dict[str, Any]

START_LIMIT_S = 60.0
_BACK_ENDS = {"cpu": "gloo", "cuda": "nccl"}
GRACE_S = 1.0
"""When one rank is in trouble, the others have so long to answer before they are asked where they are."""
_FAILED = ("raised", "odd", "missing")


@dataclass(frozen=True)
class _Silence:
    """A rank that did not answer: it died, or it was still at a line."""

    rank: int
    how: str = ""
    """How it ended by itself; empty where it was running."""
    where: SourceLine | None = None
    is_busy: bool = False
    """It was computing, not waiting."""

    @property
    def place(self) -> str:
        """`rank 1 at line 23`."""
        return f"rank {self.rank}" + (f" at line {self.where.line}" if self.where else "")


class WorkerGroup:
    """Workers with one file loaded, each a process of its own. Leaving the context kills whatever is left.

    Args:
        device: `cpu`, or `cuda` with a card for each rank.
        n_ranks: how many there are.
        path: the learner's file.
        pool: forks them.
        is_trusted: they run no learner's code.
        bounds: how they are confined, all together; None where they are not.
    """

    def __init__(
        self,
        device: str,
        n_ranks: int,
        path: Path,
        pool: WarmPool,
        *,
        is_trusted: bool = False,
        bounds: Bounds | None = None,
    ) -> None:
        self.device = device
        self._path = path
        self._stack = contextlib.ExitStack()
        with contextlib.ExitStack() as starting:
            self.workers = [
                starting.enter_context(WorkerProcess(device, pool, is_trusted=is_trusted, bounds=bounds))
                for _ in range(n_ranks)
            ]
            self._stack = starting.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def wait_until_ready(self) -> None:
        """Wait for every worker's imports.

        Raises:
            GraderFaultError: one died or hung before it had anything to run.
        """
        for worker in self.workers:
            worker.wait_until_ready()

    def output(self) -> str:
        """What the ranks printed, each line behind its rank; what all say alike is said once."""
        told = [worker.output() for worker in self.workers]
        if len(set(told)) == 1:
            return told[0]
        return "".join(f"rank {rank}: {line}\n" for rank, text in enumerate(told) for line in text.splitlines())

    def ask(self, requests: Sequence[Answer], limit_s: float, when: str) -> list[Answer]:
        """The ranks' answers, that of rank 0 first. There may be fewer requests than ranks.

        Raises:
            StopGradingError: a rank died, or one or more were still running at the limit, or waited for a rank that
                had failed or was gone.
        """
        deadline = time.monotonic() + limit_s
        with ThreadPoolExecutor(max_workers=len(requests)) as threads:
            asked = [
                threads.submit(worker.ask, request, deadline=deadline)
                for worker, request in zip(self.workers, requests, strict=False)
            ]
            running = set(asked)
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                if running and any(map(_is_in_trouble, done)):
                    _, running = wait(running, timeout=GRACE_S)
                    break
            # Still waiting for somebody who will never come: they can tell where, and then they have to go.
            for future, worker in zip(asked, self.workers, strict=False):
                if future in running:
                    worker.give_up_on()
        silent = [self._silence(rank, future) for rank, future in enumerate(asked) if future.exception() is not None]
        answers = {rank: future.result() for rank, future in enumerate(asked) if future.exception() is None}
        if not silent:
            return [answers[rank] for rank in range(len(asked))]
        failed = next((rank for rank, answer in answers.items() if answer["status"] in _FAILED), None)
        if failed is not None and all(not silence.how for silence in silent):
            raise RankFailedError(failed, answers[failed], silent[0].place)
        raise StopGradingError(*_told(silent, sorted(answers), limit_s, when))

    def ask_all(self, request: Answer, limit_s: float, when: str, n_ranks: int | None = None) -> list[Answer]:
        """The answers of all ranks, or of the first few, to one request; see `ask`."""
        return self.ask([request] * (n_ranks or len(self.workers)), limit_s, when)

    def join(self, world: int, folder: Path) -> None:
        """Make the first ranks one process group, in place of the one that they were in.

        Args:
            world: how many.
            folder: where they can meet.
        """
        # Theirs to make: they may be another user.
        store = folder / secrets.token_hex(8)
        place = {"world": world, "back_end": _BACK_ENDS[self.device], "store": str(store)}
        members = [{"do": "join", "group": {"rank": rank, **place}} for rank in range(world)]
        answers = self.ask(members, START_LIMIT_S, f"while {world} ranks met")
        if any(answer["status"] != "joined" for answer in answers):
            raise GraderFaultError(f"{world} ranks can't meet: {answers[0].get('message')}", next_step="gpuprep doctor")

    def _silence(self, rank: int, future: Future[Answer]) -> _Silence:
        worker, error = self.workers[rank], future.exception()
        if isinstance(error, WorkerTimeoutError) or (isinstance(error, WorkerDiedError) and worker.was_given_up):
            # On a card, waiting is a busy loop as well.
            is_busy = worker.was_busy and self.device == "cpu"
            return _Silence(rank, where=worker.last_line(self._path), is_busy=is_busy)
        if isinstance(error, WorkerDiedError):
            return _Silence(rank, error.how, worker.last_line(self._path))
        assert error is not None  # noqa: S101  asked for those with an exception
        raise error


class RankFailedError(Exception):
    """One rank raised, or returned something odd, and others waited for it in vain."""

    def __init__(self, rank: int, answer: Answer, waiting: str) -> None:
        super().__init__(waiting)
        self.rank = rank
        self.answer = answer
        self.waiting = waiting


def _is_in_trouble(future: Future[Answer]) -> bool:
    return future.exception() is not None or future.result()["status"] in _FAILED


def _told(
    silent: Sequence[_Silence], returned: Sequence[int], limit_s: float, when: str
) -> tuple[Outcome, str, SourceLine | None]:
    """What silence means: a death, a wait that can't end, or plain slowness."""
    dead = next((silence for silence in silent if silence.how), None)
    if dead is not None:
        others = [silence.place for silence in silent if not silence.how]
        waiting = f"; {', '.join(others)} waited for it" if others else ""
        return Outcome.CRASHED, f"the process of rank {dead.rank} ended {when}: {dead.how}{waiting}", dead.where
    places = ", ".join(silence.place for silence in silent)
    if busy := [silence for silence in silent if silence.is_busy]:
        others = [silence.place for silence in silent if not silence.is_busy]
        waiting = f"; {', '.join(others)} waited" if others else ""
        named = ", ".join(silence.place for silence in busy)
        return Outcome.TIMED_OUT, f"{named} still computed after {limit_s:g} s {when}{waiting}", busy[0].where
    where = silent[0].where
    if returned:
        left = f"{_ranks(returned)} had returned"
        return (
            Outcome.DEADLOCK,
            f"{places} still waited {when} after {left}: not every rank makes the same calls",
            where,
        )
    if len(silent) == 1:
        return Outcome.TIMED_OUT, f"still running after {limit_s:g} s {when}: {places}", where
    return Outcome.DEADLOCK, f"all ranks waited for each other {when}: {places}", where


def _ranks(ranks: Sequence[int]) -> str:
    return f"rank {ranks[0]}" if len(ranks) == 1 else f"ranks {', '.join(map(str, ranks))}"
