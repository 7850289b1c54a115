"""`gpuprep init`: where curricula come from, settings for editors, and what is told about both."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from gpuprep import cli

YAML = """\
format_version: 1
title: Rows
modules:
  - id: 00_rows
    title: Rows
    exercises:
      - {id: ex_01, name: one, title: One, language: triton, summary: one, minutes: 5, hints: [Try.]}
"""


@pytest.fixture
def course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A curriculum's folder, and the current folder beside it."""
    root = tmp_path / "course"
    (root / "exercises" / "00_rows").mkdir(parents=True)
    (root / "curriculum.yaml").write_text(YAML)
    (root / "exercises" / "00_rows" / "ex_01_one.py").write_text("one = 1\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return root


def init(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    monkeypatch.setattr(sys, "argv", ["gpuprep", "init", *arguments])
    try:
        cli.main()
    except SystemExit as ending:
        captured = capsys.readouterr()
        return int(ending.code or 0), captured.out, captured.err


def test_folder(course: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A workspace of another curriculum says where it came from, and stays with it."""
    code, out, _ = init(capsys, monkeypatch, "gym", "--from", "course")
    assert code == 0
    assert f"{course}, sha256 " in out
    assert "whom you trust" not in out
    told = json.loads(init(capsys, monkeypatch, "gym", "--json")[1])
    assert told["curriculum"] == str(course)
    assert told["source"]["kind"] == "folder"


def test_repository(course: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A repository's graders are somebody else's code, which is said; its commit is shown."""
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    for arguments in (["init", "--quiet"], ["add", "."], [*identity, "commit", "--quiet", "-m", "all"]):
        subprocess.run(["git", "-C", course, *arguments], check=True)
    code, out, _ = init(capsys, monkeypatch, "gym", "--from", course.as_uri())
    assert code == 0
    assert "commit " in out
    assert "trust" in out
    (course / ".git").rename(course / "gone")
    code, _, err = init(capsys, monkeypatch, "gym")
    assert code == 0
    assert "not brought up to date" in err


def test_wheel(course: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel's curriculum is unpacked, and shipped."""
    with zipfile.ZipFile("course-1.0-py3-none-any.whl", "w") as archive:
        for path in (path for path in course.rglob("*") if path.is_file()):
            archive.write(path, f"course/{path.relative_to(course)}")
    code, out, _ = init(capsys, monkeypatch, "gym", "--from", "course-1.0-py3-none-any.whl", "--json")
    assert code == 0
    assert [Path(path).name for path in json.loads(out)["created"]] == ["ex_01_one.py"]


def test_newer_format(course: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A curriculum for a later gpuprep asks for an upgrade, and no workspace is made."""
    (course / "curriculum.yaml").write_text(YAML.replace("format_version: 1", "format_version: 9\nlicence: MIT"))
    code, _, err = init(capsys, monkeypatch, "gym", "--from", "course")
    assert code == 2
    assert "format 9" in err
    assert "next: pip install --upgrade gpuprep" in err
    assert not Path("gym").exists()


def test_nothing_to_take(course: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What names no curriculum is a usage error."""
    assert init(capsys, monkeypatch, "gym", "--from", "nowhere")[0] == 2


def test_vscode(course: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`--vscode` adds settings, and says what is missing in a person's own."""
    (Path("gym") / ".vscode").mkdir(parents=True)
    (Path("gym") / ".vscode" / "settings.json").write_text("{}")
    code, out, _ = init(capsys, monkeypatch, "gym", "--from", "course", "--vscode")
    assert code == 0
    assert "python.testing.pytestEnabled" in out
    assert (Path("gym") / ".vscode" / "settings.json").read_text() == "{}"
    assert (Path("gym") / ".vscode" / "extensions.json").is_file()
