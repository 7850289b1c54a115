"""Which editor is opened."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from gpuprep.errors import UsageError
from gpuprep.practice.editor import editor_command, open_files


def program(folder: Path, name: str) -> Path:
    path = folder / name
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_visual_beats_editor(tmp_path: Path) -> None:
    """$VISUAL is taken before $EDITOR, with its own arguments."""
    program(tmp_path, "code")
    environment = {"VISUAL": "code --wait 'a b'", "EDITOR": "nano", "PATH": str(tmp_path)}
    assert editor_command(environment) == ["code", "--wait", "a b"]


def test_empty_variable_is_none(tmp_path: Path) -> None:
    """A variable that is set to nothing is passed over."""
    program(tmp_path, "mine")
    assert editor_command({"VISUAL": " ", "EDITOR": "mine", "PATH": str(tmp_path)}) == ["mine"]


def test_installed_editor_as_a_fallback(tmp_path: Path) -> None:
    """Without either variable, an editor that is installed is taken."""
    program(tmp_path, "vi")
    assert editor_command({"PATH": str(tmp_path)}) == ["vi"]


@pytest.mark.parametrize("environment", [{}, {"EDITOR": "no-such-editor"}, {"VISUAL": "an 'open quote"}])
def test_no_editor(tmp_path: Path, environment: dict[str, str]) -> None:
    """With no editor, or one that isn't there, the next step is a line to type."""
    with pytest.raises(UsageError) as caught:
        editor_command({**environment, "PATH": str(tmp_path)})
    assert (caught.value.next_step or "").startswith("export ")


def test_editor_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An editor that ends badly is told about, with the file to open otherwise."""
    monkeypatch.setitem(os.environ, "VISUAL", f"{sys.executable} -c 'raise SystemExit(4)'")
    with pytest.raises(UsageError, match="exit code 4"):
        open_files([tmp_path / "x.py"])
