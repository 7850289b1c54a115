"""`gpuprep bench`: which files are timed beside the baselines."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gpuprep.errors import GpuprepError, UsageError

if TYPE_CHECKING:
    from gpuprep.curriculum import Curriculum
    from gpuprep.exercise import Exercise
    from gpuprep.grading.comparison import Compared
    from gpuprep.practice.desk import Desk

YOURS, REFERENCE = "yours", "the reference"
COLUMNS = (
    "exercise", "case", "name", "low_ms", "median_ms", "high_ms", "n_samples", "share", "of", "card", "bytes", "flops",
)  # fmt: skip
PLOT_FORMATS = ("svg", "png")


def bench_file(desk: Desk, exercise: Exercise, on_event: Callable[[str], None], *, is_sweep: bool = False) -> Compared:
    """Time the learner's file, and, once that has passed, the reference beside it.

    Raises:
        GpuprepError: there is no card, nothing to time, or the file can't be run.
    """
    from gpuprep.grading.comparison import compare

    files = {YOURS: desk.workspace.exercise_path(exercise)}
    with desk.progress() as record:
        best = record.best().get(exercise.id)
    if best is not None and best.outcome.is_pass:
        files[REFERENCE] = desk.curriculum.reference_path(exercise)
    return compare(desk.curriculum, exercise, files, on_event=on_event, is_sweep=is_sweep)


def bench_reference(
    curriculum: Curriculum, exercise: Exercise, on_event: Callable[[str], None], *, is_sweep: bool = False
) -> Compared:
    """Time the reference alone beside the baselines.

    Raises:
        GpuprepError: there is no card, or nothing to time.
    """
    from gpuprep.grading.comparison import compare

    files = {REFERENCE: curriculum.reference_path(exercise)}
    return compare(curriculum, exercise, files, on_event=on_event, is_sweep=is_sweep)


def write_csv(path: Path, benched: Sequence[Compared]) -> None:
    """A row for each time, under COLUMNS; `share` is of this card's rate that `of` names.

    Raises:
        UsageError: the file can't be written.
    """
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for compared in benched:
                writer.writerows(_rows(compared))
    except OSError as error:
        raise UsageError(
            f"{path}: can't be written ({error.strerror})", next_step="gpuprep bench --csv FILE"
        ) from error


def plot_format(path: Path) -> str:
    """`svg` or `png`, as the file's name says.

    Raises:
        UsageError: it says something else.
        GpuprepError: matplotlib, which draws it, isn't installed.
    """
    import importlib.util

    suffix = path.suffix.lower().removeprefix(".")
    if suffix not in PLOT_FORMATS:
        raise UsageError(f"{path}: a plot is an .svg or a .png", next_step="gpuprep bench --plot bench.svg")
    if importlib.util.find_spec("matplotlib") is None:
        raise GpuprepError("--plot needs matplotlib, which is not installed", next_step="pip install 'gpuprep[plot]'")
    return suffix


def write_plot(path: Path, benched: Sequence[Compared]) -> None:
    """Draw rates over sizes and rooflines, as SVG or PNG.

    Raises:
        UsageError: the file can't be written, or has another suffix.
        GpuprepError: matplotlib isn't installed.
    """
    from gpuprep.render.comparison_plot import plotted

    content = plotted(benched, plot_format(path))
    try:
        path.write_bytes(content)
    except OSError as error:
        raise UsageError(
            f"{path}: can't be written ({error.strerror})", next_step="gpuprep bench --plot FILE.svg"
        ) from error


def _rows(compared: Compared) -> list[tuple[object, ...]]:
    return [
        (
            compared.exercise.id,
            comparison.case.name,
            entry.name,
            *entry.interval_ms,
            len(entry.samples_ms),
            comparison.share(entry),
            "matmul" if comparison.is_compute_bound else "copy",
            compared.card,
            comparison.traffic.bytes,
            comparison.traffic.flops,
        )
        for comparison in compared.comparisons
        for entry in comparison.entries
        if entry.samples_ms
    ]
