"""`gpuprep dev check`: proves that a curriculum is what it claims to be."""

from __future__ import annotations

import ast
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from gpuprep.authoring.readme import refresh_readme
from gpuprep.authoring.stubs import write_stubs
from gpuprep.authoring.wrong import expected_outcomes, staged, wrong_files
from gpuprep.curriculum import Curriculum
from gpuprep.errors import CurriculumError, GpuprepError
from gpuprep.exercise import Exercise
from gpuprep.model import Outcome, Report, Tier

OnEvent = Callable[[str], None]
Grade = Callable[[Exercise, Path], Report]

MIN_WRONG_FILES = 6
HINTS = 3


@dataclass(frozen=True)
class ProofItem:
    """One claim about the curriculum, and whether it holds."""

    claim: str
    """`reference passes`, `stub is current`, …"""
    subject: str
    """The exercise or file that it is about."""
    holds: bool
    detail: str = ""


@dataclass(frozen=True)
class Proof:
    """All claims that were tried, and what this machine could not try."""

    items: tuple[ProofItem, ...]
    not_graded: tuple[str, ...] = ()
    """One line for each thing that could not be graded here, with the reason."""

    @property
    def holds(self) -> bool:
        """True when something was proved and nothing failed."""
        return bool(self.items) and all(item.holds for item in self.items)

    @property
    def failures(self) -> tuple[ProofItem, ...]:
        """The claims that don't hold."""
        return tuple(item for item in self.items if not item.holds)


def prove(curriculum: Curriculum, only: Sequence[Exercise] | None = None, on_event: OnEvent | None = None) -> Proof:
    """Try every claim about every exercise; grading runs several files at a time.

    Args:
        curriculum: what is proved.
        only: these exercises instead of all.
        on_event: gets a few words whenever a file starts.
    """
    from gpuprep.grading.pool import WarmPool
    from gpuprep.grading.session import check

    tell = on_event or (lambda _: None)
    exercises = tuple(only or curriculum.exercises)
    items = [*_files(curriculum, exercises), *_stray(curriculum), *_stubs(curriculum, exercises), *_readme(curriculum)]
    not_graded: list[str] = []

    def grade(exercise: Exercise, path: Path) -> Report:
        return check(exercise, curriculum, path, pool=pool)

    with WarmPool() as pool, ThreadPoolExecutor(max_workers=max(1, min(4, (os.cpu_count() or 2)))) as threads:
        jobs = [threads.submit(job) for exercise in exercises for job in _jobs(curriculum, exercise, tell, grade)]
        for job in jobs:
            found, skipped = job.result()
            items.extend(found)
            not_graded.extend(skipped)
    return Proof(tuple(items), tuple(dict.fromkeys(not_graded)))


Found = tuple[list[ProofItem], list[str]]


def _files(curriculum: Curriculum, exercises: Sequence[Exercise]) -> Iterator[ProofItem]:
    for exercise in exercises:
        paths = (
            curriculum.stub_path(exercise),
            curriculum.reference_path(exercise),
            curriculum.grader_path(exercise),
            curriculum.guide_path(exercise.module),
        )
        missing = [str(path) for path in paths if not path.is_file() or not path.read_text(encoding="utf-8").strip()]
        yield ProofItem("files are there", exercise.id, not missing, ", ".join(missing))
        yield ProofItem("has its hints", exercise.id, len(exercise.hints) >= HINTS, f"{len(exercise.hints)} of {HINTS}")
        if (curriculum.root / "tests").is_dir():
            n_wrong = len(wrong_files(curriculum, exercise))
            yield ProofItem(
                "has wrong solutions", exercise.id, n_wrong >= MIN_WRONG_FILES, f"{n_wrong} of {MIN_WRONG_FILES}"
            )


def _stray(curriculum: Curriculum) -> Iterator[ProofItem]:
    known = {curriculum.guide_path(module.id) for module in curriculum.modules}
    for exercise in curriculum.exercises:
        for path in (
            curriculum.stub_path(exercise),
            curriculum.reference_path(exercise),
            curriculum.grader_path(exercise),
        ):
            known |= {path, path.with_suffix(".cu"), path.with_name(f"{path.stem}_driver.py")}
    folders = (curriculum.root / tree for tree in ("exercises", "reference", "graders"))
    found = {path for folder in folders for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    # A misspelt folder's wrong solutions would never be tried.
    slugs = {exercise.slug for exercise in curriculum.exercises}
    found |= {path for path in (curriculum.root / "tests" / "wrong").glob("*") if path.name not in slugs}
    stray = sorted(str(path.relative_to(curriculum.root)) for path in found - known)
    yield ProofItem("no stray files", "curriculum", not stray, ", ".join(stray))


def _stubs(curriculum: Curriculum, exercises: Sequence[Exercise]) -> Iterator[ProofItem]:
    wanted = {curriculum.stub_path(exercise).with_suffix("") for exercise in exercises}
    try:
        results = write_stubs(curriculum, check=True)
    except CurriculumError as error:
        yield ProofItem("stub is current", "curriculum", False, error.message)
        return
    for result in results:
        if result.path.with_suffix("") in wanted:
            is_current = result.status != "stale"
            detail = "" if is_current else "differs from its reference; run gpuprep dev stubs"
            yield ProofItem("stub is current", result.path.name, is_current, detail)


def _readme(curriculum: Curriculum) -> Iterator[ProofItem]:
    for result in refresh_readme(curriculum, check=True):
        is_current = result.status != "stale"
        detail = "" if is_current else "differs from curriculum.yaml; run gpuprep dev stubs"
        yield ProofItem("table is current", result.path.name, is_current, detail)


def _jobs(curriculum: Curriculum, exercise: Exercise, tell: OnEvent, grade: Grade) -> Iterator[Callable[[], Found]]:
    yield lambda: _guarded(exercise, lambda: _grader_is_sharp(curriculum, exercise))
    yield lambda: _guarded(exercise, lambda: _stub_is_not_started(curriculum, exercise, tell, grade))
    yield lambda: _guarded(exercise, lambda: _reference_passes(curriculum, exercise, tell, grade))
    for path in wrong_files(curriculum, exercise):
        yield lambda path=path: _guarded(exercise, lambda: _wrong_is_rejected(curriculum, exercise, path, tell, grade))  # type: ignore[misc]


def _guarded(exercise: Exercise, job: Callable[[], Found]) -> Found:
    try:
        return job()
    except GpuprepError as error:
        return [ProofItem("can be tried", exercise.id, False, error.message)], []
    except Exception as error:  # noqa: BLE001  whatever a file of the curriculum makes of it is a finding, not the end
        return [ProofItem("can be tried", exercise.id, False, f"{type(error).__name__}: {error}")], []


def _grader_is_sharp(curriculum: Curriculum, exercise: Exercise) -> Found:
    from gpuprep.authoring.sharpness import sharpness
    from gpuprep.grading.loading import load_grader

    grader = load_grader(curriculum, exercise)
    items = [
        ProofItem(
            "tolerance is sharp",
            f"{exercise.id} {found.dtype}",
            found.is_sharp,
            f"honest {found.honest:.2g}, lower precision {found.lower_precision:.2g}, zeros {found.zeros:.2g}"
            + ("" if found.identity is None else f", identity {found.identity:.2g}"),
        )
        for found in sharpness(grader)
    ]
    for path in (curriculum.reference_path(exercise), curriculum.stub_path(exercise)):
        found = _parameters(path, grader.function)
        agrees = found == list(grader.parameters)
        items.append(ProofItem("signature agrees", str(path.relative_to(curriculum.root)), agrees, f"{found}"))
    return items, []


def _parameters(path: Path, function: str) -> list[str] | None:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name == function:
            return [arg.arg for arg in node.args.args]
        if isinstance(node, ast.ClassDef) and node.name == function:
            made = (part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__")
            return [arg.arg for part in made for arg in part.args.args[1:]]
    return None


def _stub_is_not_started(curriculum: Curriculum, exercise: Exercise, tell: OnEvent, grade: Grade) -> Found:
    stub = curriculum.stub_path(exercise)
    tell(f"{exercise.id}: the stub")
    untouched = grade(exercise, stub)
    with tempfile.TemporaryDirectory(prefix="gpuprep-") as folder:
        # With a line added it is no longer equal to the stub: now it must say so by itself, with NotImplementedError.
        touched_path = Path(folder) / stub.name
        for source in curriculum.sources(stub):
            (Path(folder) / source.name).write_bytes(source.read_bytes())
        touched_path.write_text(stub.read_text(encoding="utf-8") + "\n_touched = True\n", encoding="utf-8")
        touched = grade(exercise, touched_path)
    return [
        ProofItem("stub is NOT_STARTED", exercise.id, untouched.outcome is Outcome.NOT_STARTED, _said(untouched)),
        _touched_item(curriculum, exercise, touched),
    ], []


def _touched_item(curriculum: Curriculum, exercise: Exercise, touched: Report) -> ProofItem:
    if "NotImplementedError" in curriculum.stub_path(exercise).read_text(encoding="utf-8"):
        holds = touched.outcome is Outcome.NOT_STARTED
        return ProofItem("stub is NOT_STARTED", exercise.id, holds, _said(touched))
    # A launcher that comes complete, beside kernels that do nothing or the wrong thing.
    return ProofItem("stub fails", exercise.id, not touched.outcome.is_pass, _said(touched))


def _reference_passes(curriculum: Curriculum, exercise: Exercise, tell: OnEvent, grade: Grade) -> Found:
    tell(f"{exercise.id}: the reference")
    report = grade(exercise, curriculum.reference_path(exercise))
    skipped = [f"{exercise.id}: {tier.tier}: {tier.reason}" for tier in report.tiers if tier.outcome is Outcome.SKIPPED]
    items = [ProofItem("reference passes", exercise.id, report.outcome.is_pass, _said(report))]
    speed = report.tier(Tier.SPEED)
    if speed is not None and speed.outcome is not Outcome.SKIPPED:
        items.append(ProofItem("reference is gold", exercise.id, report.is_gold, _said(report)))
    return items, skipped


def _wrong_is_rejected(curriculum: Curriculum, exercise: Exercise, path: Path, tell: OnEvent, grade: Grade) -> Found:
    tell(f"{exercise.id}: {path.name}")
    with staged(curriculum, exercise, path) as launcher:
        report = grade(exercise, launcher)
    wanted = expected_outcomes(path, on_card=report.device != "cpu")
    holds = report.outcome in wanted
    detail = f"must get {' or '.join(sorted(wanted))}; got {_said(report)}"
    return [ProofItem("wrong file is rejected", f"{exercise.id}/{path.name}", holds, detail)], []


def _said(report: Report) -> str:
    failure = report.first_failure
    return f"{report.outcome} {report.message or (failure.message if failure else '')}".strip()
