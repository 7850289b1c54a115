"""The report as one HTML page that needs nothing else: no network, no script, no file beside it."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from gpuprep.portfolio import ExerciseStory, ModuleStory, Portfolio
from gpuprep.render import report_words as words
from gpuprep.render.charts import curve_svg, roofline_svg
from gpuprep.render.html_page import el, notes, page, scrolls, with_code
from gpuprep.render.marks import mark


def report_html(portfolio: Portfolio) -> str:
    """The whole page."""
    return page(
        f"{portfolio.title}: what was done and measured",
        _header(portfolio),
        el("main", *map(_module, portfolio.modules)),
        _footer(),
    )


def _header(portfolio: Portfolio) -> Element:
    tiles = [el("div", el("strong", number), el("span", what)) for number, what in words.totals(portfolio)]
    entries = [
        el("li", el("a", module.title, href=f"#{module.id}"), _bar(module), el("span", words.standing(module)))
        for module in portfolio.modules
    ]
    return el(
        "header",
        el("h1", portfolio.title),
        el("p", f"What was done and measured; made on {portfolio.made_at[:10]} with gpuprep {portfolio.version}."),
        el("div", *tiles, kind="tiles"),
        notes(portfolio.missing),
        el("nav", el("ol", *entries), aria_label="Modules"),
    )


def _module(module: ModuleStory) -> Element:
    rooflines = []
    for roofline in module.rooflines:
        title = words.roofs(roofline)
        drawn = roofline_svg(roofline, f"{module.title}: {title}")
        rooflines.append(el("figure", drawn, el("figcaption", title)))
    untried = ", ".join(f"{exercise.id} {exercise.title}" for exercise in module.untried)
    return el(
        "section",
        el("h2", module.title, " ", el("small", words.standing(module))),
        el("div", *rooflines, kind="charts") if rooflines else None,
        notes(module.missing),
        *map(_story, module.stories),
        el("p", f"Not tried: {untried}.", kind="quiet") if untried else None,
        id=module.id,
    )


def _story(story: ExerciseStory) -> Element:
    exercise = story.exercise
    glyph, style, word = mark(story.outcome, is_gold=story.is_gold)
    settings = [el("p", f"Tested on: {setting}", kind="quiet") for setting in story.settings]
    curves = [_curve(story, place) for place in range(len(story.curves))]
    return el(
        "article",
        el("h3", f"{exercise.id} {exercise.title} ", el("span", f"{glyph} {word}", kind=f"mark {style}")),
        el("p", *with_code(exercise.summary)),
        el("p", words.route(story), kind="quiet"),
        el("div", el("div", *curves), el("div", *map(_table, words.tables(story))), kind="story"),
        *settings,
        notes((*words.remarks(story), *story.missing)),
        id=exercise.id,
    )


def _curve(story: ExerciseStory, place: int) -> Element:
    curve = story.curves[place]
    title = words.curve_title(curve)
    rows = [el("tr", el("td", str(p.number)), el("td", words.curve_value(curve, p))) for p in curve.points]
    heads = el("tr", el("th", "Attempt", scope="col"), el("th", "Value", scope="col"))
    numbers = el("details", el("summary", "numbers"), el("table", el("thead", heads), el("tbody", *rows)))
    drawn = curve_svg(curve, story.steps, f"{story.exercise.id} {title}, by attempt")
    return el("figure", drawn, el("figcaption", title), numbers)


def _table(table: words.Table) -> Element:
    heads = [el("th", header, scope="col") for header in table.headers]
    rows = [el("tr", el("th", row[0], scope="row"), *(el("td", cell) for cell in row[1:])) for row in table.rows]
    caption = el("caption", table.caption)
    made = el("table", caption, el("thead", el("tr", *heads)), el("tbody", *rows))
    return el("div", scrolls(made, table.caption), *(el("p", note, kind="quiet") for note in table.notes), kind="table")


def _bar(module: ModuleStory) -> Element:
    """How much of a module is done: gold, passed, provisional, in that order."""
    parts = ((module.gold, "gold"), (module.passed - module.gold, "good"), (module.provisional, "provisional"))
    total = max(module.total, 1)
    spans = [el("i", kind=style, style=f"width:{number / total:.2%}") for number, style in parts if number]
    return el("span", *spans, kind="bar", aria_hidden="true")


def _footer() -> Element:
    return el("footer", el("h2", "How this was measured"), *(el("p", text) for text in words.HOW))
