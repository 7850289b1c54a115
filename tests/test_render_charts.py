"""Charts as SVG: every measured value is in its place, and what was not measured is marked as such."""

from __future__ import annotations

from xml.etree.ElementTree import Element

import pytest

from gpuprep.model import Outcome, Roof
from gpuprep.portfolio import Curve, Point, Roofline, RoofPoint, Step
from gpuprep.render.charts import CURVE_HEIGHT, ROOFLINE_HEIGHT, WIDTH, curve_svg, nice_ticks, roofline_svg

DAY = "2026-11-21T10:00:00.000+00:00"


def steps(n: int) -> list[Step]:
    """Attempts, of which the first one failed."""
    failed = Step(1, DAY, Outcome.RACE, is_gold=False, device="cpu", cause="race")
    return [failed, *(Step(number, DAY, Outcome.PASSED, is_gold=False, device="H200") for number in range(2, n + 1))]


def curve(*values: float, figure: str = "share_of_copy") -> Curve:
    """Values of the attempts from the second on."""
    points = tuple(Point(number, value, value * 0.99, value * 1.01) for number, value in enumerate(values, 2))
    return Curve(figure, "", "H200", points, 0.8, 0.95)


def of_kind(svg: Element, kind: str) -> list[Element]:
    """The shapes of a class."""
    return [element for element in svg.iter() if element.get("class") == kind]


def titles(svg: Element) -> list[str]:
    """What a pointer that rests on a shape is told."""
    return [element.text or "" for element in svg.iter("title")]


def test_curve_has_a_dot_for_each_value_and_a_cross_for_each_gap() -> None:
    """The best one is filled; higher values stand higher."""
    svg = curve_svg(curve(0.3, 0.6, 0.9, 0.8), steps(5), "a curve")
    (best,) = of_kind(svg, "best")
    dots = of_kind(svg, "dot")
    assert len(dots) == 3
    assert float(best.attrib["cy"]) < min(float(dot.attrib["cy"]) for dot in dots)
    assert titles(svg) == [
        "attempt 1: race, not measured",
        "attempt 2: 30.0%",
        "attempt 3: 60.0%",
        "attempt 4: 90.0%",
        "attempt 5: 80.0%",
    ]
    assert svg.get("aria-label") == "a curve"


@pytest.mark.parametrize("n", [1, 2, 9, 10, 57, 400])
@pytest.mark.parametrize("top", [0.004, 0.5, 1.3, 7.0, 180.0])
def test_curve_stays_inside_its_frame(n: int, top: float) -> None:
    """However many attempts there are and however large the values; the axis has a readable number of ticks."""
    values = [top * (place + 1) / n for place in range(n)]
    svg = curve_svg(curve(*values, figure="times_eager"), steps(n + 1), "many")
    for dot in [*of_kind(svg, "dot"), *of_kind(svg, "best")]:
        assert 0 <= float(dot.attrib["cx"]) <= WIDTH
        assert 0 <= float(dot.attrib["cy"]) <= CURVE_HEIGHT
    assert 3 <= len(of_kind(svg, "tick")) <= 20


def test_ticks_are_round_and_reach_the_top() -> None:
    """At most six, and the last one not below the value by more than a hair."""
    assert nice_ticks(0.0, 1.0) == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert nice_ticks(0.0, 2.6) == [0.0, 1.0, 2.0, 3.0]


def point(exercise_id: str, flop_per_byte: float, tflop_per_s: float) -> RoofPoint:
    """A kernel that does so much with each byte, so fast."""
    flops = int(flop_per_byte * 10**9)
    roof = Roof(10**9, flops, "float16", 4000.0, 700.0)
    return RoofPoint(exercise_id, "", 1, roof, flops / 1e12 / tflop_per_s * 1e3)


def test_roofline_has_its_roofs_and_points() -> None:
    """One slanted roof, one flat one for each rate that differs, the points below them, each with its number."""
    points = (point("ex_01", 0.1, 0.35), point("ex_03", 400.0, 500.0), point("ex_04", 0.11, 0.36))
    roofline = Roofline("H200", 4000.0, {"float16": 700.0, "bfloat16": 710.0, "float32": 50.0}, points)
    svg = roofline_svg(roofline, "a roofline")
    assert len(of_kind(svg, "roof")) == 3
    assert [name.text for name in of_kind(svg, "roof-name")] == ["bfloat16, float16", "float32"]
    assert [label.text for label in of_kind(svg, "value")] == ["01", "03", "04"]
    places = [(float(label.attrib["x"]), float(label.attrib["y"])) for label in of_kind(svg, "value")]
    assert abs(places[0][0] - places[2][0]) + abs(places[0][1] - places[2][1]) > 8
    assert "ex_03, attempt 1: 500 TFLOP/s" in titles(svg)[1]


@pytest.mark.parametrize("rates", [{}, {"float16": 700.0}])
@pytest.mark.parametrize("flop_per_byte", [1e-3, 0.083, 1.0, 3000.0])
def test_roofline_stays_inside_its_frame(rates: dict[str, float], flop_per_byte: float) -> None:
    """Whatever the kernel computes, and without a matmul rate too."""
    svg = roofline_svg(Roofline("H200", 4000.0, rates, (point("ex_01", flop_per_byte, flop_per_byte * 0.1),)), "one")
    (dot,) = of_kind(svg, "best")
    assert 0 <= float(dot.attrib["cx"]) <= WIDTH
    assert 0 <= float(dot.attrib["cy"]) <= ROOFLINE_HEIGHT
    for roof in of_kind(svg, "roof"):
        assert all(-1 <= float(roof.attrib[name]) <= WIDTH for name in ("x1", "x2", "y1", "y2"))
