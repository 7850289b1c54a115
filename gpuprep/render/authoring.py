"""The answers of `gpuprep dev`, as pages and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gpuprep.render.layout import INDENT, WIDTH, Page, Part, counted
from gpuprep.render.machine import Document, document

if TYPE_CHECKING:
    from gpuprep.render.views import AttackTable, Proof, ScaffoldResult, StubResult

_FATE_MARKS = {"caught": ("✓", "good"), "open": ("○", "warning")}
_STUB_MARKS = {"written": ("✓", "good"), "unchanged": ("·", "quiet"), "stale": ("✗", "bad")}


def scaffold_page(result: ScaffoldResult, *, width: int = WIDTH) -> Page:
    """The files of a new exercise, in the order in which its author fills them."""
    page = Page(width)
    exercise = result.exercise
    page.line(("✓ ", "good"), (f"{exercise.id} {exercise.title}  ", "strong"), f"in {exercise.module}, and gradeable")
    for path in result.created:
        page.line((str(path), "code"), indent=INDENT)
    page.prose("Turn them into your exercise, the reference first; then `gpuprep dev stubs` makes its stub again.")
    page.next_command(f"gpuprep dev check {exercise.id}")
    return page


def scaffold_document(result: ScaffoldResult) -> Document:
    """The files of a new exercise."""
    return document("dev new", exercise_id=result.exercise.id, created=result.created)


def stubs_page(results: Sequence[StubResult], *, width: int = WIDTH) -> Page:
    """Every generated file that changed or should, and how many didn't."""
    page = Page(width)
    for result in results:
        if result.status != "unchanged":
            glyph, style = _STUB_MARKS[result.status]
            page.line((f"{glyph} {result.status}  ", style), str(result.path))
    n_unchanged = sum(result.status == "unchanged" for result in results)
    page.line(f"{n_unchanged} of {counted(len(results), 'file')} unchanged")
    if any(result.status == "stale" for result in results):
        page.next_command("gpuprep dev stubs")
    return page


def stubs_document(results: Sequence[StubResult]) -> Document:
    """Every stub and what became of it."""
    return document("dev stubs", stubs=[{"path": result.path, "status": result.status} for result in results])


def proof_page(proof: Proof, *, width: int = WIDTH) -> Page:
    """What `dev check` proved: how often each claim holds, where it doesn't, and what can't be graded here."""
    page = Page(width)
    claims: dict[str, list[bool]] = {}
    for item in proof.items:
        claims.setdefault(item.claim, []).append(item.holds)
    rows: list[list[Part]] = []
    for claim, held in claims.items():
        mark: Part = ("✓", "good") if all(held) else ("✗", "bad")
        rows.append([mark, claim, f"{sum(held)} of {len(held)}"])
    page.table(rows, "<<>", indent=0)
    failures = [item for item in proof.items if not item.holds]
    if failures:
        page.blank()
    for item in failures:
        page.prose(item.detail, indent=0, lead=[("✗ ", "bad"), (f"{item.subject}: {item.claim}  ", "strong")])
    if proof.not_graded:
        page.blank()
        page.line((f"{counted(len(proof.not_graded), 'thing')} not graded on this machine:", "warning"))
        for told in proof.not_graded:
            page.prose(told, lead=["– "])
    page.blank()
    n_held = len(proof.items) - len(failures)
    verdict: Part = ("✓ holds: ", "good") if proof.holds else ("✗ does not hold: ", "bad")
    page.line(verdict, f"{n_held} of {counted(len(proof.items), 'claim')}")
    return page


def proof_document(proof: Proof) -> Document:
    """What was proved, and what could not be graded here."""
    items = [
        {"claim": item.claim, "subject": item.subject, "holds": item.holds, "detail": item.detail}
        for item in proof.items
    ]
    return document("dev check", holds=proof.holds, items=items, not_graded=proof.not_graded)


def attacks_page(table: AttackTable, *, width: int = WIDTH) -> Page:
    """Attack × outcome × layer, then what is open, what went wrong, the honest solutions, and what could not run."""
    page = Page(width)
    rows: list[list[Part]] = [[("", ""), ("attack", "quiet"), ("outcome", "quiet"), ("layer", "quiet")]]
    for tried in sorted(table.tried, key=lambda tried: (tried.attack.layer, tried.attack.name)):
        mark: Part = _FATE_MARKS.get(tried.fate, ("✗", "bad"))
        rows.append([mark, tried.attack.name, tried.outcome, tried.attack.layer])
    page.table(rows, "<<<<", indent=0)
    _open_attacks(page, table)
    _surprises(page, table)
    _honest(page, table)
    if table.not_run:
        page.blank()
        page.line((f"{counted(len(table.not_run), 'attack')} not tried on this machine, and so not caught:", "warning"))
        for told in table.not_run:
            page.prose(told, lead=["– "])
    page.blank()
    n_caught = sum(tried.fate == "caught" for tried in table.tried)
    n_open = sum(tried.fate == "open" for tried in table.tried)
    verdict: Part = ("✓ holds: ", "good") if table.holds else ("✗ does not hold: ", "bad")
    page.line(verdict, f"{n_caught} of {counted(len(table.tried), 'attack')} caught, {n_open} open")
    return page


def _open_attacks(page: Page, table: AttackTable) -> None:
    found = [tried for tried in table.tried if tried.fate == "open"]
    if found:
        page.blank()
        page.line((f"{counted(len(found), 'attack')} open: these get through today", "warning"))
    for tried in found:
        page.prose(tried.attack.open_because, lead=["○ ", (f"{tried.attack.name}  ", "strong")])


def _surprises(page: Page, table: AttackTable) -> None:
    for tried in (tried for tried in table.tried if tried.fate not in ("caught", "open")):
        page.blank()
        wanted = " or ".join(sorted(tried.attack.expected))
        text = f"must get {wanted}; got {tried.outcome} {tried.message}".rstrip()
        if tried.attack.open_because:
            text = f"got {tried.outcome}; strike out the line `open` in its file"
        lead: list[Part] = [("✗ ", "bad"), (f"{tried.attack.name}: {tried.fate}  ", "strong")]
        page.prose(text, indent=0, lead=lead)
    for judged in (judged for judged in table.judged if not judged.is_accepted):
        page.blank()
        lead = [("✗ ", "bad"), (f"{judged.honest.name}: turned away  ", "strong")]
        page.prose(f"{judged.outcome} {judged.message}".rstrip(), indent=0, lead=lead)


def _honest(page: Page, table: AttackTable) -> None:
    if not table.judged:
        return
    page.blank()
    n_accepted = sum(judged.is_accepted for judged in table.judged)
    page.line(f"{n_accepted} of {counted(len(table.judged), 'honest solution')} accepted")
    for judged in (judged for judged in table.judged if judged.is_accepted and judged.skipped):
        page.prose(f"counted work skipped: {judged.skipped}", lead=["– ", f"{judged.honest.name}  "])


def attacks_document(table: AttackTable) -> Document:
    """Every attack and every honest solution with its verdict."""
    tried = [
        {
            "name": tried.attack.name,
            "exercise_id": tried.attack.exercise_id,
            "layer": tried.attack.layer,
            "expected": sorted(tried.attack.expected),
            "outcome": tried.outcome,
            "fate": tried.fate,
            "open_because": tried.attack.open_because or None,
            "message": tried.message,
        }
        for tried in table.tried
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
    return document("dev attacks", holds=table.holds, attacks=tried, honest=judged, not_run=table.not_run)
