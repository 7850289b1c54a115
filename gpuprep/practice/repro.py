"""Turns the last attempt's failing case into a small script that runs the learner's function under a debugger."""

from __future__ import annotations

import io
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuprep.errors import GpuprepError, GraderFaultError
from gpuprep.exercise import Exercise
from gpuprep.model import Case, Outcome, Tier
from gpuprep.practice.repro_script import ReproFacts, script_text

if TYPE_CHECKING:
    from gpuprep.curriculum import Curriculum
    from gpuprep.progress import Attempt, Progress
    from gpuprep.workspace import Workspace


@dataclass(frozen=True)
class ReproScript:
    """What was written."""

    path: Path
    inputs_path: Path
    """The inputs and the expected outputs, for `torch.load`."""
    case_name: str


def repro(workspace: Workspace, curriculum: Curriculum, progress: Progress, exercise: Exercise) -> ReproScript:
    """Makes the failing inputs of the last attempt again and writes them with a script beside them.

    A hidden case is never written.

    Raises:
        GpuprepError: there is no failing input to write: no attempt, a pass, a failure before any case ran, only
            hidden cases, an exercise that changed since or takes several processes, or a GPU that is not here.
        GraderFaultError: the grader can't make the inputs again.
        WorkspaceError: the files can't be written.
    """
    from gpuprep.grading.loading import load_grader
    from gpuprep.grading.masked_lanes import OTHERWISE
    from gpuprep.workspace import write_atomically

    if exercise.language == "distributed":
        raise GpuprepError(
            f"{exercise.id} runs in several processes, and a script is one: its report names rank and line",
            next_step=f"gpuprep check {exercise.id}",
        )
    attempt = _failed_attempt(progress, exercise)
    entry = _failing_case(attempt, exercise)
    if attempt.exercise_hash != curriculum.exercise_hash(exercise):
        raise GpuprepError(
            f"{exercise.id} has changed since its last check, so that check's inputs can't be made again",
            next_step=f"gpuprep check {exercise.id}",
        )
    case = Case(entry["case"]["params"], Tier(entry["case"]["tier"]), tuple(entry["case"]["devices"]))
    grader = load_grader(curriculum, exercise)
    folder = workspace.state_dir / "repro"
    script = ReproScript(folder / f"{exercise.slug}.py", folder / f"{exercise.slug}_inputs.pt", case.name)
    facts = ReproFacts(
        exercise=f"{exercise.id} {exercise.title}",
        case_name=case.name,
        outcome=Outcome(entry["outcome"]),
        said=str(entry["message"]),
        device=entry["device"],
        function=grader.function,
        learner_file=_graded_file(workspace, attempt, exercise),
        driver_file=curriculum.driver_path(exercise),
        inputs_name=script.inputs_path.name,
        is_triton=exercise.language == "triton",
        is_loud=str(entry["message"]).startswith(OTHERWISE),
    )
    write_atomically(script.inputs_path, _saved(grader, case, attempt.report["seed"], entry["device"]))
    write_atomically(script.path, script_text(facts, workspace.root))
    return script


def _failed_attempt(progress: Progress, exercise: Exercise) -> Attempt:
    attempt = progress.last(exercise.id)
    if attempt is None:
        raise GpuprepError(
            f"{exercise.id} was not checked yet, so there is no failing input",
            next_step=f"gpuprep check {exercise.id}",
        )
    if attempt.outcome.is_pass:
        raise GpuprepError(
            f"The last check of {exercise.id} passed, so there is no failing input", next_step="gpuprep next"
        )
    return attempt


def _failing_case(attempt: Attempt, exercise: Exercise) -> Mapping[str, Any]:
    """The case that the verdict names (see `Report.first_failure`), hidden ones left out."""
    failed = [entry for entry in attempt.report["cases"] if Outcome(entry["outcome"]).is_failure]
    shown = [entry for entry in failed if not _is_hidden(entry)]
    if shown:
        place = attempt.report.get("first_failure")
        told: Mapping[str, Any] = shown[0] if place is None else attempt.report["cases"][place]
        return told if told in shown else shown[0]
    if failed:
        raise GpuprepError(
            f"{exercise.id} failed on hidden cases only, and these are not given away",
            next_step=f"gpuprep hint {exercise.id}",
        )
    raise GpuprepError(
        f"The last check of {exercise.id} ended with {attempt.outcome}, not on one of its inputs: there is no failing"
        " input to run again",
        next_step=_instead(attempt, exercise),
    )


def _is_hidden(entry: Mapping[str, Any]) -> bool:
    case = entry["case"]
    return bool(entry.get("hidden") or case.get("hidden") or case["tier"] == "hidden" or case["params"].get("hidden"))


def _instead(attempt: Attempt, exercise: Exercise) -> str:
    if attempt.outcome is Outcome.NOT_STARTED:
        return f"gpuprep open {exercise.id}"
    if attempt.outcome in (Outcome.COMPILE_FAILED, Outcome.RAISED):
        return f"python -m pdb {shlex.quote(attempt.path)}"  # it went wrong while the file was imported
    return f"gpuprep check {exercise.id}"


def _graded_file(workspace: Workspace, attempt: Attempt, exercise: Exercise) -> Path:
    path: Path = workspace.root / attempt.report["path"]
    if not path.is_file():
        raise GpuprepError(
            f"{path}, the file that the last check graded, is gone", next_step=f"gpuprep check {exercise.id}"
        )
    return path.resolve()


def _saved(grader: Any, case: Case, seed: int, device: str) -> bytes:
    """The inputs, with their strides and guard bands, and the expected outputs in their dtypes."""
    import torch

    from gpuprep.grader import Draw
    from gpuprep.grading.loading import case_seed

    draw_on = "cpu"
    if case.tier is Tier.SPEED:
        # Only the timed case's inputs are drawn on the card, a set a call from seeds that count up from the check's.
        draw_on, seed = device, seed + 1
        if not torch.cuda.is_available():
            raise GpuprepError(
                f"{case.name} failed on a GPU, and there is none here to make its inputs again",
                next_step="gpuprep doctor",
            )
    try:
        inputs = tuple(grader.inputs(case, Draw(case_seed(seed, case), draw_on)))
        # From a copy: an oracle that changed its arguments would otherwise change what is written.
        expected = grader.oracle(case, *_copied(inputs))
        outputs = tuple(item.value.to(getattr(torch, item.dtype)) for item in expected)
    except Exception as error:
        message = f"{case.name}: {type(error).__name__}: {error}"
        raise GraderFaultError(message, next_step="gpuprep dev check") from error
    buffer = io.BytesIO()
    torch.save({"inputs": inputs, "expected": outputs}, buffer)
    return buffer.getvalue()


def _copied(inputs: tuple[Any, ...]) -> Iterator[Any]:
    import torch

    return (value.clone() if isinstance(value, torch.Tensor) else value for value in inputs)
