"""The cases of an exercise, known before a check: names that stay the same, though some sizes are drawn anew each time.

A grader makes its cases from the check's secret seed. Here they are made from several seeds that are no secret; what
differs between them is called `random` in a case's name.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gpuprep.curriculum import Curriculum
from gpuprep.exercise import Exercise
from gpuprep.model import Case, CaseResult, Scalar, Tier
from gpuprep.workspace import write_atomically

FILE_NAME = "cases.json"
FORMAT_VERSION = 1
DRAWN = "random"
"""What stands in a name for a value that is drawn anew for each check."""
_SEEDS = (1, 2, 3)


@dataclass(frozen=True)
class ListedCase:
    """A case that a check will have."""

    name: str
    """As a report names it, with DRAWN for what isn't known yet; unique within the exercise."""
    tier: Tier
    fixed: Mapping[str, Scalar]
    """The parameters that are the same in every check."""
    drawn: tuple[str, ...] = ()

    def is_like(self, case: Case) -> bool:
        """True where the case of a report may be this one."""
        if case.tier is not self.tier or set(case.params) != {*self.fixed, *self.drawn}:
            return False
        return all(case.params[key] == value for key, value in self.fixed.items())


@dataclass(frozen=True)
class CaseList:
    """What a check of an exercise will have looked at."""

    function: str
    """The name that the learner's file defines."""
    cases: tuple[ListedCase, ...] = ()
    """Those of the tiers that need no clock. None where even their number is drawn."""
    timed_ops: tuple[str, ...] = ()
    """The operations that are timed; an empty name where the exercise has only one."""

    def results(self, found: Sequence[CaseResult]) -> list[list[CaseResult]]:
        """Of a report's results, those of each case: one for each device, or none where it wasn't run."""
        of: list[list[CaseResult]] = [[] for _ in self.cases]
        for result in found:
            fitting = [place for place, case in enumerate(self.cases) if case.is_like(result.case)]
            if not fitting:
                continue
            # A size that was drawn may fit where another case has the same one for good; that one's name says more.
            fewest = min(len(self.cases[place].drawn) for place in fitting)
            alike = [place for place in fitting if len(self.cases[place].drawn) == fewest]
            free = (place for place in alike if not of[place] or of[place][0].case == result.case)
            of[next(free, alike[-1])].append(result)
        return of


def listed_cases(curriculum: Curriculum, exercise: Exercise, state_dir: Path) -> CaseList:
    """The cases of an exercise. Asking its grader may import torch, so what it said is kept in the workspace.

    Raises:
        GraderFaultError: the grader can't be loaded.
        CurriculumError: the exercise can't be read.
    """
    current = curriculum.exercise_hash(exercise)
    path = state_dir / FILE_NAME
    kept = _read(path)
    entry = kept.get(exercise.id)
    if entry and entry["hash"] == current:
        with suppress(KeyError, TypeError, ValueError):
            return _from_dict(entry)
    made = _ask(curriculum, exercise)
    # Read again: several may be at it.
    entries = {**_read(path), exercise.id: {"hash": current, **asdict(made)}}
    write_atomically(path, json.dumps({"version": FORMAT_VERSION, "exercises": entries}))
    return made


def _ask(curriculum: Curriculum, exercise: Exercise) -> CaseList:
    from gpuprep.errors import GraderFaultError
    from gpuprep.grading.loading import load_grader

    grader = load_grader(curriculum, exercise)
    try:
        several = [list(grader.cases(random.Random(seed))) for seed in _SEEDS]  # noqa: S311  sizes, not secrets
    except Exception as error:
        raise GraderFaultError(
            f"{curriculum.grader_path(exercise)}: cases(): {type(error).__name__}: {error}",
            next_step=f"gpuprep dev check {exercise.id}",
        ) from error
    timed = tuple(dict.fromkeys(case.op for case in several[0] if case.tier is Tier.SPEED))
    if len({len(cases) for cases in several}) > 1:
        return CaseList(grader.function, (), timed)
    rows = [row for row in zip(*several, strict=True) if row[0].tier is not Tier.SPEED]
    if any(len({(case.tier, case.op, *sorted(case.params)) for case in row}) > 1 for row in rows):
        return CaseList(grader.function, (), timed)
    return CaseList(grader.function, tuple(_unique(_listed(row) for row in rows)), timed)


def _listed(row: Sequence[Case]) -> ListedCase:
    """One place in the cases of all seeds."""
    case = row[0]
    drawn = tuple(key for key in case.params if len({other.params[key] for other in row}) > 1)
    fixed = {key: value for key, value in case.params.items() if key not in drawn}
    name = Case({key: DRAWN if key in drawn else value for key, value in case.params.items()}).name
    return ListedCase(name, case.tier, fixed, drawn)


def _unique(cases: Iterable[ListedCase]) -> list[ListedCase]:
    """The same, those of one name numbered."""
    found = list(cases)
    n_of_name = Counter(case.name for case in found)
    seen: Counter[str] = Counter()
    numbered = []
    for case in found:
        seen[case.name] += 1
        name = f"{case.name} ({seen[case.name]})" if n_of_name[case.name] > 1 else case.name
        numbered.append(ListedCase(name, case.tier, case.fixed, case.drawn))
    return numbered


def _read(path: Path) -> dict[str, Any]:
    """What was kept; nothing where that can't be used."""
    try:
        content = json.loads(path.read_bytes())
        return dict(content["exercises"]) if content["version"] == FORMAT_VERSION else {}
    except (OSError, ValueError, LookupError, TypeError):
        return {}


def _from_dict(entry: Mapping[str, Any]) -> CaseList:
    cases = tuple(
        ListedCase(case["name"], Tier(case["tier"]), dict(case["fixed"]), tuple(case["drawn"]))
        for case in entry["cases"]
    )
    return CaseList(entry["function"], cases, tuple(entry["timed_ops"]))
