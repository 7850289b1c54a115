"""A conversation with a pool that runs in the background: a line of JSON a message.

It starts with a greeting, which says as whom and where the pool is to work. A check's greeting can be sent long before
its question is known (`call_ahead`): the pool then gets a worker ready while the command is still being imported.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gpuprep.grading import pool_address

ANSWER_LIMIT_S = 5.0
"""How long a pool may take to say that it is there. It takes milliseconds."""

OWNED = "owned"
"""The name that a pool without one is greeted by."""

Message = dict[str, Any]


class Line:
    """The asker's end. Leaving its context hangs up, and whatever the pool was doing for it ends."""

    def __init__(self, end: socket.socket, greeting: Message) -> None:
        self._end = end
        self._answers = end.makefile("rb")
        end.settimeout(ANSWER_LIMIT_S)
        self.say(greeting)

    def say(self, message: Message) -> None:
        """Send a message.

        Raises:
            OSError: the pool went away.
        """
        self._end.sendall(json.dumps(message).encode() + b"\n")

    def answers(self) -> Iterator[Message]:
        """What the pool says until it hangs up.

        Raises:
            OSError: it went away, or says nothing.
            ValueError: it speaks another language.
        """
        while data := self._answers.readline():
            # It is there; from here on it takes as long as a check takes.
            self._end.settimeout(None)
            answer = json.loads(data)
            if not isinstance(answer, dict):
                raise ValueError(f"{type(answer).__name__} in place of an answer")  # noqa: TRY004
            yield answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._answers.close()
        self._end.close()


_ahead: list[Line] = []
"""The line that was opened before it was needed, if there is one."""


def call_ahead() -> bool:
    """Open a line for a check that is about to be asked for; False where no pool runs."""
    with contextlib.suppress(OSError):
        if line := dial(is_for_check=True):
            _ahead.append(line)
    return bool(_ahead)


def use(end: socket.socket) -> None:
    """Have the next check use this connection, to a pool of one's own, and have that get a worker ready now."""
    _ahead.append(Line(end, _greeting(OWNED, is_for_check=True)))


def hang_up() -> None:
    """Close the line that was opened ahead, if it was not used."""
    while _ahead:
        with _ahead.pop():
            pass


def dial(name: str | None = None, *, is_for_check: bool = False) -> Line | None:
    """A line to a pool; None where none runs.

    Args:
        name: which one; by default the one that a check here would use.
        is_for_check: have it get a worker ready.

    Raises:
        OSError: there is one, and it went away.
    """
    if is_for_check and _ahead:
        return _ahead.pop()
    with pool_address.opened_folder() as folder:
        if folder is None:
            return None
        name = name or pool_address.key()
        end = pool_address.connect(folder, name)
    if end is None:
        return None
    return Line(end, _greeting(name, is_for_check=is_for_check))


def _greeting(name: str, *, is_for_check: bool) -> Message:
    # A guess, as early as it can be made: what was got ready in vain costs nothing but that.
    greeting: Message = {"name": name, "is_for_check": is_for_check, "is_for_card": "cpu" not in sys.argv}
    if is_for_check:
        greeting |= {"environment": dict(os.environ), "folder": str(Path.cwd())}
    return greeting
