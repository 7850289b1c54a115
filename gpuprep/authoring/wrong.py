"""Wrong solutions and what they must get: the first lines of every file in `tests/wrong/<slug>/`.

Where an exercise has a `.cu`, a wrong solution may be one too: a `.cu` by itself is graded with the reference's
launcher, a `.py` by itself with the reference's kernels, and two files of one name belong together.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from gpuprep.curriculum import Curriculum
from gpuprep.errors import CurriculumError
from gpuprep.exercise import Exercise
from gpuprep.model import Outcome

_EXPECT = re.compile(r"^\s*(?:#|//)\s*(expect|expect-gpu):\s*([A-Z_]+(?:\s*\|\s*[A-Z_]+)*)\s*$")
_HEADER_LINES = 3


def wrong_files(curriculum: Curriculum, exercise: Exercise) -> tuple[Path, ...]:
    """The exercise's wrong solutions, sorted; none where the curriculum ships without its tests."""
    return solutions_in(curriculum.root / "tests" / "wrong" / exercise.slug)


def solutions_in(folder: Path) -> tuple[Path, ...]:
    """A folder's solutions, sorted: each `.py`, and each `.cu` that has none of its name beside it."""
    alone = (path for path in folder.glob("*.cu") if not path.with_suffix(".py").is_file())
    return tuple(sorted([*folder.glob("*.py"), *alone]))


@contextlib.contextmanager
def staged(curriculum: Curriculum, exercise: Exercise, path: Path) -> Iterator[Path]:
    """The Python file to grade for a solution, with a `.cu` beside it where the exercise has one.

    What the solution leaves out is the reference's. Then both lie in a folder that is gone afterwards.
    """
    reference = curriculum.reference_path(exercise)
    launcher, kernels = path.with_suffix(".py"), path.with_suffix(".cu")
    needs_kernels = reference.with_suffix(".cu").is_file()
    if launcher.is_file() and (kernels.is_file() or not needs_kernels):
        yield launcher
        return
    with tempfile.TemporaryDirectory(prefix="gpuprep-") as name:
        folder = Path(name).resolve()
        for own in (launcher, kernels):
            source = own if own.is_file() else reference.with_suffix(own.suffix)
            if source.is_file():
                shutil.copyfile(source, folder / own.name)
        yield folder / launcher.name


def expected_outcomes(path: Path, *, on_card: bool = False) -> frozenset[Outcome]:
    """The outcomes that a wrong file declares: `# expect: RACE|WRONG_VALUES`, in a `.cu` with `//`.

    Args:
        path: the file.
        on_card: prefer its `# expect-gpu:` line, for what a card sees and the interpreter doesn't.

    Raises:
        CurriculumError: the first line declares nothing, or an outcome that doesn't exist.
    """
    found: dict[str, frozenset[Outcome]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()[:_HEADER_LINES], start=1):
        if match := _EXPECT.match(line):
            names = [name.strip() for name in match[2].split("|")]
            unknown = [name for name in names if name not in Outcome.__members__]
            if unknown:
                raise CurriculumError(f"{path}:{number}: no outcome is called {unknown[0]}")
            found[match[1]] = frozenset(Outcome(name) for name in names)
    if "expect" not in found:
        raise CurriculumError(f"{path}:1: a wrong file starts with the outcome it must get: # expect: WRONG_VALUES")
    return found.get("expect-gpu", found["expect"]) if on_card else found["expect"]
