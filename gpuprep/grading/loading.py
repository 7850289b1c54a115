"""Loads grader files, holds their cases against the targets, and derives a case's seed."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
from collections.abc import Sequence
from types import CodeType

from gpuprep.curriculum import Curriculum
from gpuprep.errors import GraderFaultError
from gpuprep.exercise import QUALITIES, TIMES, Exercise
from gpuprep.grader import Grader
from gpuprep.model import Case, Tier
from gpuprep.yaml_nodes import suggestion


def load_grader(curriculum: Curriculum, exercise: Exercise) -> Grader:
    """The `GRADER` of the exercise's grader file.

    Raises:
        GraderFaultError: the file is missing, fails to import, or defines no `GRADER`.
    """
    path = curriculum.grader_path(exercise)
    spec = importlib.util.spec_from_file_location(f"gpuprep_graders_{exercise.slug}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise GraderFaultError(f"{exercise.id}: no grader at {path}", next_step="gpuprep dev check")
    module = importlib.util.module_from_spec(spec)
    try:
        exec(_compiled(path.read_bytes(), str(path)), module.__dict__)  # noqa: S102  as importlib does
    except Exception as error:
        raise GraderFaultError(f"{path}: {type(error).__name__}: {error}", next_step="gpuprep dev check") from error
    grader = getattr(module, "GRADER", None)
    if not isinstance(grader, Grader):
        raise GraderFaultError(f"{path}: GRADER must be an instance of gpuprep.grader.Grader")
    return grader


@functools.lru_cache(maxsize=64)
def _compiled(source: bytes, path: str) -> CodeType:
    """A file's code. Each check runs it anew; it is compiled once, where importlib would do so each time."""
    return compile(source, path, "exec", dont_inherit=True)


def case_seed(seed: int, case: Case) -> int:
    """The seed of one case's inputs, so that a single case can be made again without the others."""
    digest = hashlib.sha256(f"{seed}|{case.tier}|{case.name}|{','.join(case.devices)}".encode()).digest()
    return int.from_bytes(digest[:7], "little")


def refuse_lost_targets(exercise: Exercise, grader: Grader, cases: Sequence[Case]) -> None:
    """A target that no case is measured for must not be passed over: any value would do.

    Raises:
        GraderFaultError: there is one.
    """
    for target in exercise.targets:
        tier, does = (Tier.WORK, "counts") if target.figure in QUALITIES else (Tier.SPEED, "times")
        found = sorted({case.op for case in cases if case.tier is tier})
        if target.of not in found:
            what = f"a {target.figure} target" + (f" of {target.of!r}" if target.of else "")
            known = suggestion(target.of, filter(None, found)) if any(found) else f"it {does} one case" if found else ""
            raise GraderFaultError(
                f"{exercise.id} has {what}, which its grader {does} no case for{f'; {known}' if known else ''}",
                next_step=f"gpuprep dev check {exercise.id}",
            )
        timed = (case for case in cases if case.tier is tier and case.op == target.of)
        keys = {baseline.key for case in timed for baseline in grader.baselines(case)}
        if target.figure in TIMES and target.figure.removeprefix("times_") not in keys:
            raise GraderFaultError(
                f"{exercise.id} has a {target.figure} target, and no baseline with that key",
                next_step=f"gpuprep dev check {exercise.id}",
            )
