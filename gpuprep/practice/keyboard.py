"""A terminal's keys, each as it is pressed: `n`, `enter`, `up`, `ctrl-c`."""

from __future__ import annotations

import codecs
import re
import termios
from collections.abc import Iterator
from contextlib import contextmanager

ESCAPE_S = 0.05
"""How long after an escape character the rest of a key's sequence may come; what is alone by then is the Esc key."""

_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|O[@-~])")
_PARTIAL = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|O)?")
_SEQUENCES = {
    "A": "up", "B": "down", "C": "right", "D": "left", "H": "home", "F": "end",
    "1~": "home", "4~": "end", "5~": "pgup", "6~": "pgdn", "7~": "home", "8~": "end",
}  # fmt: skip
_CHARACTERS = {
    "\r": "enter", "\n": "enter", " ": "space", "\x7f": "backspace", "\x08": "backspace", "\x03": "ctrl-c",
    "\x04": "ctrl-d", "\x0c": "ctrl-l", "\x1a": "ctrl-z",
}  # fmt: skip


class Keys:
    """Makes keys of what a terminal sends. What isn't known as one is dropped."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("ignore")
        self._rest = ""

    @property
    def is_open(self) -> bool:
        """True where an escape character came last, whose sequence may still follow."""
        return bool(self._rest)

    def feed(self, data: bytes) -> list[str]:
        """The keys that are complete with these bytes."""
        text, self._rest = self._rest + self._decoder.decode(data), ""
        keys = []
        while text:
            if sequence := _SEQUENCE.match(text):
                text = text[sequence.end() :]
                key = _SEQUENCES.get(sequence[0][2:])
            elif (partial := _PARTIAL.match(text)) and partial.end() == len(text):
                self._rest = text
                break
            else:
                character, text = text[0], text[1:]
                # With another key behind it, it is a key itself.
                key = "esc" if character == "\x1b" else _CHARACTERS.get(character, character)
            if key and (len(key) > 1 or key.isprintable()):
                keys.append(key)
        return keys

    def close(self) -> list[str]:
        """The keys that an open sequence comes to when nothing follows."""
        text, self._rest = self._rest, ""
        return ["esc", *text[1:]] if text else []


@contextmanager
def single_keys(descriptor: int) -> Iterator[None]:
    """Has a terminal hand over each key at once, unseen, Ctrl-C and Ctrl-Z among them; afterwards all is as before."""
    before = termios.tcgetattr(descriptor)
    changed = termios.tcgetattr(descriptor)
    changed[0] &= ~(termios.IXON | termios.ICRNL)
    changed[3] &= ~(termios.ECHO | termios.ICANON | termios.ISIG | termios.IEXTEN)
    changed[6][termios.VMIN], changed[6][termios.VTIME] = 1, 0
    try:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, changed)
        yield
    finally:
        # What was typed and not taken in would else be typed into the shell.
        termios.tcsetattr(descriptor, termios.TCSAFLUSH, before)
