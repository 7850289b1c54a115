"""Checks in a thread, one after the other, by a pool that stays warm: whoever asked goes on meanwhile."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from gpuprep.errors import GpuprepError
from gpuprep.exercise import Exercise
from gpuprep.practice.checking import Checked, Options, check_file

if TYPE_CHECKING:
    from gpuprep.grading.pool_owned import OwnPool
    from gpuprep.practice.desk import Desk


AHEAD_S = 1.0
"""How long a worker that was made ready waits for its check."""


@dataclass(frozen=True)
class Told:
    """A few words on what is being done."""

    text: str


@dataclass(frozen=True)
class Finished:
    """A check has come to a verdict."""

    checked: Checked


@dataclass(frozen=True)
class Failed:
    """A check has come to none, for a reason that a person can mend."""

    exercise: Exercise
    error: GpuprepError


@dataclass(frozen=True)
class Broken:
    """Our own fault, to be raised where it is seen."""

    error: BaseException


Event = Told | Finished | Failed | Broken


class _Word(Enum):
    """What else the thread may be told."""

    PREPARE = "prepare"
    END = "end"


class BackgroundChecks:
    """A thread that checks. It has a pool of its own, or uses the one that runs in the background.

    Args:
        desk: holds files, graders and the record.
        options: how to grade.
        post: called from the thread with what happens.
    """

    def __init__(self, desk: Desk, options: Options, post: Callable[[Event], None]) -> None:
        self._desk = desk
        self._options = options
        self._post = post
        self._wanted: queue.SimpleQueue[Exercise | _Word] = queue.SimpleQueue()
        self._is_ahead = False
        """A worker is being made ready for a check that was not asked for yet."""
        self._pool: OwnPool | None = None
        self._starting = threading.Lock()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def start(self, exercise: Exercise) -> None:
        """Ask for a check; its end is posted."""
        self._wanted.put(exercise)

    def prepare(self) -> None:
        """Have a worker made ready, if that can be done at once: a check will be asked for in a moment."""
        self._wanted.put(_Word.PREPARE)

    def close(self) -> None:
        """Leave no process behind. A check that is running is dropped: nothing is recorded for it."""
        with self._starting:
            self._is_closed = True
        self._wanted.put(_Word.END)
        if self._pool is not None:
            self._pool.close()

    def _run(self) -> None:
        try:
            if not self._finds_a_pool():
                self._start_pool()
            while (wanted := self._next()) is not _Word.END:
                if isinstance(wanted, Exercise):
                    self._check(wanted)
                elif not self._is_ahead and self._pool is not None and self._pool.is_warm:
                    self._is_ahead = self._pool.call_ahead()
        except BaseException as error:  # noqa: BLE001  raised where it is seen
            self._tell(Broken(error))

    def _next(self) -> Exercise | _Word:
        """What is wanted next. A worker that was made ready in vain doesn't wait for ever."""
        if self._is_ahead:
            try:
                return self._wanted.get(timeout=AHEAD_S)
            except queue.Empty:
                self._hang_up()
        return self._wanted.get()

    def _hang_up(self) -> None:
        from gpuprep.grading import pool_line

        pool_line.hang_up()
        self._is_ahead = False

    def _finds_a_pool(self) -> bool:
        from gpuprep.grading import pool_client

        return pool_client.status() is not None

    def _start_pool(self) -> None:
        from gpuprep.grading.pool_owned import OwnPool

        # Without a pool a check starts cold, which is slower and no different.
        with self._starting, contextlib.suppress(OSError):
            if not self._is_closed:
                self._pool = OwnPool()

    def _call_ahead(self) -> None:
        """Have a worker made ready by whichever pool is there."""
        from gpuprep.grading import pool_line

        if self._pool is None and not pool_line.call_ahead():
            self._start_pool()
        # Whoever saves within its first seconds waits no longer than for a cold check.
        if self._pool is not None and not (self._pool.wait_until_warm() and self._pool.call_ahead()):
            # It died. The next check starts another; this one goes on without.
            self._pool.close()
            self._pool = None

    def _check(self, exercise: Exercise) -> None:
        self._tell(Told("starting"))
        if not self._is_ahead:
            self._call_ahead()
        if self._is_closed:
            return
        desk = self._desk
        try:
            checked = check_file(
                desk.workspace,
                desk.curriculum,
                exercise,
                self._options,
                on_event=lambda text: self._tell(Told(text)),
            )
        except GpuprepError as error:
            self._tell(Failed(exercise, error))
        else:
            self._tell(Finished(checked))
        finally:
            # On a worker that the check had no use for.
            self._hang_up()

    def _tell(self, event: Event) -> None:
        if not self._is_closed:
            self._post(event)
