"""Waiting for what other processes do in their own time, and looking at processes that may end meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import psutil

SOON_S = 10.0
LOOK_S = 0.02


def soon(condition: Callable[[], bool], limit_s: float = SOON_S) -> bool:
    """Whether it becomes true within the limit."""
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK_S)
    return True


def is_running(process: int | psutil.Process) -> bool:
    """Whether it still does something; one that nobody has reaped yet has ended."""
    try:
        found = psutil.Process(process) if isinstance(process, int) else process
        return found.is_running() and found.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def are_gone(processes: Iterable[int | psutil.Process], limit_s: float = SOON_S) -> bool:
    """Whether all of these have ended, or end within the limit."""
    watched = tuple(processes)
    return soon(lambda: not any(map(is_running, watched)), limit_s)


def descendants(process: psutil.Process | None = None) -> set[int]:
    """The process ids of all that came of a process, or of this one, and runs."""
    found = (process or psutil.Process()).children(recursive=True)
    return {child.pid for child in found if is_running(child)}
