"""Results as JSON: `{"version": 2, "command": …}`. Every document is complete, and valid JSON whatever it holds."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuprep.exercise import Exercise
from gpuprep.model import Report
from gpuprep.render.overview import goals
from gpuprep.render.roadmap import ability_dict, area_dict, schedule_dict

if TYPE_CHECKING:
    from gpuprep.errors import GpuprepError
    from gpuprep.render.views import (
        Calibration,
        Checkup,
        HintShown,
        Overview,
        PoolStatus,
        ReproScript,
        Schedule,
        SolutionShown,
        Standing,
        Tally,
    )
    from gpuprep.workspace import InitResult, ResetResult

VERSION = 2
"""Goes up when a key changes its meaning or goes away; new keys don't change it."""

Document = dict[str, Any]


def document(command: str, **content: Any) -> Document:
    """A document of one command."""
    return {"version": VERSION, "command": command, **content}


def dumps(content: Mapping[str, Any]) -> str:
    """The document as text: ASCII, so that no terminal's encoding can spoil it, and without JSON's missing NaN."""
    return json.dumps(_plain(content), indent=2, allow_nan=False)


def checks(
    graded: Sequence[tuple[Exercise, Report]],
    exit_code: int,
    *,
    required: str | None = None,
    unrecorded: GpuprepError | None = None,
) -> Document:
    """What `check` found, one report an exercise, in the order in which they were graded.

    Args:
        graded: the checks.
        exit_code: what the process is about to exit with.
        required: what `--require` asked for.
        unrecorded: why the checks could not be recorded.
    """
    reports = [report_dict(exercise, report) for exercise, report in graded]
    failure = error(unrecorded, exit_code=exit_code)["error"] if unrecorded else None
    return document(
        "check", exit_code=exit_code, required=[required] if required else [], reports=reports, error=failure
    )


def report_dict(exercise: Exercise, report: Report) -> Document:
    """A report, its cases and timings by name."""
    content = report.as_dict()
    for case_dict, result in zip(content["cases"], report.cases, strict=True):
        case_dict["name"] = result.case.name
    for timing_dict, timing in zip(content["timings"], report.timings, strict=True):
        timing_dict["name"] = timing.case.name
    return {"title": exercise.title, **content}


def listing(command: str, overview: Overview) -> Document:
    """Where a learner stands: `list` and `progress`."""
    return document(
        command,
        plan=overview.plan,
        current=overview.current.exercise.id if overview.current else None,
        totals=_tally_dict(overview.overall),
        modules=[_tally_dict(tally) for tally in overview.modules],
        topics=[_tally_dict(tally) for tally in overview.topics],
        exercises=[standing_dict(standing) for standing in overview.standings],
        coming=overview.coming,
        schedule=schedule_dict(overview.schedule),
        roadmap=[area_dict(area) for area in overview.areas],
        checklist=[ability_dict(ability) for ability in overview.checklist],
    )


def standing_dict(standing: Standing) -> Document:
    """An exercise and what has become of it."""
    exercise = standing.exercise
    return {
        "id": exercise.id,
        "slug": exercise.slug,
        "title": exercise.title,
        "module": exercise.module,
        "language": exercise.language,
        "minutes": exercise.minutes,
        "topics": list(exercise.topics),
        "outcome": standing.outcome,
        "attempts": standing.attempts,
        "is_gold": standing.is_gold,
        "is_stale": standing.is_stale,
        "at": standing.at,
        "solution_seen": standing.solution_seen,
    }


def next_exercise(current: Standing | None, path: Path | None, schedule: Schedule | None = None) -> Document:
    """The current exercise, or null where all are done; and the plan that the workspace follows."""
    plan = schedule_dict(schedule)
    if current is None:
        return document("next", current=None, schedule=plan)
    exercise = current.exercise
    targets = [asdict(target) for target in exercise.targets]
    more = {"summary": exercise.summary, "goals": goals(exercise), "targets": targets}
    return document("next", current={**standing_dict(current), **more, "path": path}, schedule=plan)


def hint(shown: HintShown) -> Document:
    """One hint."""
    place = {"number": shown.index + 1, "of": shown.total}
    return document(
        "hint",
        exercise_id=shown.exercise.id,
        **place,
        text=shown.text,
        chosen_for=shown.chosen_for,
        unrecorded=shown.unrecorded,
    )


def solution(exercise: Exercise, shown: SolutionShown) -> Document:
    """The reference's text."""
    return document("solution", exercise_id=exercise.id, path=shown.path, text=shown.text, forced=shown.forced)


def reset(exercise: Exercise, result: ResetResult) -> Document:
    """What `reset` put back, and where the old files are."""
    return document("reset", exercise_id=exercise.id, path=result.path, backup=result.backup)


def repro(exercise: Exercise, script: ReproScript) -> Document:
    """Where the failing input and its script were written."""
    paths = {"path": script.path, "inputs_path": script.inputs_path}
    return document("repro", exercise_id=exercise.id, case=script.case_name, **paths)


def doctor(checkup: Checkup) -> Document:
    """What is there, what is missing, and how to mend it."""
    items = [
        {"name": item.name, "status": item.status, "detail": item.detail, "fix": item.fix} for item in checkup.items
    ]
    return document("doctor", is_healthy=checkup.is_healthy, items=items)


def pool(running: PoolStatus | None) -> Document:
    """The warm pool that a check would use, if there is one."""
    if running is None:
        return document("pool", running=False, pid=None, templates={}, idle_s=None)
    templates = dict(running.templates)
    return document("pool", running=True, pid=running.pid, templates=templates, idle_s=running.idle_s)


def calibrate(calibration: Calibration) -> Document:
    """The ceilings that shares are taken of; GB is 10⁹ bytes, a TFLOP/s 10¹² operations."""
    ceilings = calibration.ceilings
    return document(
        "calibrate",
        card=ceilings.card,
        copy_gb_per_s=ceilings.copy_gb_per_s,
        matmul_tflop_per_s=dict(ceilings.matmul_tflop_per_s),
        elapsed_s=calibration.elapsed_s,
    )


def init(result: InitResult) -> Document:
    """What `init` did."""
    workspace = result.workspace
    return document(
        "init",
        workspace=workspace.root,
        curriculum=workspace.curriculum_root,
        source=workspace.source.as_dict() if workspace.source else None,
        plan=workspace.plan,
        created=result.created,
        updated=result.updated,
        kept=result.kept,
    )


def error(failure: GpuprepError, *, exit_code: int) -> Document:
    """What failed, and the next step."""
    kind = type(failure).__name__
    told = {"kind": kind, "message": failure.message, "next_step": failure.next_step, "exit_code": exit_code}
    return {"version": VERSION, "error": told}


def _tally_dict(tally: Tally) -> Document:
    counts = {"passed": tally.passed, "provisional": tally.provisional, "gold": tally.gold, "total": tally.total}
    return {"id": tally.id, "title": tally.title, **counts}


def _plain(value: Any) -> Any:
    """The value as JSON knows it: paths as text, numbers that JSON lacks as `nan`, `inf` and `-inf`."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
