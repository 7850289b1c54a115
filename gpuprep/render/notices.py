"""The answers of the small commands: `init`, `hint`, `reset`, `solution`, `repro`, `doctor`, `calibrate`, `pool`."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from gpuprep.exercise import Exercise
from gpuprep.render.layout import INDENT, WIDTH, Page, Part

if TYPE_CHECKING:
    from gpuprep.curriculum import Curriculum
    from gpuprep.render.views import Calibration, Checkup, HintShown, PoolStatus, ReproScript, SolutionShown
    from gpuprep.workspace import InitResult, ResetResult

Display = Callable[[Path], str]


_STATUS_MARKS = {
    "ok": ("✓", "good"),
    "missing": ("✗", "bad"),
    "broken": ("✗", "bad"),
    "note": ("–", "quiet"),
}


def welcome_page(result: InitResult, curriculum: Curriculum, *, target: str = "", width: int = WIDTH) -> Page:
    """Where the files are, and the three commands to type.

    Args:
        result: what `init` did.
        curriculum: what the workspace was made from.
        target: the workspace's folder as a person would type it; empty where they are in it already.
        width: columns to lay out for.
    """
    page = Page(width)
    is_new = any(".vscode" not in path.parts for path in result.created) and not (result.kept or result.updated)
    greeting = f"Welcome to gpuprep: {curriculum.title}" if is_new else "The workspace is up to date."
    page.line((greeting, "strong"))
    page.blank()
    rows: list[list[Part]] = [[("workspace", "quiet"), (str(result.workspace.root), "code")]]
    source = result.workspace.source
    if source:
        rows.append([("taken from", "quiet"), (source.shown, "code")])
    rows.append([("exercises", "quiet"), f"{len(curriculum.exercises)}, in exercises/<module>/ex_NN_name.py"])
    if result.workspace.plan:
        rows.append([("plan", "quiet"), curriculum.plan(result.workspace.plan).title])
    changes = [("new", result.created), ("updated", result.updated), ("yours, kept", result.kept)]
    told = ", ".join(f"{len(paths)} {word}" for word, paths in changes if paths)
    rows.append([("files", "quiet"), told or "nothing to change"])
    page.table(rows, "<<")
    page.blank()
    if source and source.is_copied:
        page.prose(
            "Its graders run on this machine with your rights, as any program does: take curricula only from people "
            "whom you trust.",
            style="warning",
        )
        page.blank()
    if any(path.parts[-2:] == (".vscode", "settings.json") for path in result.kept):
        page.prose(
            "`.vscode/settings.json` is yours, and stays as it is. For the test explorer it needs "
            '`"python.testing.pytestEnabled": true`.'
        )
        page.blank()
    page.prose(
        "Each exercise is a file, in CUDA C with a `.cu` beside it: read the task at its top, write the code, check it."
    )
    commands: list[list[Part]] = [
        [("gpuprep next", "command"), "what to do now, and in which file"],
        [("gpuprep check", "command"), "grade it: right? how much work? how fast?"],
        [("gpuprep hint", "command"), "a nudge; the next one says more"],
    ]
    page.table(commands, "<<", indent=2 * INDENT)
    page.next_command(f"cd {shlex.quote(target)} && gpuprep next" if target else "gpuprep next")
    return page


def hint_page(hint: HintShown, *, width: int = WIDTH) -> Page:
    """One hint, and where on the ladder it stands."""
    page = Page(width)
    exercise = hint.exercise
    page.line((f"{exercise.id} {exercise.title}  ", "strong"), f"hint {hint.index + 1} of {hint.total}")
    if hint.chosen_for:
        found = hint.chosen_for.replace("_", " ")
        page.line((f"chosen for what your last check found: {found}", "quiet"), indent=INDENT)
    page.blank()
    page.prose(hint.text)
    if hint.unrecorded:
        page.blank()
        page.prose(f"Not recorded, so it comes again next time: {hint.unrecorded}", style="warning")
    if hint.index + 1 < hint.total:
        # After a hint that was picked out of turn the ladder goes on where it was, perhaps with a smaller one.
        page.next_command(f"gpuprep hint {exercise.id}", "gives another" if hint.chosen_for else "says more")
    else:
        page.next_command(f"gpuprep check {exercise.id}", "this was the last hint")
    return page


def solution_note(exercise: Exercise, solution: SolutionShown) -> str:
    """What is said beside a solution's text."""
    forced = " It was shown before a pass, and the record says so." if solution.forced else ""
    return f"{exercise.id} {exercise.title}: the reference, {solution.path}.{forced}"


def reset_page(exercise: Exercise, result: ResetResult, display: Display, *, width: int = WIDTH) -> Page:
    """Which file is a stub again, and where the old one is kept."""
    page = Page(width)
    page.line(("○ ", "quiet"), (f"{exercise.id} {exercise.title}  ", "strong"), "is the stub again")
    rows: list[list[Part]] = [[("file", "quiet"), (display(result.path), "code")]]
    kept = display(result.backup) if result.backup else "none: there was no file"
    rows.append([("backup", "quiet"), (kept, "code" if result.backup else "quiet")])
    page.table(rows, "<<")
    page.next_command(f"gpuprep open {exercise.id}")
    return page


def repro_page(exercise: Exercise, repro: ReproScript, display: Display, *, width: int = WIDTH) -> Page:
    """Which case was written out, and the command that runs it."""
    page = Page(width)
    page.line((f"{exercise.id} {exercise.title}  ", "strong"), f"case {repro.case_name}")
    rows: list[list[Part]] = [
        [("script", "quiet"), (display(repro.path), "code")],
        [("inputs", "quiet"), (display(repro.inputs_path), "code")],
    ]
    page.table(rows, "<<")
    page.prose("It runs your function on the failing input, in the debugger, and compares what comes back.")
    page.next_command(f"python {shlex.quote(display(repro.path))}")
    return page


def doctor_page(checkup: Checkup, *, width: int = WIDTH) -> Page:
    """What is there, what is missing, and the line that installs it."""
    page = Page(width)
    name_width = max((len(item.name) for item in checkup.items), default=0)
    for item in checkup.items:
        glyph, style = _STATUS_MARKS[item.status]
        lead: list[Part] = [(f"{glyph} ", style), f"{item.name:<{name_width}}  ", (f"{item.status:<7}  ", style)]
        page.prose(item.detail, indent=0, lead=lead)
    fixes = [item for item in checkup.items if item.fix]
    if fixes:
        page.blank()
        page.line(("To mend it", "strong"))
        for item in fixes:
            page.line(f"{item.name}:  ", (item.fix or "", "command"), indent=INDENT)
    if checkup.is_healthy:
        page.next_command("gpuprep next")
    else:
        page.next_command("gpuprep doctor", "once that is mended")
    return page


def pool_page(running: PoolStatus | None, *, width: int = WIDTH) -> Page:
    """Whether a warm pool runs, and how to have it otherwise."""
    page = Page(width)
    if running is None:
        page.line("No pool is running: every check loads torch and Triton anew.")
        page.next_command("gpuprep pool start", "keeps them loaded")
        return page
    page.line((f"A pool is running, process {running.pid}.", "strong"))
    minutes = f"{running.idle_s / 60:g}"
    page.prose(f"Checks use it. It ends when nothing was checked for {minutes} minutes.")
    page.next_command("gpuprep check")
    return page


def calibration_page(calibration: Calibration, *, width: int = WIDTH) -> Page:
    """The ceilings that shares are taken of."""
    page = Page(width)
    ceilings = calibration.ceilings
    page.line((ceilings.card, "strong"))
    rows: list[list[Part]] = [[("copy", "quiet"), f"{ceilings.copy_gb_per_s:.0f} GB/s, read plus written"]]
    for dtype, rate in ceilings.matmul_tflop_per_s.items():
        rows.append([(f"{dtype} matmul", "quiet"), f"{rate:.0f} TFLOP/s"])
    page.table(rows, "<<")
    page.prose(f"Measured in {calibration.elapsed_s:.1f} s. Targets are shares of these.")
    page.next_command("gpuprep check")
    return page
