"""What the HTML pages share: one file each that needs nothing else, no network, no script, no file beside it.

A page is built as a tree of elements, and written out at the end. So every text is escaped, whatever it holds,
without a template language that would have to be told to; and Jinja2, which torch brings along, takes longer to import
than all of this to run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.resources import files
from xml.etree.ElementTree import Element, tostring

from gpuprep.render.layout import clean

Child = Element | str | None

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""Whatever a text in the page may turn out to be, a browser loads and runs nothing."""


def page(title: str, *body: Child, styles: Iterable[str] = ("report.css",)) -> str:
    """The whole page, as text.

    Args:
        title: what a browser calls it.
        body: what stands in it.
        styles: style sheets of this package, in their order.
    """
    folder = files("gpuprep.render")
    style = "".join(folder.joinpath(name).read_text(encoding="utf-8") for name in styles)
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=POLICY),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("title", title),
        el("style", style),
    )
    text = tostring(el("html", head, el("body", *body), lang="en"), encoding="unicode", method="html")
    return f"<!doctype html>\n{clean(text)}\n"


def notes(texts: Iterable[str]) -> Element | None:
    """Remarks as a list; nothing where there are none."""
    items = [el("li", text) for text in texts]
    return el("ul", *items, kind="notes") if items else None


def scrolls(table: Element, label: str) -> Element:
    """A table that scrolls by itself where the page is narrow; such a region must be reachable by keyboard."""
    return el("div", table, kind="scrolls", tabindex="0", role="region", aria_label=label)


def with_code(text: str) -> list[Child]:
    """The text, with what stands between backticks as code."""
    parts = re.split(r"`([^`]+)`", text)
    return [el("code", part) if place % 2 else part for place, part in enumerate(parts)]


def el(tag: str, *children: Child, kind: str = "", **attributes: str) -> Element:
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
