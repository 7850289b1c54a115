"""The answers of `gpuprep dev`, as pages and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gpuprep.render.layout import INDENT, WIDTH, Page, Part, counted
from gpuprep.render.machine import Document, document

if TYPE_CHECKING:
    from gpuprep.render.views import Proof, ScaffoldResult, StubResult

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
