"""Whether a learner's file was saved: what tells of it, and what decides it.

What tells is a watch on the folder, since an editor that saves by renaming replaces the file that a watch on it would
hold. What decides is the content (`Settling`): a notice may come late, twice, in the middle of a save, or not at all.
"""

from __future__ import annotations

import hashlib
import os
import platform
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

DEBOUNCE_MS = 50
"""How long changes are gathered at most before they are told of."""
STEP_MS = 10
"""How long it must be quiet for them to be told of earlier."""
SETTLE_S = 0.03
"""How long a content must stay the same to count as saved: an editor may write in pieces, or remove the file first."""
POLL_S = 0.2
"""How often the content is looked at where nothing tells of changes."""
HEARTBEAT_S = 2.0
"""And where something does: on a network's file system a change may go untold."""

MISSING = ""
"""The fingerprint of files that are not there."""

_FORCE = "WATCHFILES_FORCE_POLLING"
_NOT_FORCED = ("", "false", "disable", "disabled")


def fingerprint(paths: Iterable[Path]) -> str:
    """sha256 of the files' contents, as a report has it; MISSING where one can't be read."""
    try:
        return hashlib.sha256(b"\0".join(path.read_bytes() for path in paths)).hexdigest()
    except OSError:
        return MISSING


class Settling:
    """Tells a save from a file that is being written: the same new content at two looks, SETTLE_S apart.

    Args:
        known: the fingerprint that needs no check.
    """

    def __init__(self, known: str | None) -> None:
        self.known = known
        self._seen: tuple[str, float] | None = None

    def look(self, content: str, now_s: float) -> bool:
        """True when a content that is not known has settled."""
        if content == self.known:
            self._seen = None
            return False
        if self._seen is None or self._seen[0] != content:
            self._seen = content, now_s
        return now_s >= self._seen[1] + SETTLE_S

    @property
    def due_s(self) -> float | None:
        """When to look again; None where nothing is settling."""
        return None if self._seen is None else self._seen[1] + SETTLE_S


class FolderWatch:
    """Tells of changes below a folder, in a thread of its own.

    Args:
        folder: watched with all that is in it.
        on_change: called with the files that changed, from that thread.
    """

    def __init__(self, folder: Path, on_change: Callable[[tuple[Path, ...]], None]) -> None:
        self._folder = folder
        self._on_change = on_change
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.why_polling = _why_forced()
        """Why changes are looked for, not told of; empty where they are told of."""
        if not self.why_polling:
            self._thread.start()

    def close(self) -> None:
        """Stop watching."""
        self._stop.set()

    def _run(self) -> None:
        try:
            # Here, since the import takes a while and nothing waits for it.
            import watchfiles

            changes = watchfiles.watch(
                self._folder,
                watch_filter=None,
                debounce=DEBOUNCE_MS,
                step=STEP_MS,
                stop_event=self._stop,
                raise_interrupt=False,
                force_polling=False,
            )
            for group in changes:
                self._on_change(tuple(Path(name) for _, name in group))
        # What Rust reports as its own fault, a limit on watches say, is a RuntimeError.
        except (ImportError, OSError, RuntimeError) as error:
            self.why_polling = f"no file notices: {error}".partition("\n")[0]
            self._on_change(())


def _why_forced() -> str:
    """Why not even to try: as watchfiles itself decides it."""
    if os.environ.get(_FORCE, "").lower() not in _NOT_FORCED:
        return f"{_FORCE} is set"
    if _FORCE not in os.environ and "microsoft-standard" in platform.uname().release:
        return "WSL"
    return ""
