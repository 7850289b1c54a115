"""The report as one HTML page that needs nothing else: no network, no script, no file beside it.

The page is built as a tree of elements, and written out at the end. So every text is escaped, whatever it holds,
without a template language that would have to be told to; and Jinja2, which torch brings along, takes longer to import
than all of this to run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.resources import files
from xml.etree.ElementTree import Element, tostring

from gpuprep.portfolio import ExerciseStory, ModuleStory, Portfolio
from gpuprep.render import report_words as words
from gpuprep.render.charts import curve_svg, roofline_svg
from gpuprep.render.layout import clean
from gpuprep.render.marks import mark

Child = Element | str | None

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""Whatever a text in the page may turn out to be, a browser loads and runs nothing."""


def report_html(portfolio: Portfolio) -> str:
    """The whole page."""
    style = files("gpuprep.render").joinpath("report.css").read_text(encoding="utf-8")
    head = _el(
        "head",
        _el("meta", charset="utf-8"),
        _el("meta", http_equiv="Content-Security-Policy", content=POLICY),
        _el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        _el("meta", name="color-scheme", content="light dark"),
        _el("title", f"{portfolio.title}: what was done and measured"),
        _el("style", style),
    )
    body = _el("body", _header(portfolio), _el("main", *map(_module, portfolio.modules)), _footer())
    page = tostring(_el("html", head, body, lang="en"), encoding="unicode", method="html")
    return f"<!doctype html>\n{clean(page)}\n"


def _header(portfolio: Portfolio) -> Element:
    tiles = [_el("div", _el("strong", number), _el("span", what)) for number, what in words.totals(portfolio)]
    entries = [
        _el("li", _el("a", module.title, href=f"#{module.id}"), _bar(module), _el("span", words.standing(module)))
        for module in portfolio.modules
    ]
    return _el(
        "header",
        _el("h1", portfolio.title),
        _el("p", f"What was done and measured; made on {portfolio.made_at[:10]} with gpuprep {portfolio.version}."),
        _el("div", *tiles, kind="tiles"),
        _notes(portfolio.missing),
        _el("nav", _el("ol", *entries), aria_label="Modules"),
    )


def _module(module: ModuleStory) -> Element:
    rooflines = []
    for roofline in module.rooflines:
        title = words.roofs(roofline)
        drawn = roofline_svg(roofline, f"{module.title}: {title}")
        rooflines.append(_el("figure", drawn, _el("figcaption", title)))
    untried = ", ".join(f"{exercise.id} {exercise.title}" for exercise in module.untried)
    return _el(
        "section",
        _el("h2", module.title, " ", _el("small", words.standing(module))),
        _el("div", *rooflines, kind="charts") if rooflines else None,
        _notes(module.missing),
        *map(_story, module.stories),
        _el("p", f"Not tried: {untried}.", kind="quiet") if untried else None,
        id=module.id,
    )


def _story(story: ExerciseStory) -> Element:
    exercise = story.exercise
    glyph, style, word = mark(story.outcome, is_gold=story.is_gold)
    settings = [_el("p", f"Tested on: {setting}", kind="quiet") for setting in story.settings]
    curves = [_curve(story, place) for place in range(len(story.curves))]
    return _el(
        "article",
        _el("h3", f"{exercise.id} {exercise.title} ", _el("span", f"{glyph} {word}", kind=f"mark {style}")),
        _el("p", *_with_code(exercise.summary)),
        _el("p", words.route(story), kind="quiet"),
        _el("div", _el("div", *curves), _el("div", *map(_table, words.tables(story))), kind="story"),
        *settings,
        _notes((*words.remarks(story), *story.missing)),
        id=exercise.id,
    )


def _curve(story: ExerciseStory, place: int) -> Element:
    curve = story.curves[place]
    title = words.curve_title(curve)
    rows = [_el("tr", _el("td", str(p.number)), _el("td", words.curve_value(curve, p))) for p in curve.points]
    heads = _el("tr", _el("th", "Attempt", scope="col"), _el("th", "Value", scope="col"))
    numbers = _el("details", _el("summary", "numbers"), _el("table", _el("thead", heads), _el("tbody", *rows)))
    drawn = curve_svg(curve, story.steps, f"{story.exercise.id} {title}, by attempt")
    return _el("figure", drawn, _el("figcaption", title), numbers)


def _table(table: words.Table) -> Element:
    heads = [_el("th", header, scope="col") for header in table.headers]
    rows = [_el("tr", _el("th", row[0], scope="row"), *(_el("td", cell) for cell in row[1:])) for row in table.rows]
    caption = _el("caption", table.caption)
    made = _el("table", caption, _el("thead", _el("tr", *heads)), _el("tbody", *rows))
    # A region that scrolls by itself must be reachable by keyboard.
    scrolls = _el("div", made, kind="scrolls", tabindex="0", role="region", aria_label=table.caption)
    return _el("div", scrolls, *(_el("p", note, kind="quiet") for note in table.notes), kind="table")


def _bar(module: ModuleStory) -> Element:
    """How much of a module is done: gold, passed, provisional, in that order."""
    parts = ((module.gold, "gold"), (module.passed - module.gold, "good"), (module.provisional, "provisional"))
    total = max(module.total, 1)
    spans = [_el("i", kind=style, style=f"width:{number / total:.2%}") for number, style in parts if number]
    return _el("span", *spans, kind="bar", aria_hidden="true")


def _notes(notes: Iterable[str]) -> Element | None:
    items = [_el("li", note) for note in notes]
    return _el("ul", *items, kind="notes") if items else None


def _footer() -> Element:
    return _el("footer", _el("h2", "How this was measured"), *(_el("p", text) for text in words.HOW))


def _with_code(text: str) -> list[Child]:
    """The text, with what stands between backticks as code."""
    parts = re.split(r"`([^`]+)`", text)
    return [_el("code", part) if place % 2 else part for place, part in enumerate(parts)]


def _el(tag: str, *children: Child, kind: str = "", **attributes: str) -> Element:
    """An element; `kind` is its class, and an underscore in an attribute's name stands for a hyphen."""
    made = Element(tag, {name.replace("_", "-"): value for name, value in attributes.items()})
    if kind:
        made.set("class", kind)
    last: Element | None = None
    for child in children:
        if isinstance(child, str):
            if last is None:
                made.text = (made.text or "") + child
            else:
                last.tail = (last.tail or "") + child
        elif child is not None:
            made.append(child)
            last = child
    return made
