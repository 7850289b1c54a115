"""A `gpuprep watch` in a pseudo-terminal, with a screen that can be read and keys that can be pressed."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pexpect
import psutil
import pyte

GPUPREP = str(Path(sys.executable).with_name("gpuprep"))
"""The command as it was installed beside this interpreter, which need not be on the path."""
LIMIT_S = 60.0
"""For anything to be shown. On a busy machine the first check waits for the pool's imports."""
LOOK_S = 0.005
QUIET_S = 0.05
"""A screen that grows no more for so long is whole."""


class WatchTerminal:
    """The process, and what its terminal shows.

    Args:
        command: the program and its arguments.
        folder: to run in.
        columns: of the terminal.
        rows: of the terminal.
        environment: added to this process's own; None takes a variable away.
    """

    def __init__(
        self,
        command: list[str],
        folder: Path,
        *,
        columns: int = 80,
        rows: int = 24,
        environment: Mapping[str, str | None] | None = None,
    ) -> None:
        variables = {**os.environ, "TERM": "xterm-256color", "LANG": "C.UTF-8", **(environment or {})}
        kept = {name: value for name, value in variables.items() if value is not None}
        for name in ("COLUMNS", "LINES"):
            kept.pop(name, None)
        self.child = pexpect.spawn(command[0], command[1:], cwd=str(folder), env=kept, dimensions=(rows, columns))
        # It would wait before each key.
        self.child.delaybeforesend = None
        self.raw = b""
        """All that was ever written."""
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)

    @property
    def text(self) -> str:
        """What is on the screen now."""
        return "\n".join(line.rstrip() for line in self._screen.display)

    @property
    def process(self) -> psutil.Process:
        """The watch."""
        return psutil.Process(self.child.pid)

    def press(self, keys: str) -> None:
        """Type."""
        self.child.send(keys)

    def resize(self, columns: int, rows: int) -> None:
        """Make the terminal another size."""
        self._screen.resize(rows, columns)
        self.child.setwinsize(rows, columns)

    def wait(self, pattern: str, *, limit_s: float = LIMIT_S) -> str:
        """Wait until the screen shows what the pattern says; then that."""
        return self.wait_for(lambda text: re.search(pattern, text) is not None, pattern, limit_s=limit_s)

    def wait_for(self, is_there: Callable[[str], bool], what: str, *, limit_s: float = LIMIT_S) -> str:
        """Wait until the screen is as it should be; then what it shows."""
        deadline = time.monotonic() + limit_s
        while not is_there(self.text):
            assert time.monotonic() < deadline, f"{what!r} was not shown:\n{self.text}"
            assert self.take(LOOK_S), f"{what!r} was not shown before the end:\n{self.text}"
        # The rest of the screen that it is the beginning of.
        n_taken = -1
        while len(self.raw) > n_taken:
            n_taken = len(self.raw)
            self.take(QUIET_S)
        return self.text

    def take(self, for_s: float) -> bool:
        """Take in what is written; False at the end."""
        try:
            data = self.child.read_nonblocking(65536, timeout=for_s)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.raw += data
        self._stream.feed(data)
        return True

    def leave(self, keys: str = "q", *, limit_s: float = LIMIT_S) -> int:
        """Press keys that end it, and wait for its end.

        Returns:
            The exit code, or the signal that ended it as a negative number.
        """
        self.press(keys)
        return self.wait_for_end(limit_s=limit_s)

    def wait_for_end(self, *, limit_s: float = LIMIT_S) -> int:
        """Wait until it has ended, and give its exit code."""
        deadline = time.monotonic() + limit_s
        while self.take(0.05):
            assert time.monotonic() < deadline, f"it goes on:\n{self.text}"
        self.child.close()
        return int(self.child.exitstatus) if self.child.signalstatus is None else -int(self.child.signalstatus)


@contextmanager
def watching(
    folder: Path,
    *arguments: str,
    columns: int = 80,
    rows: int = 24,
    environment: Mapping[str, str | None] | None = None,
) -> Iterator[WatchTerminal]:
    """A watch that is gone afterwards, whatever happens."""
    terminal = WatchTerminal(
        [GPUPREP, "watch", *arguments], folder, columns=columns, rows=rows, environment=environment
    )
    try:
        yield terminal
    finally:
        terminal.child.close(force=True)


def save_in_place(path: Path, text: str) -> None:
    """As editors do that write into the file."""
    path.write_text(text, encoding="utf-8")


def save_by_renaming(path: Path, text: str) -> None:
    """As editors do that write another file and put it in the first one's place."""
    other = path.with_name(f".{path.name}.{os.urandom(3).hex()}")
    other.write_text(text, encoding="utf-8")
    other.replace(path)


def save_with_backup(path: Path, text: str) -> None:
    """As vim does: the old file becomes the backup, the new one takes its name, and the backup goes."""
    backup = path.with_name(f"{path.name}~")
    path.rename(backup)
    path.write_text(text, encoding="utf-8")
    backup.unlink()
