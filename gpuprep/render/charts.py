"""Charts as inline SVG: curves over attempts, and rooflines. Shapes and texts only; the page's CSS gives them colours.

Written by hand because a chart that follows the reader's light or dark theme must take its colours from the page it
stands in, and matplotlib's SVG brings its own (and outlines in place of text). Elements are built as a tree, which
escapes whatever is put into it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement

from gpuprep.exercise import TIMES
from gpuprep.portfolio import Curve, Roofline, RoofPoint, Step
from gpuprep.render.figures import milliseconds

WIDTH = 360.0
"""Units of the drawing; at this size its texts are as large as the page's small print on a phone."""
CURVE_HEIGHT, ROOFLINE_HEIGHT = 190.0, 260.0
LEFT, RIGHT, TOP, BOTTOM = 40.0, 12.0, 20.0, 32.0
MAX_TICKS = 6
MERGED = 1.3
"""Roofs that are closer than this factor get one line and one label."""
LABEL_SIZE = (18.0, 11.0)
"""Room that a point's label takes."""

Place = Callable[[float], float]
"""From a value to where it is drawn."""


@dataclass(frozen=True)
class _Frame:
    """A drawing with its axes."""

    svg: Element
    x: Place
    y: Place
    height: float

    def text(self, content: str, x: float, y: float, kind: str, anchor: str = "middle") -> Element:
        return _element(self.svg, "text", content, x=x, y=y, kind=kind, text_anchor=anchor)

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str) -> Element:
        return _element(self.svg, "line", x1=x1, y1=y1, x2=x2, y2=y2, kind=kind)

    def dot(self, x: float, y: float, radius: float, kind: str, title: str) -> None:
        _titled(_element(self.svg, "circle", cx=x, cy=y, r=radius, kind=kind), title)


def curve_svg(curve: Curve, steps: Sequence[Step], title: str) -> Element:
    """One figure over the attempts: its value with the interval, the targets, and a cross for each attempt without it.

    Args:
        curve: what was measured.
        steps: every attempt at the exercise.
        title: what the chart is called for those who can't see it.
    """
    is_factor = curve.figure in TIMES
    top = max([1.0, *(point.high for point in curve.points), curve.gold_at or 0.0, curve.pass_at or 0.0])
    ticks = nice_ticks(0.0, top * 1.04 if is_factor else top)
    last = max(len(steps), 2)
    frame = _frame(
        title,
        CURVE_HEIGHT,
        _linear(0.5, last + 0.5, LEFT, WIDTH - RIGHT),
        _linear(0.0, max(top * 1.04, ticks[-1]), CURVE_HEIGHT - BOTTOM, TOP),
    )
    for tick in ticks:
        frame.line(LEFT, frame.y(tick), WIDTH - RIGHT, frame.y(tick), "grid")
        frame.text(f"{tick:g}×" if is_factor else f"{tick:.0%}", LEFT - 5, frame.y(tick) + 3.5, "tick", "end")
    for number in _numbers(len(steps)):
        frame.text(str(number), frame.x(number), CURVE_HEIGHT - BOTTOM + 14, "tick")
    frame.text("attempt", (LEFT + WIDTH - RIGHT) / 2, CURVE_HEIGHT - 3, "name")
    # Their names stand apart, however close the lines are.
    for value, kind, below in ((curve.pass_at, "pass", 11.0), (curve.gold_at, "gold", -3.0)):
        if value is not None:
            frame.line(LEFT, frame.y(value), WIDTH - RIGHT, frame.y(value), kind)
            frame.text(kind, LEFT + 3, frame.y(value) + below, f"{kind}-name", "start")
    _missed(frame, curve, steps)
    _drawn(frame, curve, is_factor=is_factor)
    return frame.svg


def roofline_svg(roofline: Roofline, title: str) -> Element:
    """What the card can do, by how much is computed with each byte, and the learner's best times below it."""
    rates = roofline.matmul_tflop_per_s
    x_range, y_range = _roofline_ranges(roofline)
    frame = _frame(
        title,
        ROOFLINE_HEIGHT,
        _logarithmic(*x_range, LEFT, WIDTH - RIGHT),
        _logarithmic(*y_range, ROOFLINE_HEIGHT - BOTTOM, TOP),
    )
    for decade in _decades(*x_range):
        frame.line(frame.x(decade), TOP, frame.x(decade), ROOFLINE_HEIGHT - BOTTOM, "grid")
        frame.text(f"{decade:g}", frame.x(decade), ROOFLINE_HEIGHT - BOTTOM + 14, "tick")
    for decade in _decades(*y_range):
        frame.line(LEFT, frame.y(decade), WIDTH - RIGHT, frame.y(decade), "grid")
        frame.text(f"{decade:g}", LEFT - 5, frame.y(decade) + 3.5, "tick", "end")
    frame.text("FLOP per byte", (LEFT + WIDTH - RIGHT) / 2, ROOFLINE_HEIGHT - 3, "name")
    frame.text("TFLOP/s", 2, 9.0, "name", "start")
    _roofs(frame, roofline.copy_gb_per_s, rates, x_range, y_range)
    _roof_points(frame, roofline.points)
    return frame.svg


def nice_ticks(low: float, high: float) -> list[float]:
    """At most MAX_TICKS round numbers from low to at least high."""
    size = (high - low) / (MAX_TICKS - 1)
    power = 10.0 ** math.floor(math.log10(size))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= size * (1 - 1e-9))
    # Not below what is to be shown, unless by a hair.
    n_steps = math.ceil((high - low) / step - 0.05)
    return [round(low + place * step, 12) for place in range(n_steps + 1)]


def _missed(frame: _Frame, curve: Curve, steps: Sequence[Step]) -> None:
    have = {point.number for point in curve.points}
    y = frame.y(0.0) - 6
    for step in steps:
        if step.number not in have:
            x = frame.x(step.number)
            cross = f"M{x - 3:.1f} {y - 3:.1f}l6 6m0 -6l-6 6"
            why = step.cause or step.outcome.value.lower().replace("_", " ")
            _titled(_element(frame.svg, "path", d=cross, kind="miss"), f"attempt {step.number}: {why}, not measured")


def _drawn(frame: _Frame, curve: Curve, *, is_factor: bool) -> None:
    places = [(frame.x(point.number), frame.y(point.value)) for point in curve.points]
    if len(places) > 1:
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        _element(frame.svg, "path", d=path, kind="curve")
    best = max(curve.points, key=lambda point: point.value)
    for point, (x, y) in zip(curve.points, places, strict=True):
        if point.high > point.low:
            frame.line(x, frame.y(point.low), x, frame.y(point.high), "interval")
        value = f"{point.value:.2f}×" if is_factor else f"{point.value:.1%}"
        frame.dot(
            x, y, 4.5 if point is best else 3.0, "best" if point is best else "dot", f"attempt {point.number}: {value}"
        )
    x, y = frame.x(best.number), frame.y(best.value)
    value = f"{best.value:.2f}×" if is_factor else f"{best.value:.1%}"
    # Near the right edge the label would be cut off.
    frame.text(value, min(x, WIDTH - RIGHT - 14), y - 8, "value")


def _roofline_ranges(roofline: Roofline) -> tuple[tuple[float, float], tuple[float, float]]:
    """Whole decades around the points, and where there is a flat roof, around the ridge."""
    copy_tb_per_s = roofline.copy_gb_per_s / 1e3
    ridges = [rate / copy_tb_per_s for rate in roofline.matmul_tflop_per_s.values()]
    across = [point.flop_per_byte for point in roofline.points] + [ridge * 2 for ridge in ridges]
    x_range = _whole_decades(min(across) / 1.5, max(across) * 1.5)
    up = [point.tflop_per_s for point in roofline.points] + list(roofline.matmul_tflop_per_s.values())
    up += [] if ridges else [point.flop_per_byte * copy_tb_per_s for point in roofline.points]
    return x_range, _whole_decades(min(up) / 1.5, max(up) * 1.3)


def _roofs(
    frame: _Frame,
    copy_gb_per_s: float,
    rates: Mapping[str, float],
    x_range: tuple[float, float],
    y_range: tuple[float, float],
) -> None:
    copy_tb_per_s = copy_gb_per_s / 1e3
    top = max(rates.values(), default=y_range[1])
    left = max(x_range[0], y_range[0] / copy_tb_per_s)
    right = min(x_range[1], top / copy_tb_per_s)
    frame.line(frame.x(left), frame.y(left * copy_tb_per_s), frame.x(right), frame.y(right * copy_tb_per_s), "roof")
    for rate, dtypes in _together(rates):
        ridge = max(x_range[0], rate / copy_tb_per_s)
        frame.line(frame.x(ridge), frame.y(rate), WIDTH - RIGHT, frame.y(rate), "roof")
        frame.text(", ".join(dtypes), WIDTH - RIGHT, frame.y(rate) - 4, "roof-name", "end")


def _together(rates: Mapping[str, float]) -> list[tuple[float, list[str]]]:
    """Roofs, each with its dtypes; of those that would be drawn over each other the highest."""
    found: list[tuple[float, list[str]]] = []
    for dtype, rate in sorted(rates.items(), key=lambda item: -item[1]):
        if found and rate > found[-1][0] / MERGED:
            found[-1][1].append(dtype)
        else:
            found.append((rate, [dtype]))
    return found


def _roof_points(frame: _Frame, points: Iterable[RoofPoint]) -> None:
    placed = [(point, frame.x(point.flop_per_byte), frame.y(point.tflop_per_s)) for point in points]
    taken = [(x, y) for _, x, y in placed]
    for point, x, y in placed:
        name = f"{point.exercise_id} {point.op}".rstrip()
        title = f"{name}, attempt {point.number}: {point.tflop_per_s:.3g} TFLOP/s, {milliseconds(point.median_ms)}"
        frame.dot(x, y, 3.5, "best", title)
        label = point.exercise_id.removeprefix("ex_")
        width, height = LABEL_SIZE
        around = [(width * 0.7, height * 0.9), (-width * 0.7, height * 0.3), (0, height * 1.5), (0, -height * 0.8)]
        around += [(width * 1.4, height * 0.3), (width * 0.7, height * 1.9), (-width * 0.7, height * 1.6)]
        spots = [(x + right, y + down) for right, down in around]
        # The first that lies free, in an order that begins below the roof.
        spot = next((spot for spot in spots if _is_free(spot, taken, (x, y))), spots[0])
        taken.append((spot[0], spot[1] - height / 3))
        frame.text(label, *spot, "value")


def _is_free(spot: tuple[float, float], taken: Iterable[tuple[float, float]], own: tuple[float, float]) -> bool:
    x, y = spot[0], spot[1] - LABEL_SIZE[1] / 3
    return all(
        abs(x - other[0]) > LABEL_SIZE[0] * 0.6 or abs(y - other[1]) > LABEL_SIZE[1] * 0.7
        for other in taken
        if other != own
    )


def _frame(title: str, height: float, x: Place, y: Place) -> _Frame:
    svg = Element("svg", {"viewBox": f"0 0 {WIDTH:g} {height:g}", "role": "img", "aria-label": title, "class": "chart"})
    frame = _Frame(svg, x, y, height)
    frame.line(LEFT, height - BOTTOM, WIDTH - RIGHT, height - BOTTOM, "axis")
    return frame


def _linear(low: float, high: float, start: float, end: float) -> Place:
    return lambda value: start + (value - low) / (high - low) * (end - start)


def _logarithmic(low: float, high: float, start: float, end: float) -> Place:
    line = _linear(math.log10(low), math.log10(high), start, end)
    return lambda value: line(math.log10(value))


def _whole_decades(low: float, high: float) -> tuple[float, float]:
    return 10.0 ** math.floor(math.log10(low)), 10.0 ** math.ceil(math.log10(high))


def _decades(low: float, high: float) -> list[float]:
    return [10.0**power for power in range(round(math.log10(low)), round(math.log10(high)) + 1)]


def _numbers(n_steps: int) -> list[int]:
    """Attempts that get their number below the axis."""
    every = next((every for every in (1, 2, 5, 10, 20, 50, 100) if n_steps / every <= 10), n_steps // 10)
    return [number for number in range(1, n_steps + 1) if number == 1 or number % every == 0]


def _element(parent: Element, tag: str, content: str = "", *, kind: str, **attributes: float | str) -> Element:
    found = {
        name.replace("_", "-"): f"{value:.1f}" if isinstance(value, float) else str(value)
        for name, value in attributes.items()
    }
    made = SubElement(parent, tag, {"class": kind, **found})
    made.text = content or None
    return made


def _titled(element: Element, title: str) -> None:
    """What a pointer that rests on it says."""
    SubElement(element, "title").text = title
