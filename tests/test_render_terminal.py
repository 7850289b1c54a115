"""What reaches the terminal: colours only where a person looks, ASCII where the encoding has nothing else."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import pytest
import sample_reports as samples

from gpuprep.errors import WorkspaceError
from gpuprep.render import terminal
from gpuprep.render.layout import Page
from gpuprep.render.report import report_page


class Tty(io.TextIOWrapper):
    """A stream that says it is a terminal."""

    def __init__(self, encoding: str = "utf-8") -> None:
        super().__init__(io.BytesIO(), encoding=encoding, write_through=True)

    def isatty(self) -> bool:
        return True

    def text(self) -> str:
        self.flush()
        raw = self.buffer
        assert isinstance(raw, io.BytesIO)
        return raw.getvalue().decode(self.encoding)


class Pipe(Tty):
    """A stream that is no terminal."""

    def isatty(self) -> bool:
        return False


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "FORCE_HYPERLINK", "TERM_PROGRAM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def shown_on(stream: Tty, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(sys, "stdout", stream)
    terminal.show(report_page(samples.timed(), samples.EXERCISE))
    return stream.text()


def test_terminal_gets_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal the verdict is coloured, and without its codes the text is the piped one."""
    text = shown_on(Tty(), monkeypatch)
    assert "\x1b[" in text
    assert "PASSED, gold" in text


def test_pipe_gets_no_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a pipe there is no control code, and rich isn't even asked."""
    assert "\x1b" not in shown_on(Pipe(), monkeypatch)


@pytest.mark.parametrize("setting", [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colour_can_be_refused(monkeypatch: pytest.MonkeyPatch, setting: tuple[str, str]) -> None:
    """Under NO_COLOR and on dumb terminals there is no colour, and no other attribute of text."""
    monkeypatch.setenv(*setting)
    assert "\x1b[" not in shown_on(Tty(), monkeypatch)


def test_colour_can_be_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    """FORCE_COLOR colours a pipe; NO_COLOR beats it."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[" in shown_on(Pipe(), monkeypatch)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in shown_on(Pipe(), monkeypatch)


@pytest.mark.parametrize("stream", [Pipe("ascii"), Tty("ascii"), Pipe("latin-1")])
def test_glyphs_fall_back(monkeypatch: pytest.MonkeyPatch, stream: Tty) -> None:
    """What the encoding lacks becomes ASCII, and the words still say it all."""
    text = shown_on(stream, monkeypatch)
    assert "PASSED, gold" in text
    assert "1.00 x least" in text.replace("×", "x")
    assert "★" not in text


def test_powers_stay_powers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A raised exponent in ASCII is not a further digit."""
    stream = Pipe("ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    page = Page()
    page.line("2²⁸ elements, ≤ ⌈N/64⌉ … 日本")
    terminal.show(page)
    assert stream.text() == "2^28 elements, <= ceil(N/64) ... ??\n"


def test_long_lines_are_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """A path longer than the terminal is written in one piece, coloured or not."""
    path = "/".join(["folder"] * 30)
    for stream in (Tty(), Pipe()):
        monkeypatch.setattr(sys, "stdout", stream)
        page = Page()
        page.line((path, "code"))
        terminal.show(page)
        assert path in stream.text()


LINKED = [("TERM", "xterm"), ("NO_COLOR", "1")]
UNLINKED = [("TERM", "dumb"), ("TERM", "linux"), ("FORCE_HYPERLINK", "0")]


def paths_on(stream: Tty, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A page with the place of a line, as a report has it."""
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.chdir(folder)
    (folder / "a folder").mkdir(exist_ok=True)
    (folder / "a folder" / "ex.py").touch()
    page = Page()
    page.line(("graded  ", "quiet"), "a folder/ex.py:14", ("  gone/ex.py", "code"))
    terminal.show(page)
    return stream.text()


@pytest.mark.parametrize("setting", LINKED)
def test_paths_are_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: tuple[str, str]) -> None:
    """On a terminal a path is a link to its file and line, with colour or without; a file that isn't there is none."""
    monkeypatch.setenv(*setting)
    text = paths_on(Tty(), tmp_path, monkeypatch)
    assert re.search(r"\x1b]8;[^;]*;file://[^/]*/.*/a%20folder/ex\.py#14\x1b\\", text)
    assert "a folder/ex.py:14" in text
    assert text.count("\x1b]8;") == 2
    assert re.sub(r"\x1b]8;.*?\x1b\\|\x1b\[[0-9;]*m", "", text) == "graded  a folder/ex.py:14  gone/ex.py\n"


@pytest.mark.parametrize("setting", UNLINKED)
def test_links_can_be_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: tuple[str, str]) -> None:
    """Terminals that would print a link's code, and people who don't want it, get none."""
    monkeypatch.setenv(*setting)
    assert "\x1b]" not in paths_on(Tty(), tmp_path, monkeypatch)


def test_no_links_in_a_pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe gets no link, coloured or not."""
    assert "\x1b" not in paths_on(Pipe(), tmp_path, monkeypatch)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b]" not in paths_on(Pipe(), tmp_path, monkeypatch)


def test_markup_is_only_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Brackets and colons in a learner's text are no markup."""
    stream = Tty()
    monkeypatch.setattr(sys, "stdout", stream)
    page = Page()
    page.line("x[red] :smile: [/]")
    terminal.show(page)
    assert "x[red] :smile: [/]" in stream.text()


def test_error_goes_to_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error says what failed and what to type, on stderr alone."""
    out, err = Pipe(), Pipe()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    terminal.show_error(WorkspaceError("no workspace here", next_step="gpuprep init"))
    assert err.text() == "error: no workspace here\nnext: gpuprep init\n"
    assert out.text() == ""


def test_status_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal the status says what is being done, and is wiped when it ends."""
    stream = Tty()
    monkeypatch.setattr(sys, "stderr", stream)
    with terminal.status("ex_01") as on_event:
        on_event("cpu: case 3 of 14\x1b[2J")
        assert "case 3 of 14" in stream.text()
        assert "\x1b[2J" not in stream.text()
    assert stream.text().rstrip().endswith(("\x1b[2K", "\x1b[?25h"))


def test_status_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal the status writes nothing."""
    stream = Pipe()
    monkeypatch.setattr(sys, "stderr", stream)
    with terminal.status("ex_01") as on_event:
        on_event("case 3 of 14")
    assert stream.text() == ""
