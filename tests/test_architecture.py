"""The picture in docs/architecture.md and the imports of the code are the same."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
PACKAGE = CHECKOUT / "gpuprep"
PAGE = CHECKOUT / "docs" / "architecture.md"
MODULES = sorted(PACKAGE.rglob("*.py"))
HEAVY = ("torch", "triton", "cupy", "numpy")


def rooms() -> list[tuple[str, ...]]:
    """The paths of each room, lowest first: the first cells of the table's rows, read from the docs."""
    rows = re.findall(r"^\| (`gpuprep/[^|]+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return [tuple(re.findall(r"`([^`]+)`", row)) for row in rows]


ROOMS = rooms()


def room_of(path: Path) -> int:
    """Place of the room that a module belongs to."""
    name = path.relative_to(CHECKOUT).as_posix()
    found = [
        place
        for place, paths in enumerate(ROOMS)
        if any(name == room or (room.endswith("/") and name.startswith(room)) for room in paths)
    ]
    assert len(found) == 1, f"{name} stands in {len(found)} rooms of {PAGE.name}"
    return found[0]


def module_path(name: str) -> Path | None:
    """The file of `gpuprep.curriculum` or `gpuprep.grading`; None where no module has that name."""
    stem = CHECKOUT.joinpath(*name.split("."))
    return next((path for path in (stem.with_suffix(".py"), stem / "__init__.py") if path.is_file()), None)


def imports(path: Path) -> Iterator[tuple[int, Path]]:
    """Line and file of every module of ours that a module imports.

    Anywhere: at the top, inside functions, and under TYPE_CHECKING too. To name another room's type is to know it.
    """
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import hides which room it means"
            # `from gpuprep import workspace` imports a module, `from gpuprep.workspace import find` a name of one.
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if module_path(name) else str(node.module) for name in names]
        else:
            continue
        for name in names:
            if name.split(".")[0] == "gpuprep":
                found = module_path(name)
                assert found is not None, f"{path}:{node.lineno}: {name}"
                yield node.lineno, found


def ids(path: Path) -> str:
    """`grading/session.py`."""
    return path.relative_to(PACKAGE).as_posix()


@pytest.mark.parametrize("path", MODULES, ids=ids)
def test_module_imports_from_rooms_above_it(path: Path) -> None:
    """A room imports from itself and from rooms above it in the table."""
    own = room_of(path)
    upward = [f"{path.name}:{line} imports {ids(found)}" for line, found in imports(path) if room_of(found) > own]
    assert upward == []


def test_every_room_exists() -> None:
    """The table names nothing that is gone."""
    assert ROOMS
    assert [room for paths in ROOMS for room in paths if not (CHECKOUT / room).exists()] == []


def test_trusted_side_uses_only_the_clock_of_the_worker() -> None:
    """Of the room in which learners' code runs, the grader imports the timing and nothing else."""
    used = {found for path in (PACKAGE / "grading").glob("*.py") for _, found in imports(path)}
    assert {path for path in used if path.parent.name == "worker"} == {PACKAGE / "worker" / "timing.py"}


@pytest.mark.parametrize("module", ["gpuprep.cli", "gpuprep.grader"])
def test_import_is_light(module: str) -> None:
    """The front, and what graders are written in, load no torch, Triton, CuPy or NumPy."""
    code = f"import sys, {module}; print(*sorted({set(HEAVY)!r} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=CHECKOUT)
    assert ran.stdout.split() == []
