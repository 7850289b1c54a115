"""docs/authoring.md, followed literally: its files written, its commands run, its output compared."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gpuprep import exercise, grader, work
from gpuprep.curriculum import LANGUAGES
from gpuprep.grader import Draw, Grader, GroupGrader

CHECKOUT = Path(__file__).resolve().parent.parent
GUIDE = CHECKOUT / "docs" / "authoring.md"
STEP = re.compile(
    r"`([\w./]+\.(?:py|yaml|md))`:\n\n```\w+\n(.*?)^```$|^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE
)
ELIDED = "..."
"""A line, or the end of one, that stands for anything."""


@dataclass(frozen=True)
class Written:
    """A file that the guide says to write."""

    path: str
    text: str


@dataclass(frozen=True)
class Typed:
    """A command that the guide says to type, and what it says comes of it."""

    command: str
    output: str


def walkthrough() -> str:
    """The part of the guide that goes from an empty folder to a graded exercise."""
    return GUIDE.read_text(encoding="utf-8").partition("\n## From an empty folder")[2].partition("\n## ")[0]


def steps() -> Iterator[Written | Typed]:
    """Files and commands, in the guide's order."""
    for match in STEP.finditer(walkthrough()):
        if match[1]:
            yield Written(match[1], match[2])
            continue
        for part in re.split(r"^\$ ", match[3], flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            yield Typed(command, output)


def pattern(output: str) -> str:
    """A regular expression for what a console block shows."""
    lines = []
    for line in output.rstrip("\n").split("\n"):
        if line == ELIDED:
            lines.append(r"(?:.*\n)*?")
        elif line.endswith(ELIDED):
            lines.append(re.escape(line.removesuffix(ELIDED)) + r".*\n")
        else:
            lines.append(re.escape(line) + r"\n")
    return "".join(lines)


def test_followed_literally(tmp_path: Path) -> None:
    """From an empty folder to a graded exercise, with nothing that the guide doesn't say."""
    folder = tmp_path / "rows"
    folder.mkdir()
    scripts = str(Path(sys.executable).parent)
    environment = {
        **os.environ,
        "PATH": f"{scripts}:{os.environ['PATH']}",
        "CUDA_VISIBLE_DEVICES": "",
        "LC_ALL": "C.UTF-8",
    }
    n_files = n_commands = 0
    for step in steps():
        if isinstance(step, Written):
            n_files += 1
            (folder / step.path).parent.mkdir(parents=True, exist_ok=True)
            (folder / step.path).write_text(step.text, encoding="utf-8")
            continue
        n_commands += 1
        ran = subprocess.run(
            ["bash", "-c", step.command], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
        )
        shown = f"$ {step.command}\n{ran.stdout}{ran.stderr}"
        assert re.fullmatch(pattern(step.output), ran.stdout) if step.output.strip() else not ran.returncode, shown
    # Were the guide's form to change, this would find nothing to follow.
    assert (n_files, n_commands) == (11, 8)


def test_every_name_is_explained() -> None:
    """All that `gpuprep.grader` offers, every figure and every language stands in the guide."""
    text = GUIDE.read_text(encoding="utf-8")
    words = set(re.findall(r"\w+", text))
    own = {name for kind in (Grader, GroupGrader, Draw) for name in vars(kind) if not name.startswith("_")}
    annotated = {name for kind in (Grader, GroupGrader) for name in vars(kind).get("__annotations__", {})}
    names = {*grader.__all__, *own, *annotated, *work.FIGURES, *exercise.FIGURES, *LANGUAGES}
    # An alias of a type, an attribute, and what the grading of ranks overrides by itself.
    assert names - words - {"Scalar", "device", "own_part"} == set()


@pytest.mark.parametrize("language", LANGUAGES)
def test_languages_are_named(language: str) -> None:
    """Every language that `dev new` knows is named where it is first used."""
    assert f"`{language}`" in walkthrough()
