"""Generates the stub that a learner gets from the reference that an author writes.

    # BEGIN SOLUTION … # END SOLUTION     left out of the stub
    # BEGIN PROMPT … # END PROMPT         comments in the reference, uncommented in the stub

In a `.cu` the markers and the prompt's comments start with `//`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from gpuprep.curriculum import Curriculum
from gpuprep.errors import CurriculumError
from gpuprep.exercise import Exercise
from gpuprep.workspace import write_atomically

_COMMENT = {".py": "#", ".cu": "//"}

# Whatever looks like a marker must be one: a misspelt BEGIN SOLUTION would hand the solution to the learner.
_MARKER_LIKE = re.compile(r"(?:#|//)[\s#/*]*(?:begin|end)[\s_-]*(?:solution|prompt)", re.IGNORECASE)

MAX_BLANK_LINES = 2
"""In a row, in a stub: what a formatter leaves between two functions."""


class StubStatus(StrEnum):
    """What became of a stub."""

    WRITTEN = "written"
    UNCHANGED = "unchanged"
    STALE = "stale"
    """It isn't what its reference gives, and was only to be checked."""


@dataclass(frozen=True)
class StubResult:
    """One stub file."""

    path: Path
    status: StubStatus


@dataclass(frozen=True)
class _Line:
    """A line of the stub, and where in the reference it stands."""

    number: int
    text: str


def write_stubs(curriculum: Curriculum, *, check: bool = False) -> tuple[StubResult, ...]:
    """Bring every stub up to date with its reference; with `check`, only say which ones are stale.

    Raises:
        CurriculumError: a reference is missing or its markers are wrong; nothing is written then.
        WorkspaceError: a stub can't be written.
    """
    texts: dict[Path, str] = {}
    for exercise in curriculum.exercises:
        texts |= stub_texts(curriculum, exercise)
    return tuple(_write(path, text, check=check) for path, text in texts.items())


def stub_texts(curriculum: Curriculum, exercise: Exercise) -> dict[Path, str]:
    """The text of each of the exercise's stub files, by the path where it belongs.

    Raises:
        CurriculumError: the reference is missing, its markers are wrong, or nothing in it is marked as the solution.
    """
    reference = curriculum.reference_path(exercise)
    folder = curriculum.stub_path(exercise).parent
    texts: dict[Path, str] = {}
    has_solution = False
    for path in curriculum.sources(reference):
        text = _read(path)
        has_solution |= f"{_COMMENT[path.suffix]} BEGIN SOLUTION" in text
        texts[folder / path.name] = make_stub(text, path)
    if not has_solution:
        raise CurriculumError(
            f"{reference}: nothing is marked as the solution, so the stub would hold it",
            next_step="put `# BEGIN SOLUTION` and `# END SOLUTION` around what the learner is to write",
        )
    return texts


def make_stub(text: str, path: Path) -> str:
    """The stub of one reference file.

    Args:
        text: the reference.
        path: where it stands; its suffix decides how comments look, and errors name it.

    Raises:
        CurriculumError: markers that don't pair, a prompt that is no comment, or a stub that isn't Python.
    """
    lines = _squeezed(_stub_lines(text, path))
    stub = "".join(f"{line.text}\n" for line in lines)
    if path.suffix == ".py":
        try:
            ast.parse(stub)
        except SyntaxError as error:
            number = lines[min(error.lineno or 1, len(lines)) - 1].number if lines else 1
            problem = f"the stub would not be Python ({error.msg}); does a function lose its whole body?"
            raise _fault(path, number, problem) from error
    return stub


def _stub_lines(text: str, path: Path) -> Iterator[_Line]:
    comment = _COMMENT[path.suffix]
    region, opened_at = "", 0
    for number, line in enumerate(text.split("\n"), start=1):
        word, kind = _marker(line, comment, path, number)
        if word == "BEGIN":
            if region:
                raise _fault(path, number, f"BEGIN {kind} inside the {region} that began in line {opened_at}")
            region, opened_at = kind, number
        elif word == "END":
            if region != kind:
                raise _fault(path, number, f"END {kind} without its BEGIN {kind}")
            region = ""
        elif region == "PROMPT":
            yield _Line(number, _uncommented(line, comment, path, number))
        elif not region:
            yield _Line(number, line.rstrip())
    if region:
        raise _fault(path, opened_at, f"BEGIN {region} without its END {region}")


def _marker(line: str, comment: str, path: Path, number: int) -> tuple[str, str]:
    """(`BEGIN` or `END`, `SOLUTION` or `PROMPT`), or two empty strings for any other line."""
    if not _MARKER_LIKE.search(line):
        return "", ""
    for word in ("BEGIN", "END"):
        for kind in ("SOLUTION", "PROMPT"):
            if line.strip() == f"{comment} {word} {kind}":
                return word, kind
    raise _fault(
        path, number, f"{line.strip()!r} is nearly a marker; write `{comment} BEGIN SOLUTION` on a line of its own"
    )


def _uncommented(line: str, comment: str, path: Path, number: int) -> str:
    code = line.strip()
    if not code:
        return ""
    if not code.startswith(comment):
        raise _fault(path, number, f"a line of a PROMPT must be a comment: {code!r}")
    indentation = line[: len(line) - len(line.lstrip())]
    return (indentation + code.removeprefix(comment).removeprefix(" ")).rstrip()


def _squeezed(lines: Iterator[_Line]) -> list[_Line]:
    """No more than MAX_BLANK_LINES blank lines in a row, and none at either end."""
    kept: list[_Line] = []
    n_blank = 0
    for line in lines:
        n_blank = 0 if line.text else n_blank + 1
        if n_blank <= MAX_BLANK_LINES and (line.text or kept):
            kept.append(line)
    while kept and not kept[-1].text:
        kept.pop()
    return kept


def _write(path: Path, text: str, *, check: bool) -> StubResult:
    present = path.read_bytes() if path.is_file() else None
    if present == text.encode():
        return StubResult(path, StubStatus.UNCHANGED)
    if check:
        return StubResult(path, StubStatus.STALE)
    write_atomically(path, text)
    return StubResult(path, StubStatus.WRITTEN)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise CurriculumError(
            f"{path}: can't be read ({error.strerror})", next_step="write the reference: the stub is made from it"
        ) from error
    except UnicodeDecodeError as error:
        raise CurriculumError(f"{path}: not UTF-8", next_step=f"save {path} as UTF-8") from error


def _fault(path: Path, number: int, problem: str) -> CurriculumError:
    return CurriculumError(f"{path}:{number}: {problem}", next_step=f"edit {path}, line {number}")
