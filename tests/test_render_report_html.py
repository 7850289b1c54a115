"""The report as a page: whole without anything beside it, and readable on a phone and a desk, in light and dark."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import sample_attempts as samples
from chromium import PROGRAM, Chromium, chromium

from gpuprep.curriculum import Curriculum
from gpuprep.portfolio import Portfolio
from gpuprep.practice.reporting import portfolio
from gpuprep.render.report_html import report_html

MARKUP = "<script>alert('x')</script>&amp;\x1b[31m\x00 \"quoted\""


class Reader(HTMLParser):
    """Counts a page's elements and collects its texts."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element begins."""
        self.tags[tag] += 1

    def handle_data(self, data: str) -> None:
        """Text."""
        self.texts.append(data.strip().removesuffix("."))


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, curriculum: Curriculum) -> Portfolio:
    """Somebody's work of two weeks."""
    return portfolio(samples.desk_with(tmp_path_factory.mktemp("ws"), curriculum, samples.story()))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """A headless browser."""
    if PROGRAM is None:
        pytest.skip("no Chromium here")
    with chromium(tmp_path_factory.mktemp("profile")) as page:
        yield page


def test_every_text_is_escaped(told: Portfolio) -> None:
    """Whatever a title, a device or a message holds, it is text; control characters are gone."""
    module = told.modules[0]
    story = module.stories[0]
    hostile = replace(
        story,
        exercise=replace(story.exercise, title=MARKUP, summary=f"`{MARKUP}` {MARKUP}"),
        settings=(MARKUP,),
        missing=(MARKUP,),
        curves=tuple(replace(curve, device=MARKUP, op=MARKUP) for curve in story.curves),
        steps=tuple(replace(step, cause=MARKUP) for step in story.steps),
    )
    first = replace(module, title=MARKUP, stories=(hostile,), missing=(MARKUP,))
    page = report_html(replace(told, title=MARKUP, modules=(first,)))
    reader = Reader()
    reader.feed(page)
    assert reader.tags["script"] == 0
    assert reader.texts.count("<script>alert('x')</script>&amp;[31m \"quoted\"") >= 5
    assert not re.search(r"[\x00-\x08\x0b-\x1f]", page)


def test_page_asks_for_nothing(told: Portfolio) -> None:
    """No address but those of its own sections; a policy that forbids the rest."""
    page = report_html(told)
    assert not re.search(r"https?:|\bsrc=|<link|<script|@import|url\(", page)
    assert all(link.startswith("#") for link in re.findall(r'href="([^"]*)"', page))
    assert "default-src 'none'" in page


def test_empty_report_is_a_page(told: Portfolio) -> None:
    """A learner who has not checked anything yet gets a sentence, and no empty chart."""
    modules = tuple(replace(module, stories=(), rooflines=(), missing=()) for module in told.modules)
    page = report_html(replace(told, modules=modules, missing=("Nothing was checked.",)))
    assert "Nothing was checked." in page
    assert "<svg" not in page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280])
def test_page_in_a_browser(browser: Chromium, told: Portfolio, tmp_path: Path, width: int, scheme: str) -> None:
    """No complaint, no request but for the page itself, the charts are drawn, and nothing sticks out sideways."""
    path = tmp_path / "report.html"
    path.write_text(report_html(told), encoding="utf-8")
    browser.complaints.clear()
    browser.requested.clear()
    browser.open(path.as_uri(), width=width, scheme=scheme)
    assert browser.complaints == []
    assert browser.requested == [path.as_uri()]
    n_curves = sum(len(story.curves) for story in told.stories)
    n_rooflines = sum(len(module.rooflines) for module in told.modules)
    shown = "[...document.querySelectorAll('svg')].filter(svg => svg.getBoundingClientRect().height > 100).length"
    assert browser.value(shown) == n_curves + n_rooflines > 0
    assert browser.value("document.documentElement.scrollWidth") <= width
    # Texts in charts stay inside their figure, and as large as small print.
    outside = (
        "[...document.querySelectorAll('svg text')].filter(t => { const box = t.getBoundingClientRect();"
        " return box.left < 0 || box.right > innerWidth || box.height < 10 }).length"
    )
    assert browser.value(outside) == 0


def test_colours_follow_the_reader_and_can_be_read(browser: Chromium, told: Portfolio, tmp_path: Path) -> None:
    """Text and ground change places between light and dark, and every text stands out from what is behind it."""
    path = tmp_path / "report.html"
    path.write_text(report_html(told), encoding="utf-8")
    grounds = []
    for scheme in ("light", "dark"):
        browser.open(path.as_uri(), width=1280, scheme=scheme)
        ground = colour(browser.value("getComputedStyle(document.body).backgroundColor"))
        card = colour(browser.value("getComputedStyle(document.querySelector('article')).backgroundColor"))
        grounds.append(ground)
        texts = browser.value(
            "[...new Set([...document.querySelectorAll('p, h3, h3 span, figcaption, td, a, svg text')].map("
            "t => { const s = getComputedStyle(t); return t.closest('svg') ? s.fill : s.color }))]"
        )
        assert len(texts) > 4
        assert [text for text in texts if contrast(colour(text), ground) < 4.5] == []
        assert [text for text in texts if contrast(colour(text), card) < 4.5] == []
    assert luminance(grounds[0]) > 0.8 > 0.2 > luminance(grounds[1])


def colour(text: str) -> tuple[float, ...]:
    """`rgb(1, 2, 3)` as shares."""
    return tuple(int(number) / 255 for number in re.findall(r"\d+", text)[:3])


def luminance(rgb: tuple[float, ...]) -> float:
    """How bright a colour is, as the accessibility guidelines have it."""
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """From 1 to 21; 4.5 is the least for small text."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
