"""Wrong solutions and what they must get: the first lines of every file in `tests/wrong/<slug>/`."""

from __future__ import annotations

import re
from pathlib import Path

from gpuprep.curriculum import Curriculum
from gpuprep.errors import CurriculumError
from gpuprep.exercise import Exercise
from gpuprep.model import Outcome

_EXPECT = re.compile(r"^\s*(?:#|//)\s*(expect|expect-gpu):\s*([A-Z_]+(?:\s*\|\s*[A-Z_]+)*)\s*$")
_HEADER_LINES = 3


def wrong_files(curriculum: Curriculum, exercise: Exercise) -> tuple[Path, ...]:
    """The exercise's wrong solutions, sorted; none where the curriculum ships without its tests."""
    return tuple(sorted((curriculum.root / "tests" / "wrong" / exercise.slug).glob("*.py")))


def expected_outcomes(path: Path, *, on_card: bool = False) -> frozenset[Outcome]:
    """The outcomes that a wrong file declares: `# expect: RACE|WRONG_VALUES`.

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
