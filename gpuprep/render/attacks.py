"""The answer of `gpuprep dev attacks`: a column a level, and below the table whatever is not as it should be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuprep.render.layout import WIDTH, Page, Part, counted
from gpuprep.render.machine import Document, document

if TYPE_CHECKING:
    from gpuprep.render.attack_views import AttackTable, AttackTried, ExploitTried

_GAP = 2
_OUTCOME = len("WRONG_SIGNATURE")
_ATTACK_MARKS = {"caught": ("", "good"), "open": ("○ ", "warning")}
_EXPLOIT_MARKS = {"held": ("", "good"), "expected": ("", "quiet")}
_SURPRISE: tuple[str, str] = ("✗ ", "bad")
_NO_HARM = "–"
Rows = dict[str, dict[str, Part]]
"""A cell for each level, by name."""


def attacks_page(table: AttackTable, *, width: int = WIDTH) -> Page:
    """Attack × level, exploit × level; then what is open, what went wrong, what was not tried, and the count."""
    page = Page(width)
    groups: dict[str, Rows] = {}
    for tried in sorted(table.tried, key=lambda tried: (tried.attack.layer, tried.attack.name)):
        row = groups.setdefault(tried.attack.layer, {}).setdefault(tried.attack.name, {})
        mark, style = _ATTACK_MARKS.get(tried.fate, _SURPRISE)
        row[tried.level] = (f"{mark}{tried.outcome}", style)
    if groups:
        _matrix(page, table, "attack, by the layer that stops it", groups, least=_OUTCOME)
    harms: Rows = {}
    for exploited in sorted(table.exploited, key=lambda exploited: exploited.exploit.name):
        mark, style = _EXPLOIT_MARKS.get(exploited.effect, _SURPRISE)
        text = ", ".join(exploited.harm) or _NO_HARM
        harms.setdefault(exploited.exploit.name, {})[exploited.level] = (f"{mark}{text}", style)
    if harms:
        page.blank()
        _matrix(page, table, "exploit, and what harm it did", {"": harms}, least=0)
    _withheld(page, table)
    _open_attacks(page, table)
    _surprises(page, table)
    _honest(page, table)
    if table.not_run:
        page.blank()
        page.line((f"{counted(len(table.not_run), 'attack')} not tried on this machine, and so not caught:", "warning"))
        for told in table.not_run:
            page.prose(told, lead=["– "])
    _count(page, table)
    return page


def _matrix(page: Page, table: AttackTable, head: str, groups: dict[str, Rows], *, least: int) -> None:
    """A row a name and a column a level, as wide as the page allows: what is cut is in the JSON document.

    Args:
        page: where they go.
        table: has the levels.
        head: what the rows are.
        groups: the rows, by what is written above them.
        least: how wide a cell may be even where a name has to be cut for it.
    """
    names = [name for rows in groups.values() for name in rows]
    n_levels = len(table.levels)
    widest = max(len(cell[0]) for rows in groups.values() for row in rows.values() for cell in row.values())
    longest = max(map(len, names))
    cell_width = min(widest, max(least, (page.width - longest - _GAP) // n_levels - _GAP))
    name_width = min(longest, page.width - n_levels * (cell_width + _GAP) - _GAP)
    page.line((head, "quiet"))
    page.line(" " * (name_width + _GAP), *_aligned([(level, "strong") for level in table.levels], cell_width))
    for group, rows in groups.items():
        if group:
            page.line((group, "quiet"))
        for name, row in rows.items():
            cells = [row.get(level, ("", "")) for level in table.levels]
            page.line("  ", _cut(name, name_width).ljust(name_width), *_aligned(cells, cell_width))


def _aligned(cells: list[Part], width: int) -> list[Part]:
    parts: list[Part] = []
    for cell in cells:
        text, style = cell if isinstance(cell, tuple) else (cell, "")
        parts += [" " * _GAP, (_cut(text, width).ljust(width), style)]
    return parts


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _withheld(page: Page, table: AttackTable) -> None:
    found = {tried.attack.name for tried in table.tried if tried.fate == "caught" and tried.is_withheld}
    if found:
        page.blank()
        page.line("right as they are; what they cheat in was not graded, and gives no points:")
    for name in sorted(found):
        page.line("– ", (name, "strong"))


def _open_attacks(page: Page, table: AttackTable) -> None:
    found: dict[str, list[AttackTried]] = {}
    for tried in table.tried:
        if tried.fate == "open":
            found.setdefault(tried.attack.name, []).append(tried)
    if found:
        page.blank()
        page.line((f"{counted(len(found), 'attack')} open: these get through today", "warning"))
    for name, each in found.items():
        text = f"at {', '.join(tried.level for tried in each)}: {each[0].attack.open_because}"
        page.prose(text, lead=["○ ", (f"{name}  ", "strong")])


def _surprises(page: Page, table: AttackTable) -> None:
    for tried in (tried for tried in table.tried if tried.fate not in ("caught", "open")):
        page.blank()
        wanted = " or ".join(sorted(tried.attack.caught_by(tried.level)))
        text = f"must get {wanted}; got {tried.outcome} {tried.message}".rstrip()
        if tried.fate == "closed":
            text = f"got {tried.outcome}; change the line `open` in its file"
        lead: list[Part] = [_SURPRISE, (f"{tried.attack.name} at {tried.level}: {tried.fate}  ", "strong")]
        page.prose(text, indent=0, lead=lead)
    for exploited in (each for each in table.exploited if each.effect not in ("held", "expected")):
        page.blank()
        page.prose(_why_surprising(exploited), indent=0, lead=[_SURPRISE, (f"{exploited.exploit.name}  ", "strong")])
    for judged in (judged for judged in table.judged if not judged.is_accepted):
        page.blank()
        lead = [_SURPRISE, (f"{judged.honest.name}: turned away  ", "strong")]
        page.prose(f"{judged.outcome} {judged.message}".rstrip(), indent=0, lead=lead)


def _why_surprising(exploited: ExploitTried) -> str:
    if not exploited.harm:
        return f"did no harm at {exploited.level}, and so shows nothing of a sandbox"
    return f"did harm at {exploited.level}: {', '.join(exploited.harm)}"


def _honest(page: Page, table: AttackTable) -> None:
    if not table.judged:
        return
    page.blank()
    n_accepted = sum(judged.is_accepted for judged in table.judged)
    page.line(f"{n_accepted} of {counted(len(table.judged), 'honest solution')} accepted")
    for judged in (judged for judged in table.judged if judged.is_accepted and judged.skipped):
        page.prose(f"not graded: {judged.skipped}", lead=["– ", f"{judged.honest.name}  "])


def _count(page: Page, table: AttackTable) -> None:
    page.blank()
    rows: list[list[Part]] = []
    for level in table.levels:
        tried = [each for each in table.tried if each.level == level]
        exploited = [each for each in table.exploited if each.level == level]
        told = []
        if tried:
            n_caught = sum(each.fate == "caught" for each in tried)
            n_open = sum(each.fate == "open" for each in tried)
            told.append(f"{n_caught} of {counted(len(tried), 'attack')} caught, {n_open} open")
        if exploited:
            n_harmful = sum(bool(each.harm) for each in exploited)
            told.append(f"{n_harmful} of {counted(len(exploited), 'exploit')} did harm")
        name = f"{level} (default)" if level == table.default else str(level)
        rows.append([(name, "strong"), "; ".join(told)])
    page.table(rows, "<<", indent=0)
    for told_of in table.not_offered:
        page.prose(f"can't be had here: {told_of}", indent=0, style="quiet")
    verdict: Part = ("✓ holds", "good") if table.holds else ("✗ does not hold", "bad")
    page.line(verdict)


def attacks_document(table: AttackTable) -> Document:
    """Every attack and exploit at every level, and every honest solution."""
    tried = [
        {
            "name": tried.attack.name,
            "exercise_id": tried.attack.exercise_id,
            "layer": tried.attack.layer,
            "sandbox": tried.level,
            "expected": sorted(tried.attack.caught_by(tried.level)),
            "outcome": tried.outcome,
            "fate": tried.fate,
            "is_withheld": tried.is_withheld,
            "open_because": tried.attack.why_open(tried.level) or None,
            "message": tried.message,
        }
        for tried in table.tried
    ]
    exploited = [
        {
            "name": exploited.exploit.name,
            "story": exploited.exploit.story,
            "sandbox": exploited.level,
            "harm": exploited.harm,
            "effect": exploited.effect,
            "harmless_because": exploited.exploit.harmless_because or None,
        }
        for exploited in table.exploited
    ]
    judged = [
        {
            "name": judged.honest.name,
            "outcome": judged.outcome,
            "is_accepted": judged.is_accepted,
            "skipped": judged.skipped or None,
            "message": judged.message,
        }
        for judged in table.judged
    ]
    return document(
        "dev attacks",
        holds=table.holds,
        levels=table.levels,
        default=table.default,
        not_offered=table.not_offered,
        attacks=tried,
        exploits=exploited,
        honest=judged,
        not_run=table.not_run,
    )
