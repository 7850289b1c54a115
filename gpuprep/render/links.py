"""Paths as hyperlinks (OSC 8): what a terminal opens in an editor, at the line, when somebody clicks on it.

A link is invisible where it isn't understood, so what is shown never depends on it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

_PLACE = re.compile(r"(?P<path>.+?)(?::(?P<line>[0-9]+))?")
_UNABLE = ("dumb", "linux", "")
"""Values of TERM. The kernel's own console prints a part of what it doesn't know."""

BEGIN, END = "\x1b]8;;{url}\x1b\\", "\x1b]8;;\x1b\\"


def are_understood(*, is_terminal: bool, environment: Mapping[str, str]) -> bool:
    """True where links may be written. NO_COLOR doesn't matter: a link is no colour.

    Args:
        is_terminal: whether a terminal is written to.
        environment: of the process; FORCE_HYPERLINK=0 turns links off.
    """
    is_wanted = environment.get("FORCE_HYPERLINK") != "0"
    return is_terminal and is_wanted and environment.get("TERM", "") not in _UNABLE


def address(text: str, environment: Mapping[str, str]) -> str | None:
    """The URL of a file or folder that the text names, as a whole; None where it names none that is there.

    Args:
        text: `exercises/00_foundations/ex_01_vector_add.py:14`, with or without the line.
        environment: of the process.
    """
    match = _PLACE.fullmatch(text)
    if match is None or "/" not in text:
        return None
    path = os.path.abspath(match["path"])  # noqa: PTH100  Path.absolute keeps `..`, which a URL must not have
    if not os.path.exists(path):  # noqa: PTH110  Path.exists raises where a name is too long
        return None
    from urllib.parse import quote

    # The machine's name tells a terminal elsewhere, behind ssh, that the file isn't its own. VS Code takes any name for
    # that of a Windows share.
    host = "" if environment.get("TERM_PROGRAM") == "vscode" else os.uname().nodename
    line = f"#{match['line']}" if match["line"] else ""
    return f"file://{host}{quote(path)}{line}"


def linked(text: str, environment: Mapping[str, str]) -> str:
    """The text, its path between the control codes of a link. Blanks around the path stay outside."""
    core = text.strip()
    url = address(core, environment)
    return text.replace(core, f"{BEGIN.format(url=url)}{core}{END}", 1) if url else text
