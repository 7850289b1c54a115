"""Settings for VS Code: written where there are none, and nobody's but the learner's afterwards."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from gpuprep import curriculum, workspace
from gpuprep.practice.vscode import has_pytest, settings_files

SETTINGS = Path(".vscode") / "settings.json"


def init(folder: Path, *, vscode: bool = True) -> workspace.InitResult:
    """`gpuprep init --vscode`."""
    return workspace.init(folder, curriculum.load(), extras=settings_files() if vscode else {})


def test_test_explorer_is_on(tmp_path: Path) -> None:
    """The settings turn pytest on, in the environment that gpuprep is in, and recommend Python's extension."""
    init(tmp_path)
    settings = json.loads((tmp_path / SETTINGS).read_text())
    assert settings["python.testing.pytestEnabled"] is True
    assert settings["python.defaultInterpreterPath"] == sys.executable
    assert settings["editor.rulers"] == [120]
    extensions = json.loads((tmp_path / ".vscode" / "extensions.json").read_text())
    assert "ms-python.python" in extensions["recommendations"]
    assert has_pytest()


def test_only_if_asked(tmp_path: Path) -> None:
    """Without `--vscode` there is no such folder, and an update without it leaves what is there."""
    init(tmp_path, vscode=False)
    assert not (tmp_path / ".vscode").exists()
    init(tmp_path)
    assert init(tmp_path, vscode=False).updated == ()
    assert (tmp_path / SETTINGS).is_file()


def test_a_persons_file_is_kept(tmp_path: Path) -> None:
    """Settings that were there before, or were changed since, stay as they are, and are named."""
    (tmp_path / SETTINGS).parent.mkdir()
    (tmp_path / SETTINGS).write_text("{}")
    assert tmp_path / SETTINGS in init(tmp_path).kept
    (tmp_path / ".vscode" / "extensions.json").write_text("mine")
    result = init(tmp_path)
    assert {path.name for path in result.kept} == {"settings.json", "extensions.json"}
    assert (tmp_path / SETTINGS).read_text() == "{}"
    assert (tmp_path / ".vscode" / "extensions.json").read_text() == "mine"
