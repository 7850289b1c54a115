"""Waiting for what other processes do in their own time."""

from __future__ import annotations

import time
from collections.abc import Callable

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
