"""The charts of `gpuprep bench`: what is drawn where, in the terminal and as a picture."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from golden_files import assert_golden
from sample_reports import EXERCISE
from test_render_comparison import CEILINGS, entry

from gpuprep.grader import Traffic
from gpuprep.grading.comparison import Compared, Comparison
from gpuprep.model import Case, Tier
from gpuprep.render.comparison_chart import add_charts, letters, size_text
from gpuprep.render.comparison_series import rooflines, sweeps
from gpuprep.render.layout import Page

NAMES = ("yours", "the reference", "torch.softmax")
SIZES = (2**28, 2**26, 2**24, 2**22)


def at(n: int, *, op: str = "", flops_a_byte: float = 0.5) -> Comparison:
    """One case, in which a small size costs everybody some microseconds more."""
    n_bytes = 4 * n
    times = [n_bytes / 4e9 * factor + 1e-3 for factor in (1.1, 1.02, 2.5)]
    params: dict[str, int | str] = {"op": op} if op else {}
    case = Case({**params, "n": n, "dtype": "float16"}, Tier.SPEED, ("cuda",))
    traffic = Traffic(n_bytes, int(n_bytes * flops_a_byte), "float16")
    found = (entry(name, ms, is_file=place < 2) for place, (name, ms) in enumerate(zip(NAMES, times, strict=True)))
    return Comparison(case, traffic, tuple(found), CEILINGS)


def compared(*comparisons: Comparison) -> Compared:
    """An exercise with these cases."""
    return Compared(EXERCISE, comparisons, "NVIDIA H200", {"torch": "2.13.0"})


SWEPT = compared(*(at(n) for n in SIZES))


def drawn(found: Compared, width: int = 80) -> str:
    """The charts as text."""
    page = Page(width)
    add_charts(page, found)
    return page.text()


def test_charts_are_what_they_were() -> None:
    """A curve for each entry over the sizes, then the roofline of the largest with a letter for each."""
    text = drawn(SWEPT)
    assert_golden("bench_charts", text)
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text


def test_one_size_is_no_curve() -> None:
    """A curve of one point says no more than the table does."""
    assert sweeps(compared(at(2**28))) == []
    assert len(rooflines(compared(at(2**28)))) == 1


def test_what_only_moves_bytes_has_no_roofline() -> None:
    """Without a FLOP there is no place on the logarithmic axis."""
    assert rooflines(compared(at(2**28, flops_a_byte=0.0))) == []


def test_operations_are_drawn_apart() -> None:
    """Each has its sizes, and its largest case's roofline."""
    found = compared(*(at(n, op=op) for n in SIZES for op in ("add", "total")))
    assert [sweep.op for sweep in sweeps(found)] == ["add", "total"]
    assert [roofs.case for roofs in rooflines(found)] == [f"{op} n={2**28} float16" for op in ("add", "total")]


def test_values_are_shares_of_what_bounds_the_case() -> None:
    """In percent, by the least bytes, smallest first; the roof is met at 100."""
    (sweep,) = sweeps(SWEPT)
    yours = sweep.series[0]
    assert [n_bytes for n_bytes, _ in yours.points] == [4.0 * n for n in reversed(SIZES)]
    assert yours.points[-1][1] == pytest.approx(100 / 1.1, rel=0.01)
    (roofs,) = rooflines(SWEPT)
    spot = roofs.spots[0]
    assert roofs.best_tflop_per_s == pytest.approx(0.5 * CEILINGS.copy_gb_per_s / 1e3)
    assert spot.tflop_per_s / roofs.best_tflop_per_s == pytest.approx(1 / 1.1, rel=0.01)


def test_compute_bound_case_is_held_against_the_flat_roof() -> None:
    """Where the matmul rate is what limits it."""
    (roofs,) = rooflines(compared(at(2**20, flops_a_byte=2000.0)))
    assert roofs.best_tflop_per_s == CEILINGS.matmul_tflop_per_s["float16"]


def test_several_cards_have_rates_and_no_roofline() -> None:
    """No ceiling of one card bounds what several do together."""
    found = compared(*(replace(at(n), ceilings=None) for n in SIZES))
    assert [sweep.unit for sweep in sweeps(found)] == ["GB/s a rank"]
    assert rooflines(found) == []
    assert "GB/s a rank" in drawn(found)


def test_every_entry_has_its_letter() -> None:
    """`y` and `r` are kept for the learner's and the reference, whatever libraries are called."""
    names = ["yours", "the reference", *(f"library {number}" for number in range(10))]
    found = letters(names)
    assert (found["yours"], found["the reference"], found["library 0"]) == ("y", "r", "a")
    assert len(set(found.values())) == len(names)


def test_sizes_read_well() -> None:
    """GB is 10⁹ bytes."""
    assert [size_text(n) for n in (512, 4096, 2.5e7, 1.61e9)] == ["512 B", "4.1 kB", "25 MB", "1.61 GB"]


def test_charts_survive_an_ascii_terminal() -> None:
    """Frames become lines that any encoding has."""
    code = "from gpuprep.render import terminal; terminal.write('┌─┐ │·│ 1┤ └┬┘')"
    environment = {"PYTHONIOENCODING": "ascii", "PATH": ""}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout == "+-+ |*| 1+ +++\n"


@pytest.mark.parametrize("found", [SWEPT, compared(at(2**28, flops_a_byte=0.0)), compared(at(2**20))])
def test_picture_is_drawn(found: Compared) -> None:
    """As SVG with its texts as text, the same twice; as PNG; and where there is nothing to draw, it says so."""
    pytest.importorskip("matplotlib", reason="the extra `plot` is not installed")
    from gpuprep.render.comparison_plot import plotted

    svg = plotted([found], "svg").decode()
    assert svg == plotted([found], "svg").decode()
    assert "<text" in svg
    assert ("torch.softmax" in svg) == bool(rooflines(found))
    assert plotted([found], "png").startswith(b"\x89PNG")


def test_picture_is_written(tmp_path: Path) -> None:
    """Where the command is told to."""
    pytest.importorskip("matplotlib", reason="the extra `plot` is not installed")
    from gpuprep.practice.benching import write_plot

    write_plot(tmp_path / "bench.svg", [SWEPT, SWEPT])
    assert "ex_01" in (tmp_path / "bench.svg").read_text(encoding="utf-8")
