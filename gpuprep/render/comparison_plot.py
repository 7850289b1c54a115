"""The charts of `gpuprep bench` as a picture, drawn by matplotlib: a panel for each sweep and each roofline."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gpuprep.render.comparison_chart import size_text
from gpuprep.render.comparison_series import Roofs, Sweep, rooflines, sweeps

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gpuprep.grading.comparison import Compared

PANEL_INCHES = (6.4, 4.2)
DOTS_PER_INCH = 150
MARKERS = "oDs^vPX*"
"""One for each entry, so that colour is never the only thing that tells them apart."""
SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: it can be searched, and takes a tenth of the room
    "svg.hashsalt": "gpuprep",  # the same figures give the same file
    "axes.grid": True,
    "grid.alpha": 0.3,
    "font.size": 9.0,
}


def plotted(benched: Sequence[Compared], file_format: str) -> bytes:
    """The picture, a panel for each sweep and each roofline.

    Args:
        benched: the exercises.
        file_format: `svg` or `png`.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    panels: list[tuple[Compared, Sweep | Roofs]] = []
    for compared in benched:
        panels += [(compared, sweep) for sweep in sweeps(compared)]
        panels += [(compared, roofs) for roofs in rooflines(compared)]
    n_columns = min(2, max(1, len(panels)))
    n_rows = max(1, -(-len(panels) // n_columns))
    with rc_context(SETTINGS):
        size = (PANEL_INCHES[0] * n_columns, PANEL_INCHES[1] * n_rows)
        figure = Figure(figsize=size, dpi=DOTS_PER_INCH, layout="constrained", facecolor="white")
        if not panels:
            text = "Timed at one size, and nothing is computed: there is no curve and no roofline to draw."
            figure.text(0.5, 0.5, text, ha="center")
        for place, (compared, shown) in enumerate(panels, 1):
            axes = figure.add_subplot(n_rows, n_columns, place)
            title = f"{compared.exercise.id} {compared.exercise.title}, {compared.card}"
            if isinstance(shown, Sweep):
                _sweep(axes, shown, title)
            else:
                _roofline(axes, shown, title)
        drawn = io.BytesIO()
        figure.savefig(drawn, format=file_format, metadata={"Date": None} if file_format == "svg" else None)
    return drawn.getvalue()


def _sweep(axes: Axes, sweep: Sweep, title: str) -> None:
    for place, series in enumerate(sweep.series):
        width = 2.0 if series.is_file else 1.2
        xs, ys = [x for x, _ in series.points], [y for _, y in series.points]
        axes.plot(xs, ys, label=series.name, marker=MARKERS[place % len(MARKERS)], linewidth=width, markersize=5)
    axes.set_xscale("log")
    sizes = sorted({x for series in sweep.series for x, _ in series.points})
    axes.set_xticks(sizes, [size_text(size) for size in sizes])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel("least bytes that a call moves")
    axes.set_ylabel(sweep.unit)
    axes.set_title(f"{title}{f': {sweep.op}' if sweep.op else ''}")
    axes.legend()


def _roofline(axes: Axes, roofs: Roofs, title: str) -> None:
    copy_tb_per_s = roofs.copy_gb_per_s / 1e3
    matmul = roofs.matmul_tflop_per_s
    ridge = matmul / copy_tb_per_s if matmul else roofs.flop_per_byte
    left, right = min(roofs.flop_per_byte, ridge) / 10, max(roofs.flop_per_byte, ridge) * 10
    corners = [(left, left * copy_tb_per_s)]
    corners += [(ridge, matmul), (right, matmul)] if matmul else [(right, right * copy_tb_per_s)]
    name = f"copy {roofs.copy_gb_per_s:.0f} GB/s" + (f", {roofs.dtype} matmul {matmul:.0f} TFLOP/s" if matmul else "")
    axes.plot([x for x, _ in corners], [y for _, y in corners], color="black", linewidth=1.5, label=name)
    for place, spot in enumerate(roofs.spots):
        share = spot.tflop_per_s / roofs.best_tflop_per_s
        label = f"{spot.name}: {share:.0%}, {spot.time}"
        marker = MARKERS[place % len(MARKERS)]
        # Nothing covers what comes first, the learner's.
        size, above = (8 if spot.is_file else 6), 10 - place
        axes.plot([roofs.flop_per_byte], [spot.tflop_per_s], marker, markersize=size, label=label, zorder=above)
    lowest = min(spot.tflop_per_s for spot in roofs.spots)
    axes.set_ylim(10 ** math.floor(math.log10(lowest)), 10 ** math.ceil(math.log10(corners[-1][1])))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("FLOP per byte")
    axes.set_ylabel("TFLOP/s")
    axes.set_title(f"{title}\n{roofs.case}")
    axes.legend(loc="lower right")
