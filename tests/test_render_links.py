"""Paths as hyperlinks: which texts are paths, and what a terminal is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpuprep.render import links


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a file below it."""
    (tmp_path / "exercises").mkdir()
    (tmp_path / "exercises" / "ä b.py").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_address_names_file_line_and_machine(folder: Path) -> None:
    """The URL is absolute and encoded; the line is its fragment."""
    url = links.address("exercises/ä b.py:7", {})
    assert url is not None
    assert url.startswith("file://")
    assert url.removeprefix("file://").split("/")[0]
    assert url.endswith(f"{folder}/exercises/%C3%A4%20b.py#7")


def test_vscode_gets_no_machine(folder: Path) -> None:
    """VS Code would take the machine's name for a share's."""
    assert links.address("./exercises", {"TERM_PROGRAM": "vscode"}) == f"file://{folder}/exercises"


@pytest.mark.parametrize(
    "text", ["", "exercises", "gone/ex.py", "0.80 / 0.95", "n/a", "gpuprep check", "x" * 5000 + "/y", "a/b\n"]
)
def test_other_texts_are_no_links(text: str, folder: Path) -> None:
    """A word, a fraction or a path that leads nowhere stays as it is."""
    assert links.address(text, {}) is None
    assert links.linked(text, {}) == text


def test_blanks_stay_outside(folder: Path) -> None:
    """The padding of a table's cell is not clickable."""
    text = links.linked("  exercises/ä b.py   ", {})
    assert text.startswith("  \x1b]8;;file://")
    assert text.endswith("\x1b]8;;\x1b\\   ")
