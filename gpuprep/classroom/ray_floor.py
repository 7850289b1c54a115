"""The graders of a class in Ray's actors: who is there, who is fit, what each was asked."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gpuprep.classroom.local import MAX_STILLBORN

ROOM_LIMIT_S = 300.0
"""How long a cluster may have no room for any grader. One that grows by itself needs minutes for a machine."""
CLOSE_LIMIT_S = 10.0
"""How long idle graders may take to end by themselves."""
TICK_S = 0.2

Say = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class Asked:
    """A parcel to be graded."""

    number: int
    parcel: str
    limit_s: float
    """After so long its grader counts as hanging."""


@dataclass(eq=False)
class _Actor:
    """A grader, and what it is doing."""

    handle: Any
    answer: Any
    """A reference to what it will say next; None where it was asked nothing."""
    asked: Asked | None = None
    due: float = float("inf")
    machine: str = ""
    """Ray's name of it; empty until it is ready."""


class UnstaffedError(Exception):
    """Nobody is there to grade."""

    def __init__(self, message: str, next_step: str | None = None) -> None:
        super().__init__(message)
        self.next_step = next_step


class Floor:
    """The graders of a class, in Ray's actors.

    Args:
        ray: the module, connected.
        make: starts an actor, on a machine that is none of some.
        n_jobs: how many at a time.
        is_own: Ray has no machine but this one.
        say: tells whoever asked.
    """

    def __init__(self, ray: Any, make: Callable[[frozenset[str]], Any], n_jobs: int, *, is_own: bool, say: Say) -> None:
        self._ray, self._make, self._n_jobs, self._is_own, self._say = ray, make, n_jobs, is_own, say
        self.waiting: deque[Asked] = deque()
        self._actors: list[_Actor] = []
        self._unfit: set[str] = set()
        """Machines that can't grade what is asked."""
        self._n_stillborn = 0
        self._staffed_at = time.monotonic()

    @property
    def is_busy(self) -> bool:
        """True while something is awaited."""
        return bool(self.waiting) or any(actor.answer is not None for actor in self._actors)

    def step(self) -> None:
        """Hand out what waits, listen for a moment, and pass on what was said.

        Raises:
            UnstaffedError: no grader starts, or none may grade.
        """
        n_wanted = min(self._n_jobs, len(self.waiting) + sum(bool(actor.asked) for actor in self._actors))
        while len(self._actors) < n_wanted:
            handle = self._make(frozenset(self._unfit))
            self._actors.append(_Actor(handle, handle.introduce.remote()))
        for actor in self._actors:
            if self.waiting and actor.machine and actor.asked is None:
                actor.asked = self.waiting.popleft()
                actor.due = time.monotonic() + actor.asked.limit_s
                actor.answer = actor.handle.grade.remote(actor.asked.parcel)
        self._hear()
        self._look_for_hanging()
        if not self.waiting or any(actor.machine for actor in self._actors):
            self._staffed_at = time.monotonic()
        elif time.monotonic() > self._staffed_at + ROOM_LIMIT_S:
            has = ", ".join(f"{count:g} {name}" for name, count in sorted(self._ray.available_resources().items()))
            raise UnstaffedError(
                f"Ray had no room for a grader within {ROOM_LIMIT_S / 60:g} minutes; free now: {has}", "ray status"
            )

    def close(self) -> None:
        """End the graders: those that are idle by themselves."""
        idle = [actor.handle.close.remote() for actor in self._actors if actor.answer is None]
        if idle:
            self._ray.wait(idle, num_returns=len(idle), timeout=CLOSE_LIMIT_S)
        while self._actors:
            self._end(self._actors[0])

    def _hear(self) -> None:
        awaited = {actor.answer: actor for actor in self._actors if actor.answer is not None}
        done = self._ray.wait(list(awaited), num_returns=1, timeout=TICK_S)[0] if awaited else ()
        for reference in done:
            actor = awaited[reference]
            actor.answer = None
            try:
                self._take(actor, self._ray.get(reference))
            except self._ray.exceptions.RayError as error:
                self._lose(actor, f"the grader was lost: {brief(error)}")

    def _take(self, actor: _Actor, said: Any) -> None:
        if not actor.machine:
            actor.machine, why_unfit = said
            if why_unfit:
                self._dismiss(actor, why_unfit)
            return
        asked, actor.asked, actor.due = actor.asked, None, float("inf")
        assert asked is not None  # noqa: S101  nobody answers who wasn't asked
        if said.get("is_unfit"):
            if self._is_own:
                self._say({"n": asked.number, **said})
            else:
                self.waiting.appendleft(asked)
            self._dismiss(actor, said["fault"])
            return
        self._n_stillborn = 0
        self._say({"n": asked.number, **said})

    def _dismiss(self, actor: _Actor, why: str) -> None:
        """A grader whose machine can't grade what it is asked to: on a cluster another one takes over."""
        self._ray.wait([actor.handle.close.remote()], num_returns=1, timeout=CLOSE_LIMIT_S)
        self._end(actor)
        if self._is_own:
            self._count_stillborn(why)
            return
        self._unfit.add(actor.machine)
        if self._unfit.issuperset(node["NodeID"] for node in self._ray.nodes() if node["Alive"]):
            raise UnstaffedError(f"no machine of the cluster can grade this: {why}")

    def _lose(self, actor: _Actor, why: str) -> None:
        self._end(actor)
        if actor.asked is not None:
            self._say({"n": actor.asked.number, "fault": why})
        elif not actor.machine:
            self._count_stillborn(why)

    def _count_stillborn(self, why: str) -> None:
        self._n_stillborn += 1
        is_busy = any(actor.asked for actor in self._actors)
        if self._n_stillborn >= MAX_STILLBORN and not is_busy:
            raise UnstaffedError(f"no grader on Ray can grade: {why}", "gpuprep doctor")

    def _look_for_hanging(self) -> None:
        for actor in [actor for actor in self._actors if time.monotonic() > actor.due]:
            self._lose(actor, "the grader hung, or its machine can't be reached")

    def _end(self, actor: _Actor) -> None:
        self._actors.remove(actor)
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._ray.kill(actor.handle, no_restart=True)


def brief(error: BaseException) -> str:
    """Ray's errors are pages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
