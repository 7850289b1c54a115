"""What `gpuprep check` does around the grading: one exercise after the other, each shown as soon as it is graded."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from gpuprep.model import Exercise
from gpuprep.practice.checking import Checked, Options, check_file, exit_code
from gpuprep.practice.desk import Desk
from gpuprep.render import machine, terminal
from gpuprep.render.report import report_page, summary_page

INTERRUPTED = 130
"""What shells report for a process that Ctrl-C ended."""


def check_each(desk: Desk, exercises: Sequence[Exercise], options: Options, *, has_summary: bool, as_json: bool) -> int:
    """Grade, record and show each exercise; afterwards a summary, and what could not be recorded.

    Returns:
        The exit code.
    """
    done: list[Checked] = []
    for exercise in exercises:
        try:
            done.append(_check_one(desk, exercise, options))
        except KeyboardInterrupt:
            terminal.notice(f"interrupted; nothing was recorded for {exercise.id}", style="warning")
            return INTERRUPTED
        if not as_json:
            _show(desk, done[-1], options, is_first=len(done) == 1)
    graded = [(checked.exercise, checked.report) for checked in done]
    unrecorded = next((checked.unrecorded for checked in done if checked.unrecorded), None)
    code = unrecorded.exit_code if unrecorded else exit_code([report for _, report in graded], options)
    if as_json:
        document = machine.checks(graded, code, needs_speed=options.needs_speed, unrecorded=unrecorded)
        terminal.write(machine.dumps(document))
    elif has_summary:
        terminal.show(summary_page(graded, needs_speed=options.needs_speed), gap=True)
    if unrecorded:
        terminal.show_error(unrecorded)
    return code


def _check_one(desk: Desk, exercise: Exercise, options: Options) -> Checked:
    with terminal.status(f"{exercise.id} {exercise.title}") as on_event, _interrupts_remembered(on_event) as tell:
        return check_file(desk.workspace, desk.curriculum, exercise, options, on_event=tell)


def _show(desk: Desk, checked: Checked, options: Options, *, is_first: bool) -> None:
    def display(path: str) -> str:
        return desk.workspace.display(Path(path))

    page = report_page(checked.report, checked.exercise, display=display, needs_speed=options.needs_speed)
    terminal.show(page, gap=not is_first)


@contextmanager
def _interrupts_remembered(on_event: Callable[[str], None]) -> Iterator[Callable[[str], None]]:
    """Makes Ctrl-C count even where it is swallowed: then the next event raises KeyboardInterrupt again.

    torch's extension modules drop an exception that arrives while they are being imported, and a learner who presses
    Ctrl-C in that second would wait for the whole check.
    """
    is_interrupted = False

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        nonlocal is_interrupted
        is_interrupted = True
        raise KeyboardInterrupt

    def tell(event: str) -> None:
        if is_interrupted:
            raise KeyboardInterrupt
        on_event(event)

    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:  # ignored, as under nohup, or another program's
        yield on_event
        return
    signal.signal(signal.SIGINT, interrupt)
    try:
        yield tell
    finally:
        signal.signal(signal.SIGINT, before)
