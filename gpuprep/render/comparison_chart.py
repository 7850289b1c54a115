"""Charts in the terminal, drawn by plotext: without colour, each entry with a letter of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gpuprep.render.charts import nice_ticks
from gpuprep.render.comparison_series import Roofs, Sweep, rooflines, sweeps
from gpuprep.render.layout import INDENT, Page

if TYPE_CHECKING:
    from gpuprep.grading.comparison import Compared

HEIGHT = 14
LINE = "·"
LETTERS = "yrabcdefghijklmnopqstuvwxz"
"""`y` for yours and `r` for the reference; libraries get the others in turn."""
_PREFIXES = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B"))

Points = Sequence[tuple[float, float]]
"""Where to draw: both numbers as decimal logarithms where their axis is one."""


def add_charts(page: Page, compared: Compared) -> None:
    """Rates over sizes where there are several, then the roofline of each operation's largest case."""
    for sweep in sweeps(compared):
        _sweep(page, sweep)
    for roofs in rooflines(compared):
        _roofline(page, roofs)


def letters(names: Sequence[str]) -> dict[str, str]:
    """One for each entry, the same in every chart of an exercise."""
    found = {name: name.removeprefix("the ")[0] for name in names if name in ("yours", "the reference")}
    free = iter(letter for letter in LETTERS if letter not in "yr")
    return {name: found.get(name) or next(free) for name in names}


def size_text(n_bytes: float) -> str:
    """`64 MB`."""
    scale, unit = next((scale, unit) for scale, unit in _PREFIXES if n_bytes >= scale or scale == 1.0)
    return f"{n_bytes / scale:.3g} {unit}"


def _sweep(page: Page, sweep: Sweep) -> None:
    marks = letters([series.name for series in sweep.series])
    of_op = f"{sweep.op}: " if sweep.op else ""
    _heading(page, f"{of_op}{sweep.unit}, by the least bytes that a call moves")
    page.prose("   ".join(f"{letter} {name}" for name, letter in marks.items()), style="quiet")
    drawn = [(marks[series.name], [(math.log10(x), y) for x, y in series.points]) for series in sweep.series]
    every = [point for _, points in drawn for point in points]
    ticks = [(x, size_text(10**x)) for x in _spread(sorted({x for x, _ in every}))]
    y_ticks = [(tick, f"{tick:g}") for tick in nice_ticks(0.0, max(y for _, y in every))]
    _chart(page, drawn, ticks, y_ticks)


def _roofline(page: Page, roofs: Roofs) -> None:
    marks = letters([spot.name for spot in roofs.spots])
    what = f"copy {roofs.copy_gb_per_s:.0f} GB/s"
    if roofs.matmul_tflop_per_s is not None:
        what += f", matmul {roofs.matmul_tflop_per_s:.0f} TFLOP/s"
    _heading(page, f"{roofs.case} on the roofline ({what}): TFLOP/s, by FLOP per byte")
    copy_tb_per_s = roofs.copy_gb_per_s / 1e3
    ridge = roofs.matmul_tflop_per_s / copy_tb_per_s if roofs.matmul_tflop_per_s else roofs.flop_per_byte
    left = 10.0 ** math.floor(math.log10(min(roofs.flop_per_byte, ridge) / 2))
    right = 10.0 ** math.ceil(math.log10(max(roofs.flop_per_byte, ridge) * 2))
    roof = [(left, left * copy_tb_per_s), (min(ridge, right), min(ridge, right) * copy_tb_per_s)]
    if roofs.matmul_tflop_per_s:
        roof.append((right, roofs.matmul_tflop_per_s))
    drawn = [(LINE, [(math.log10(x), math.log10(y)) for x, y in roof])]
    drawn += [
        (marks[spot.name], [(math.log10(roofs.flop_per_byte), math.log10(spot.tflop_per_s))])
        for spot in reversed(roofs.spots)  # the learner's last, so that nothing covers it
    ]
    ups = [y for _, points in drawn for _, y in points]
    x_ticks, y_ticks = (
        [(float(power), f"{10.0**power:g}") for power in range(math.floor(low), math.ceil(high) + 1)]
        for low, high in ((math.log10(left), math.log10(right)), (min(ups), max(ups)))
    )
    _chart(page, drawn, x_ticks, y_ticks)
    best = roofs.best_tflop_per_s
    told = [f"{marks[s.name]} {s.name}: {s.tflop_per_s / best:.0%} of the roof, {s.time}" for s in roofs.spots]
    for text in told:
        page.line((text, "quiet"), indent=2 * INDENT)


def _heading(page: Page, text: str) -> None:
    page.blank()
    page.prose(text, style="strong")


def _chart(
    page: Page,
    drawn: Sequence[tuple[str, Points]],
    x_ticks: Sequence[tuple[float, str]],
    y_ticks: Sequence[tuple[float, str]],
) -> None:
    import plotext

    figure = plotext.figure
    figure.clear()
    figure.plot_size(page.width - 2 * INDENT, HEIGHT)
    for _, points in drawn:
        if len(points) > 1:
            figure.draw(figure.signal([x for x, _ in points], [y for _, y in points], marker=LINE).lines(True))
    for mark, points in drawn:
        if mark != LINE:
            figure.draw(figure.signal([x for x, _ in points], [y for _, y in points], marker=mark))
    for axis, ticks in (("x", x_ticks), ("y", y_ticks)):
        figure.ruler(axis).ticks([place for place, _ in ticks], [label for _, label in ticks])
    reached = max(y for _, points in drawn for _, y in points)
    figure.ruler("y").lim(y_ticks[0][0], max(y_ticks[-1][0], reached))
    page.verbatim(plotext.uncolorize(str(figure.build())), indent=2 * INDENT)


def _spread(places: Sequence[float], least: float = 0.15) -> list[float]:
    """Those that are far enough apart, as a share of the whole, for their labels to stand side by side."""
    kept: list[float] = []
    for place in reversed(places):  # the largest is the one that is graded
        if not kept or kept[-1] - place >= least * (places[-1] - places[0]):
            kept.append(place)
    return sorted(kept)
