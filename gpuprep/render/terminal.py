"""Puts a page on stdout or stderr. Colour through rich where a person is looking; plain text everywhere else."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from gpuprep.render import links
from gpuprep.render.layout import Page, clean
from gpuprep.render.machine import dumps

if TYPE_CHECKING:
    from gpuprep.errors import GpuprepError

_STYLES = {
    "good": "bold green",
    "gold": "bold yellow",
    "provisional": "bold cyan",
    "bad": "bold red",
    "warning": "bold magenta",
    "quiet": "dim",
    "strong": "bold",
    "command": "bold blue",
    "code": "cyan",
}

_ASCII = {
    "✓": "+", "★": "*", "◐": "~", "○": "o", "◌": "?", "✗": "x", "▸": ">", "█": "#",
    "▁": "_", "▂": ".", "▃": ":", "▄": "-", "▅": "=", "▆": "+", "▇": "%", "░": ".", "·": "*", "×": "x",
    "▏": "|", "─": "-", "↑": "^", "↓": "v", "÷": "/", "–": "-", "—": "-", "−": "-", "…": "...",
    "≤": "<=", "≥": ">=", "→": "->", "⌈": "ceil(", "⌉": ")",
    "┌": "+", "┐": "+", "└": "+", "┘": "+", "┤": "+", "┬": "+", "│": "|",
    "Σ": "sum ", "µ": "u", "μ": "u", "‘": "'", "’": "'", "“": '"', "”": '"',
}  # fmt: skip
"""What stands for a character that the terminal's encoding lacks."""

_FALLBACK = "gpuprep-ascii"


def show(page: Page, *, stderr: bool = False, gap: bool = False) -> None:
    """Write a page, below an empty line if there is to be a `gap`.

    No colour and no control codes in pipes and on dumb terminals; under NO_COLOR no colour. A terminal gets links.
    """
    stream = _stream(stderr)
    has_links = links.are_understood(is_terminal=stream.isatty(), environment=os.environ)
    if gap:
        stream.write("\n")
    if not _has_colour(stream):
        stream.write(_linked(page) if has_links else page.text())
        stream.flush()
        return
    from rich.console import Console
    from rich.style import Style
    from rich.text import Text

    def styled(part: str, style: str) -> Text:
        text = Text(part, _STYLES.get(style, ""))
        url = links.address(part.strip(), os.environ) if has_links else None
        if url:
            start = len(part) - len(part.lstrip())
            text.stylize(Style(link=url), start, start + len(part.strip()))
        return text

    console = Console(file=stream, highlight=False, markup=False, emoji=False)
    for line in page.lines:
        text = Text.assemble(*(styled(part, style) for part, style in line))
        # soft_wrap: the terminal breaks long paths itself, so that they can be copied whole.
        console.print(text, soft_wrap=True)


def answer(page: Page, document: Mapping[str, Any], *, as_json: bool) -> None:
    """A command's result, for a person or for a machine."""
    if as_json:
        write(dumps(document))
    else:
        show(page)


def write(text: str) -> None:
    """Write text to stdout as it is: JSON, or a file's own text."""
    stream = _stream(stderr=False)
    stream.write(text if text.endswith("\n") else text + "\n")
    stream.flush()


def show_error(error: GpuprepError) -> None:
    """What failed and what to do next, on stderr."""
    show(error_page(error), stderr=True)


def error_page(error: GpuprepError) -> Page:
    """What failed, and the next step if the error knows one."""
    page = Page()
    page.prose(error.message, indent=0, lead=[("error: ", "bad")])
    if error.next_step:
        page.line(("next: ", "quiet"), (error.next_step, "command"))
    return page


def notice(text: str, *, style: str = "quiet") -> None:
    """A remark on stderr, beside the result."""
    page = Page()
    page.prose(text, indent=0, style=style)
    show(page, stderr=True)


def secret(what: str, *, twice: bool = False) -> str:
    """What a person types unseen; without a terminal, the first line of stdin."""
    if not _is_terminal(sys.stdin):
        return sys.stdin.readline().rstrip("\n")
    import typer

    return str(typer.prompt(what, hide_input=True, confirmation_prompt=twice, err=True))


@contextmanager
def status(prefix: str) -> Iterator[Callable[[str], None]]:
    """One line on stderr that says what is being done and is gone afterwards; nothing at all without a terminal."""
    if not _is_terminal(sys.stderr):
        yield lambda _event: None
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    # No refreshing thread: the grader forks, and a fork beside a running thread can hang.
    console = Console(file=_stream(stderr=True))
    live = Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False)

    def update(event: str) -> None:
        text = Text(clean(f"{prefix}  {event}").replace("\n", " "), style="dim", no_wrap=True, overflow="ellipsis")
        live.update(text, refresh=True)

    with live:
        yield update


@contextmanager
def bar(what: str) -> Iterator[Callable[[int, int, Page | None], None]]:
    """A bar on stderr with the time that is left, and pages on stdout above it; pages alone without a terminal.

    Yields:
        What is told how many are done, of how many, and what else there is to show.
    """
    if not _is_terminal(sys.stderr):
        yield lambda _done, _total, page: show(page) if page is not None else None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(file=_stream(stderr=True), highlight=False, markup=False, emoji=False)
    columns = (TextColumn(clean(what)), BarColumn(), MofNCompleteColumn(), TextColumn("left:"), TimeRemainingColumn())
    # As in `status`: no thread. Whole lines are written where the bar stands, so it is taken away for them.
    live = Progress(*columns, console=console, auto_refresh=False, transient=True, speed_estimate_period=300)
    task = live.add_task("", total=None)

    def update(n_done: int, n_total: int, page: Page | None) -> None:
        if page is not None:
            live.stop()
            show(page)
            live.start()
        live.update(task, total=n_total, completed=n_done, refresh=True)

    with live:
        yield update


@contextmanager
def full_screen() -> Iterator[Callable[[Callable[[int, int], Page]], None]]:
    """The whole of stdout's terminal, until the context is left: then what was there before is there again.

    Yields:
        What shows a page, made by a function of the columns and rows that there are at that moment.
    """
    from rich.console import Console
    from rich.live import Live
    from rich.screen import Screen
    from rich.text import Text

    stream = _stream(stderr=False)
    has_colour = _has_colour(stream)
    console = Console(file=stream, highlight=False, markup=False, emoji=False, force_terminal=True)
    live = Live(console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)

    def draw(build: Callable[[int, int], Page]) -> None:
        page = build(console.size.width, console.size.height)
        text = Text(no_wrap=True, overflow="crop", end="")
        for place, line in enumerate(page.lines):
            text.append("\n" if place else "")
            for part, style in line:
                text.append(part, _STYLES.get(style, "") if has_colour else "")
        live.update(Screen(text), refresh=True)

    with live:
        yield draw


def _stream(stderr: bool) -> TextIO:
    """The stream, able to write any text: what its encoding lacks becomes ASCII."""
    stream = sys.stderr if stderr else sys.stdout
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None and getattr(stream, "errors", None) != _FALLBACK:
        codecs.register_error(_FALLBACK, _to_ascii)
        reconfigure(errors=_FALLBACK)
    return stream


def _to_ascii(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    import unicodedata

    replaced = []
    was_raised = False
    for character in error.object[error.start : error.end]:
        plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
        is_raised = unicodedata.decomposition(character).startswith("<super>")
        # 2²⁸ is 2^28, not 228.
        replaced.append("^" + plain if is_raised and not was_raised else _ASCII.get(character) or plain or "?")
        was_raised = is_raised
    return "".join(replaced), error.end


def _linked(page: Page) -> str:
    """The page without styles, its paths as links."""
    rows = ("".join(links.linked(text, os.environ) for text, _ in line).rstrip() for line in page.lines)
    return "".join(f"{row}\n" for row in rows)


def _is_terminal(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def _has_colour(stream: TextIO) -> bool:
    # https://no-color.org: set and not empty means no colour, whatever its value.
    return not os.environ.get("NO_COLOR") and (_is_terminal(stream) or bool(os.environ.get("FORCE_COLOR")))
