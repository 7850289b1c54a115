"""Lines of styled text, laid out for a terminal 80 columns wide.

Standard library only: what goes into a pipe or a file needs no rich, and answers that much sooner. Styles are names of
meanings (`good`, `bad`, `quiet`); `terminal` alone knows which colours they get.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

WIDTH = 80
"""Columns that everything is laid out for. Paths, commands and source lines may be longer: they are never broken."""

INDENT = 2

HARD_SPACE = "\u00a0"
"""A space that no line is broken at, shown as an ordinary one: it holds `98 304 bytes` together."""

Part = str | tuple[str, str]
"""Text, or text with the name of its style."""

Line = tuple[tuple[str, str], ...]

# Everything a terminal could take for a command, tab and newline apart: C0, DEL, C1 and lone surrogates.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


class Page:
    """Collects lines in the order in which a person reads them.

    Args:
        width: columns that prose is wrapped to.
    """

    def __init__(self, width: int = WIDTH) -> None:
        self.width = width
        self.lines: list[Line] = []

    def line(self, *parts: Part, indent: int = 0) -> None:
        """One line, however long."""
        styled = [part if isinstance(part, tuple) else (part, "") for part in parts]
        if indent:
            styled.insert(0, (" " * indent, ""))
        self.lines.append(tuple((_one_line(text), style) for text, style in styled))

    def blank(self) -> None:
        """An empty line, unless the page is empty or ends in one."""
        if self.lines and self.lines[-1]:
            self.lines.append(())

    def prose(self, text: str, *, indent: int = INDENT, lead: Sequence[Part] = (), style: str = "") -> None:
        """Text wrapped to the page, each of its own lines a paragraph. Lines that begin with spaces stay as they are.

        Args:
            text: what to say.
            indent: columns to the left of every line.
            lead: what the first line begins with; the lines after it hang below where the text began.
            style: of the text.
        """
        import textwrap

        styled = [part if isinstance(part, tuple) else (part, "") for part in lead]
        hang = indent + sum(len(part) for part, _ in styled)
        first: list[Part] = [(" " * indent, ""), *styled]
        for paragraph in clean(text).splitlines() or [""]:
            if paragraph.startswith("  "):
                wrapped = [paragraph]
            else:
                room = max(20, self.width - hang)
                wrapped = textwrap.wrap(paragraph, room, break_long_words=False, break_on_hyphens=False) or [""]
            for row in wrapped:
                self.line(*first, (row, style))
                first = [(" " * hang, "")]

    def verbatim(self, text: str, *, indent: int = 2 * INDENT, style: str = "") -> None:
        """Text as it is, line by line."""
        for row in clean(text).splitlines():
            self.line((row, style), indent=indent)

    def table(self, rows: Sequence[Sequence[Part]], align: str, *, indent: int = INDENT) -> None:
        """Columns two spaces apart, as wide as their widest cell. Words in the last one go on in the line below.

        Args:
            rows: cells; every row as long as `align`, or shorter.
            align: `<` or `>` for each column.
            indent: columns to the left.
        """
        cells = [[part if isinstance(part, tuple) else (part, "") for part in row] for row in rows]
        columns = range(len(align))
        widths = [max((len(row[column][0]) for row in cells if column < len(row)), default=0) for column in columns]
        for row in cells:
            *before, (last, last_style) = row
            parts: list[Part] = []
            for column, (text, style) in enumerate(before):
                parts += [(f"{text:{align[column]}{widths[column]}}", style), ("  ", "")]
            begins = indent + sum(width + 2 for width in widths[: len(before)])
            if align[len(before)] == ">":
                last = f"{last:>{widths[len(before)]}}"
            # What is to be copied is never broken.
            room = max(1, len(last) if last_style in ("code", "command") else self.width - begins)
            first, *more = textwrap.wrap(last, room, break_long_words=False, break_on_hyphens=False) or [last]
            self.line(*parts, (last if not more else first, last_style), indent=indent)
            for text in more:
                self.line((text, last_style), indent=begins)

    def next_command(self, command: str, note: str = "") -> None:
        """The one command to type next: the last line of a page."""
        self.blank()
        self.line(("next: ", "quiet"), (command, "command"), (f"   {note}" if note else "", "quiet"))

    def extend(self, other: Page) -> None:
        """The other page's lines below this one's."""
        self.blank()
        self.lines += other.lines

    def text(self) -> str:
        """The page without styles, a newline after each line."""
        return "".join("".join(text for text, _ in line).rstrip() + "\n" for line in self.lines)


def clean(text: str) -> str:
    """The text without escape sequences' control characters, its tabs as spaces, its carriage returns as newlines."""
    return _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n").expandtabs(4))


def grouped(number: int) -> str:
    """`98 304`; four digits stay together, so that 1025 elements look like the case's `n=1025`."""
    return f"{number:,}".replace(",", HARD_SPACE) if abs(number) >= 10_000 else str(number)


def counted(number: int, noun: str) -> str:
    """`1 launch`, `2 launches`."""
    ending = "" if number == 1 else "es" if noun.endswith(("ch", "s")) else "s"
    return f"{grouped(number)}{HARD_SPACE}{noun}{ending}"


def _one_line(text: str) -> str:
    return clean(text).replace("\n", " ").replace(HARD_SPACE, " ")
