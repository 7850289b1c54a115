"""What `check` and `bench` do around the grading: one exercise after the other, each shown as soon as it is done."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from gpuprep import curriculum
from gpuprep.errors import INTERRUPTED
from gpuprep.exercise import Exercise
from gpuprep.grading import pool_client
from gpuprep.practice import benching
from gpuprep.practice.checking import Checked, Options, check_file, exit_code, require_present
from gpuprep.practice.desk import Desk, author_root, open_desk
from gpuprep.render import machine, terminal
from gpuprep.render.comparison import bench_document, bench_page
from gpuprep.render.report import report_page, summary_page

if TYPE_CHECKING:
    from gpuprep.grading.comparison import Compared
    from gpuprep.grading.pool import WarmPool

MIN_FOR_POOL = 2
"""The first fork has to wait for the same imports as a cold start."""


def check_each(desk: Desk, exercises: Sequence[Exercise], options: Options, *, has_summary: bool, as_json: bool) -> int:
    """Grade, record and show each exercise; afterwards a summary, and what could not be recorded.

    Returns:
        The exit code.
    """
    done: list[Checked] = []
    with _pool_for(exercises, options) as pool:
        for exercise in exercises:
            try:
                done.append(_check_one(desk, exercise, options, pool))
            except KeyboardInterrupt:
                terminal.notice(f"interrupted; nothing was recorded for {exercise.id}", style="warning")
                return INTERRUPTED
            if not as_json:
                _show(desk, done[-1], options, is_first=len(done) == 1)
    graded = [(checked.exercise, checked.report) for checked in done]
    unrecorded = next((checked.unrecorded for checked in done if checked.unrecorded), None)
    code = unrecorded.exit_code if unrecorded else exit_code([report for _, report in graded], options)
    if as_json:
        document = machine.checks(graded, code, required=options.required, unrecorded=unrecorded)
        terminal.write(machine.dumps(document))
    elif has_summary:
        unmet = any(options.unmet(report) for _, report in graded)
        terminal.show(summary_page(graded, unmet=unmet), gap=True)
    for checked in done:
        if checked.unkept:
            text = f"{checked.exercise.id} is recorded without its source, for `gpuprep history`: {checked.unkept}"
            terminal.notice(text, style="warning")
    if unrecorded:
        terminal.show_error(unrecorded)
    return code


def bench_each(
    queries: list[str] | None,
    *,
    is_reference: bool,
    csv_path: Path | None,
    as_json: bool,
    plot_path: Path | None = None,
    is_sweep: bool = False,
) -> None:
    """Time the exercises one after the other, each shown when it is done.

    Args:
        queries: which; the current one without any.
        is_reference: the references of the curriculum that is around, in place of a workspace's files.
        csv_path: where the times go as CSV, too.
        as_json: one document at the end instead.
        plot_path: where they go as a picture.
        is_sweep: smaller sizes, too.
    """
    if plot_path is not None:
        benching.plot_format(plot_path)  # said before minutes of timing
    if is_reference:
        found = curriculum.load(author_root(None))
        exercises = [found.find(query) for query in queries or ()] or [e for e in found.exercises if e.targets]
        bench: Callable[..., Compared] = partial(benching.bench_reference, found, is_sweep=is_sweep)
    else:
        desk = open_desk()
        exercises = desk.exercises(queries)
        require_present(desk.workspace, exercises)
        bench = partial(benching.bench_file, desk, is_sweep=is_sweep)
    done = []
    for exercise in exercises:
        with terminal.status(f"{exercise.id} {exercise.title}") as on_event:
            done.append(bench(exercise, on_event))
        if not as_json:
            terminal.show(bench_page(done[-1]), gap=len(done) > 1)
    if csv_path is not None:
        benching.write_csv(csv_path, done)
    if plot_path is not None:
        benching.write_plot(plot_path, done)
    if as_json:
        terminal.write(machine.dumps(machine.document("bench", exercises=[bench_document(each) for each in done])))


@contextmanager
def _pool_for(exercises: Sequence[Exercise], options: Options) -> Iterator[WarmPool | None]:
    """A pool of our own where it pays: for several exercises, when none runs that could do them."""
    if len(exercises) < MIN_FOR_POOL or (options.can_be_asked and pool_client.status()):
        yield None
        return
    from gpuprep.grading.pool import WarmPool

    with WarmPool() as pool:
        yield pool


def _check_one(desk: Desk, exercise: Exercise, options: Options, pool: WarmPool | None) -> Checked:
    with terminal.status(f"{exercise.id} {exercise.title}") as on_event, _interrupts_remembered(on_event) as tell:
        return check_file(desk.workspace, desk.curriculum, exercise, options, on_event=tell, pool=pool)


def _show(desk: Desk, checked: Checked, options: Options, *, is_first: bool) -> None:
    def display(path: str) -> str:
        return desk.workspace.display(Path(path))

    page = report_page(checked.report, checked.exercise, display=display, unmet=options.unmet(checked.report))
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
