"""Loads grader files, and derives a case's seed."""

from __future__ import annotations

import hashlib
import importlib.util

from gpuprep.curriculum import Curriculum
from gpuprep.errors import GraderFaultError
from gpuprep.exercise import Exercise
from gpuprep.grader import Grader
from gpuprep.model import Case


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
        spec.loader.exec_module(module)
    except Exception as error:
        raise GraderFaultError(f"{path}: {type(error).__name__}: {error}", next_step="gpuprep dev check") from error
    grader = getattr(module, "GRADER", None)
    if not isinstance(grader, Grader):
        raise GraderFaultError(f"{path}: GRADER must be an instance of gpuprep.grader.Grader")
    return grader


def case_seed(seed: int, case: Case) -> int:
    """The seed of one case's inputs, so that a single case can be made again without the others."""
    digest = hashlib.sha256(f"{seed}|{case.tier}|{case.name}|{','.join(case.devices)}".encode()).digest()
    return int.from_bytes(digest[:7], "little")
