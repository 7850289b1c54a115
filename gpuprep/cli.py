"""The `gpuprep` command: Typer wiring, no logic. Everything heavy is imported inside the command that needs it."""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from gpuprep import (
    __version__,
    cli_classroom,
    cli_dev,
    cli_grade,
    cli_history,
    cli_init,
    cli_profile,
    cli_report,
    cli_verify,
    cli_watch,
)
from gpuprep.cli_exercise import OneExercise, complete
from gpuprep.cli_typer import QuickCommand, QuickGroup
from gpuprep.errors import GpuprepError, UsageError, WorkspaceError

if TYPE_CHECKING:
    from gpuprep.practice.desk import Desk

PRACTISE, STANDING, SET_UP = "Practise", "Where you stand", "Set up"
CLASSES, AUTHORS = "For instructors", "For curriculum authors"

_HELP = """A gym for GPU and inference engineering: write the kernel, and learn whether it is right,
how much work it does, and how close it runs to what your card can do.

EX is an exercise: `ex_03`, `3`, or a part of its title that fits no other. Without it, your current exercise."""

_EXAMPLES = """Examples:
  gpuprep init gym && cd gym    make a workspace
  gpuprep next                  what to write now, and in which file
  gpuprep check                 grade it
  gpuprep check 3 softmax       grade two others
  gpuprep hint                  a nudge; again for more
  gpuprep check --all --json    everything, for a script

Exit codes: 0 passed, 1 not passed or nothing gradable, 2 usage or set-up,
3 the grader's own fault."""


app = typer.Typer(
    name="gpuprep",
    cls=QuickGroup,
    help=_HELP,
    epilog=_EXAMPLES,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(cli_dev.app, name="dev", rich_help_panel=AUTHORS)


def _desk() -> Desk:
    from gpuprep.practice.desk import open_desk

    return open_desk()


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        from gpuprep.render import terminal

        terminal.write(f"gpuprep {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _front(
    context: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    if context.invoked_subcommand is not None:
        return
    from gpuprep import workspace
    from gpuprep.render import terminal

    try:
        workspace.find()
    except WorkspaceError as error:
        if text := context.get_help():  # with rich, Typer has printed it already
            terminal.write(text)
        terminal.notice(f"{error.message}. To make one: gpuprep init gym", style="strong")
        return
    if cli_watch.is_possible():
        cli_watch.watch()
    next_()


app.command(cls=QuickCommand, rich_help_panel=PRACTISE)(cli_watch.watch)


app.command(cls=QuickCommand, rich_help_panel=SET_UP)(cli_init.init)


@app.command("next", cls=QuickCommand, rich_help_panel=PRACTISE)
def next_(as_json: cli_dev.AsJson = False) -> None:
    """Show the current exercise: what is asked, and which file to write."""
    from gpuprep.render import machine, terminal
    from gpuprep.render.overview import next_page

    desk = _desk()
    overview = desk.overview()
    current, plan = overview.current, overview.schedule
    path = desk.workspace.exercise_path(current.exercise) if current else None
    page = next_page(current, path, desk.curriculum, display=desk.workspace.display, schedule=plan)
    terminal.answer(page, machine.next_exercise(current, path, plan), as_json=as_json)


@app.command(cls=QuickCommand, rich_help_panel=PRACTISE)
def check(
    queries: Annotated[
        list[str] | None,
        typer.Argument(metavar="[EX]...", help="What to grade; the current one if left out.", autocompletion=complete),
    ] = None,
    check_all: Annotated[bool, typer.Option("--all", help="Every exercise in the workspace.")] = False,
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="Where to run; `auto` uses a GPU where there is one.")
    ] = "auto",
    timeout: Annotated[
        float | None, typer.Option(min=0.1, metavar="SECONDS", help="How long your code may run on each device.")
    ] = None,
    require: Annotated[
        Literal["speed", "witnessed"] | None,
        typer.Option(
            help="`witnessed`: work that only your own process counted is no pass; `speed`: nor is one without speed."
        ),
    ] = None,
    world: Annotated[
        int | None, typer.Option(min=1, metavar="RANKS", help="Of an exercise for several ranks: with so many only.")
    ] = None,
    as_json: cli_dev.AsJson = False,
) -> None:
    """Grade an exercise: is it right, how much work does it do, how fast is it?"""
    if check_all and queries:
        raise UsageError("check takes exercises or --all, not both", next_step="gpuprep check --all")
    from gpuprep.practice import checking

    desk = _desk()
    if check_all:
        exercises = checking.present(desk.workspace, desk.curriculum.exercises)
    else:
        exercises = desk.exercises(queries)
        checking.require_present(desk.workspace, exercises)
    options = checking.Options(device, timeout, require, world)
    checking.ask_ahead(desk.workspace, desk.curriculum, exercises, options)
    from gpuprep.cli_check import check_each

    raise typer.Exit(check_each(desk, exercises, options, has_summary=check_all or len(exercises) > 1, as_json=as_json))


@app.command(cls=QuickCommand, rich_help_panel=PRACTISE)
def bench(
    queries: Annotated[
        list[str] | None,
        typer.Argument(metavar="[EX]...", help="What to time; the current one if left out.", autocompletion=complete),
    ] = None,
    reference: Annotated[bool, typer.Option("--reference", help="The references alone, without a workspace.")] = False,
    sweep: Annotated[bool, typer.Option("--sweep", help="Smaller sizes, too, and a chart of them.")] = False,
    csv: Annotated[str | None, typer.Option(metavar="FILE", help="Write the times as CSV, too.")] = None,
    plot: Annotated[str | None, typer.Option(metavar="FILE", help="Draw them and the roofline: .svg or .png.")] = None,
    as_json: cli_dev.AsJson = False,
) -> None:
    """Time your kernel beside what libraries take, in turn, in one run. After a pass, the reference joins in."""
    from gpuprep.cli_check import bench_each

    csv_path, plot_path = (Path(path) if path else None for path in (csv, plot))
    bench_each(queries, is_reference=reference, csv_path=csv_path, plot_path=plot_path, is_sweep=sweep, as_json=as_json)


app.command(cls=QuickCommand, rich_help_panel=PRACTISE)(cli_profile.profile)


@app.command("list", cls=QuickCommand, rich_help_panel=STANDING)
def list_(as_json: cli_dev.AsJson = False) -> None:
    """List every exercise, and what has become of it."""
    from gpuprep.render import machine, terminal
    from gpuprep.render.overview import list_page

    desk = _desk()
    overview = desk.overview()
    terminal.answer(list_page(desk.curriculum, overview), machine.listing("list", overview), as_json=as_json)


app.command(cls=QuickCommand, rich_help_panel=STANDING)(cli_history.progress)
app.command(cls=QuickCommand, rich_help_panel=STANDING)(cli_history.history)
app.command(cls=QuickCommand, rich_help_panel=STANDING)(cli_history.compare)
app.command(cls=QuickCommand, rich_help_panel=STANDING)(cli_report.report)


@app.command(cls=QuickCommand, rich_help_panel=PRACTISE)
def hint(query: OneExercise = None, as_json: cli_dev.AsJson = False) -> None:
    """Give a hint: first what answers your last check, then from a nudge to an outline, one more each time."""
    from gpuprep.practice.checking import last_diagnosis
    from gpuprep.practice.hints import next_hint
    from gpuprep.render import machine, terminal
    from gpuprep.render.notices import hint_page

    desk = _desk()
    exercise = desk.exercise(query)
    with desk.progress() as record:
        shown = next_hint(exercise, record, diagnosis_id=last_diagnosis(record.last(exercise.id)))
    terminal.answer(hint_page(shown), machine.hint(shown), as_json=as_json)


@app.command(cls=QuickCommand, rich_help_panel=PRACTISE)
def reset(query: OneExercise = None, as_json: cli_dev.AsJson = False) -> None:
    """Put an exercise's stub back. What you wrote is backed up first."""
    from gpuprep import workspace
    from gpuprep.render import machine, terminal
    from gpuprep.render.notices import reset_page

    desk = _desk()
    exercise = desk.exercise(query)
    result = workspace.reset(desk.workspace, desk.curriculum, exercise)
    terminal.answer(
        reset_page(exercise, result, desk.workspace.display), machine.reset(exercise, result), as_json=as_json
    )


@app.command(cls=QuickCommand, rich_help_panel=PRACTISE)
def solution(
    query: OneExercise = None,
    force: Annotated[bool, typer.Option("--force", help="Before a pass, too. It is noted for good.")] = False,
    as_json: cli_dev.AsJson = False,
) -> None:
    """Print the reference solution, once you have passed."""
    from gpuprep.practice.solutions import solution as reveal
    from gpuprep.render import machine, terminal
    from gpuprep.render.notices import solution_note

    desk = _desk()
    exercise = desk.exercise(query)
    with desk.progress() as record:
        shown = reveal(desk.curriculum, record, exercise, force=force)
    if as_json:
        terminal.write(machine.dumps(machine.solution(exercise, shown)))
        return
    terminal.write(shown.text)
    terminal.notice(solution_note(exercise, shown))


@app.command("open", cls=QuickCommand, rich_help_panel=PRACTISE)
def open_(query: OneExercise = None) -> None:
    """Open an exercise in your editor: $VISUAL, else $EDITOR, else one that is installed."""
    from gpuprep.practice.checking import require_present
    from gpuprep.practice.editor import open_files

    desk = _desk()
    exercise = desk.exercise(query)
    require_present(desk.workspace, [exercise])
    open_files(desk.curriculum.sources(desk.workspace.exercise_path(exercise)))


@app.command(cls=QuickCommand, rich_help_panel=PRACTISE)
def repro(query: OneExercise = None, as_json: cli_dev.AsJson = False) -> None:
    """Write the last failing input as a script that runs your function in the debugger."""
    from gpuprep.practice.repro import repro as write_repro
    from gpuprep.render import machine, terminal
    from gpuprep.render.notices import repro_page

    desk = _desk()
    exercise = desk.exercise(query)
    with desk.progress() as record:
        script = write_repro(desk.workspace, desk.curriculum, record, exercise)
    terminal.answer(
        repro_page(exercise, script, desk.workspace.display), machine.repro(exercise, script), as_json=as_json
    )


@app.command(cls=QuickCommand, rich_help_panel=SET_UP)
def doctor(as_json: cli_dev.AsJson = False) -> None:
    """Look at Python, torch, Triton, the compiler and the GPU, and say how to mend what is missing."""
    from gpuprep.practice.doctor import diagnose
    from gpuprep.render import machine, terminal
    from gpuprep.render.notices import doctor_page

    with terminal.status("doctor") as on_event:
        on_event("running a test program on each back end")
        checkup = diagnose()
    terminal.answer(doctor_page(checkup), machine.doctor(checkup), as_json=as_json)
    raise typer.Exit(0 if checkup.is_healthy else GpuprepError.exit_code)


@app.command(cls=QuickCommand, rich_help_panel=SET_UP)
def calibrate(as_json: cli_dev.AsJson = False) -> None:
    """Measure what this card can do. The first timed check does it by itself."""
    from gpuprep.practice.calibration import calibrate_card
    from gpuprep.render import machine, terminal
    from gpuprep.render.notices import calibration_page

    with terminal.status("calibrate") as on_event:
        on_event("measuring copies and matmuls")
        calibration = calibrate_card(on_event)
    terminal.answer(calibration_page(calibration), machine.calibrate(calibration), as_json=as_json)


@app.command(cls=QuickCommand, rich_help_panel=SET_UP)
def pool(
    action: Annotated[
        Literal["start", "stop", "status"], typer.Argument(metavar="[ACTION]", help="`start`, `stop` or `status`.")
    ] = "status",
    as_json: cli_dev.AsJson = False,
) -> None:
    """Keep torch and Triton loaded in the background: a check on a CPU then takes a fraction of a second.

    `start` leaves it running until nothing was checked for ten minutes. Every `check` without `--require` uses it.
    """
    from gpuprep.grading import pool_client
    from gpuprep.render import machine, terminal
    from gpuprep.render.notices import pool_page

    if action == "start":
        with terminal.status("pool") as on_event:
            on_event("loading torch and Triton")
            pool_client.start()
    elif action == "stop":
        pool_client.stop()
    running = pool_client.status()
    terminal.answer(pool_page(running), machine.pool(running), as_json=as_json)


app.command(cls=QuickCommand, rich_help_panel=CLASSES)(cli_grade.grade)
app.add_typer(cli_classroom.app, name="classroom", rich_help_panel=CLASSES)
app.command(cls=QuickCommand, rich_help_panel=CLASSES)(cli_verify.verify)


def main() -> NoReturn:
    """Runs the command. What a person can mend becomes a line and a next step; our own bugs keep their traceback."""
    try:
        _run()
    except BrokenPipeError:
        _hush()
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        from gpuprep.render import terminal

        _hush()
        what = error.filename or "what this prints"
        full = UsageError(f"{what} can't be written: {error.strerror}", next_step="df -h, and free some space")
        terminal.show_error(full)
        sys.exit(full.exit_code)
    sys.exit(1)


def _run() -> None:
    try:
        app(prog_name="gpuprep")
    except GpuprepError as error:
        from gpuprep.render import machine, terminal

        if "--json" in sys.argv[1:]:
            terminal.write(machine.dumps(machine.error(error, exit_code=error.exit_code)))
        terminal.show_error(error)
        sys.exit(error.exit_code)


def _hush() -> None:
    """Nothing can be written to stdout any more: keep the interpreter from complaining when it flushes at the end."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
