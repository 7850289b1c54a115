"""What `gpuprep grade` shows: a line a submission, then what became of the class."""

from __future__ import annotations

import shlex
from typing import Any

from gpuprep.classroom.grade import Graded, by_exercise
from gpuprep.classroom.record import ClassRecord
from gpuprep.classroom.scoring import MISSING, REFUSED, ExerciseScore, Fate, Row, note, points
from gpuprep.model import Outcome, Tier
from gpuprep.render import machine
from gpuprep.render.layout import Page, Part, clean, counted
from gpuprep.render.marks import Mark, mark

_NAME_WIDTH = 20
_POINTS_WIDTH = 16
"""Of `3.3333 of 3.3333`; with it two exercises fit into 80 columns."""
_SHOWN_RERUNS = 10
_SHOWN_NOTES = 10
_OTHERS = {MISSING: Mark("·", "quiet", "missing"), REFUSED: Mark("!", "warning", "refused")}


def outcome_mark(outcome: str) -> Mark:
    """The mark of what stands in an outcome's column."""
    return _OTHERS.get(outcome) or mark(Outcome(outcome))


def row_page(row: Row) -> Page:
    """A submission's line: its points, and the outcome of each exercise."""
    page = Page()
    _line(page, row)
    return page


def _line(page: Page, row: Row) -> None:
    total = f"{points(row.score)} of {points(row.max_score)}"
    parts: list[Part] = [f"{_fitted(row.submission, _NAME_WIDTH)}  ", (f"{total:>{_POINTS_WIDTH}}", "strong")]
    cells: list[tuple[str, str, str]] = []
    for score in row.scores:
        found = outcome_mark(score.outcome)
        cells.append((f"{score.exercise_id} ", f"{found.glyph} {found.word}", found.style))
    if row.n_days_late:
        cells.append(("", f"{counted(row.n_days_late, 'day')} late", "warning"))
    begins = _NAME_WIDTH + len(f"  {total:>{_POINTS_WIDTH}}  ")
    width = begins
    for label, said, style in cells:
        if width + len(label + said) > page.width and width > begins:
            page.line(*parts)
            parts, width = [" " * (begins - 2)], begins
        parts += [f"  {label}", (said, style)]
        width += len(f"  {label}{said}")
    page.line(*parts)


def _fitted(text: str, width: int) -> str:
    """The text in so many columns of a terminal; of a longer one its beginning and its end, which tell it apart."""
    from rich.cells import cell_len, set_cell_size

    line = clean(text).replace("\n", " ")
    if cell_len(line) <= width:
        return set_cell_size(line, width)
    end = width // 3
    tail = line[-end:]
    while cell_len(tail) > end:
        tail = tail[1:]
    return set_cell_size(set_cell_size(line, width - 1 - cell_len(tail)) + "…" + tail, width)


def graded_page(graded: Graded) -> Page:
    """What became of the class."""
    page = Page()
    page.line(
        (graded.assignment.title, "strong"),
        f"  {counted(len(graded.rows), 'submission')}, {counted(graded.n_graded, 'file')} graded"
        f" in {graded.elapsed_s:.0f} s" + (f", {graded.n_before} before" if graded.n_before else ""),
    )
    page.blank()
    rows: list[list[str | tuple[str, str]]] = []
    for exercise_id, found in by_exercise(graded.rows).items():
        for place, (outcome, count) in enumerate(sorted(found.items(), key=lambda item: -item[1])):
            shown = outcome_mark(outcome)
            rows.append(["" if place else exercise_id, str(count), (f"{shown.glyph} {shown.word}", shown.style)])
    page.table(rows, "<><")
    page.blank()
    if pending := _tiers_of(graded, Fate.PENDING):
        page.prose(
            f"{' and '.join(pending)} could not be graded here: pending, and in neither score nor max_score."
            " A machine with a GPU adds it: gpuprep grade --upgrade DIR.",
            indent=2,
        )
    if reruns := graded.to_rerun:
        names = ", ".join(row.submission for row in reruns[:_SHOWN_RERUNS])
        more = f" and {len(reruns) - _SHOWN_RERUNS} more" if len(reruns) > _SHOWN_RERUNS else ""
        page.prose(f"To be graded again, through no fault of theirs: {names}{more}.", indent=2, style="warning")
    if graded.n_failed_again:
        said = f"The grader failed in {counted(graded.n_failed_again, 'file')}, and all there is as it was before"
        page.prose(f"{said}; the same command tries again.", indent=2, style="warning")
    if noted := [row for row in graded.rows if note(row)]:
        for row in noted[:_SHOWN_NOTES]:
            page.prose(f"{row.submission}: {note(row)}", indent=2, style="warning")
        if len(noted) > _SHOWN_NOTES:
            page.prose(f"{len(noted) - _SHOWN_NOTES} more have a note in scores.csv.", indent=2, style="warning")
    if graded.left_out:
        told = ", ".join(graded.left_out[:_SHOWN_NOTES])
        more = f" and {len(graded.left_out) - _SHOWN_NOTES} more" if len(graded.left_out) > _SHOWN_NOTES else ""
        page.prose(f"Not submissions, and not graded: {told}{more}.", indent=2, style="warning")
    if graded.sandbox == "none":
        page.prose("Nothing confined the submissions' code: this machine offers no sandbox.", style="warning")
    else:
        page.line(f"sandbox: {graded.sandbox}", indent=2)
    page.line(f"scores: {graded.scores_path}", indent=2)
    page.next_command(f"gpuprep classroom feedback {shlex.quote(str(graded.out))}")
    return page


def class_page(record: ClassRecord) -> Page:
    """A class again: its title, and a line a submission."""
    page = Page()
    page.line((record.assignment.title, "strong"), f"  {counted(len(record.students), 'submission')}")
    page.blank()
    for student in record.students:
        _line(page, student.row)
    return page


def class_document(record: ClassRecord) -> machine.Document:
    """The same for a machine."""
    return machine.document(
        "classroom list",
        title=record.assignment.title,
        sandbox=record.identity.sandbox,
        submissions=[_row_dict(student.row) for student in record.students],
    )


def interrupted_page(command: str) -> Page:
    """After Ctrl-C: how to go on."""
    page = Page()
    page.line(("interrupted; all that was shown is recorded", "warning"))
    page.next_command(command)
    return page


def graded_document(graded: Graded, exit_code: int) -> machine.Document:
    """The same, and every row, for a machine."""
    return machine.document(
        "grade",
        exit_code=exit_code,
        title=graded.assignment.title,
        out=str(graded.out),
        scores=str(graded.scores_path),
        sandbox=str(graded.sandbox),
        n_graded=graded.n_graded,
        n_before=graded.n_before,
        elapsed_s=round(graded.elapsed_s, 3),
        left_out=list(graded.left_out),
        submissions=[_row_dict(row) for row in graded.rows],
    )


def _row_dict(row: Row) -> dict[str, Any]:
    return {
        "submission": row.submission,
        "score": round(row.score, 6),
        "max_score": round(row.max_score, 6),
        "pending_points": round(row.pending_points, 6),
        "days_late": row.n_days_late,
        "kept": row.kept,
        "note": note(row),
        "exercises": [_score_dict(score) for score in row.scores],
    }


def _score_dict(score: ExerciseScore) -> dict[str, Any]:
    return {
        "exercise_id": score.exercise_id,
        "outcome": score.outcome,
        "weight": score.weight,
        "points": round(score.points, 6),
        "max_points": round(score.max_points, 6),
        "tiers": {str(tier): str(fate) for tier, fate in score.fates.items()},
        "note": score.note,
    }


def _tiers_of(graded: Graded, fate: Fate) -> list[str]:
    found = {tier for row in graded.rows for score in row.scores for tier in score.tiers(fate)}
    return [str(tier) for tier in Tier if tier in found]
