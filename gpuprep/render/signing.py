"""Keys, signed results, and whether they hold."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from gpuprep.classroom.keys import MadeKey, PublicKey
from gpuprep.classroom.record import ClassRecord
from gpuprep.classroom.signed_shape import Problem
from gpuprep.classroom.signing import reports
from gpuprep.classroom.verifying import Checked, Verified
from gpuprep.render import machine
from gpuprep.render.layout import INDENT, Page, Part, counted

_NAME_WIDTH = 24


def key_page(made: MadeKey) -> Page:
    """Where a new key is, and how others will know it."""
    page = Page()
    page.line(("A new key", "strong"))
    secrecy = "encrypted" if made.is_encrypted else "for you alone"
    page.table(
        [
            [(f"private, {secrecy}", "quiet"), (str(made.path), "code")],
            [("public", "quiet"), (str(made.public_path), "code")],
            [("fingerprint", "quiet"), (made.public.fingerprint, "code")],
        ],
        "<<",
    )
    page.line(("the public key in digits", "quiet"), indent=INDENT)
    page.line((made.public.hex, "code"), indent=2 * INDENT)
    page.prose(
        "Publish the public key where your students look anyway. Keep the private one off machines that run their code."
    )
    page.next_command(f"gpuprep classroom sign DIR --key {shlex.quote(str(made.path))}")
    return page


def key_document(made: MadeKey) -> machine.Document:
    """The same for a machine."""
    return machine.document(
        "classroom key",
        path=str(made.path),
        public_path=str(made.public_path),
        is_encrypted=made.is_encrypted,
        **_key_dict(made.public),
    )


def signed_page(record: ClassRecord, key: PublicKey, path: Path) -> Page:
    """What was signed, by which key, and where it is."""
    page = Page()
    page.line((record.assignment.title, "strong"), f"  {counted(len(record.students), 'submission')} signed")
    page.table([[("results", "quiet"), (str(path), "code")], [("fingerprint", "quiet"), key.fingerprint]], "<<")
    if not is_confined(record):
        page.prose(
            "Nothing confined the submissions' code: it could read and write whatever you can on the machine that"
            " graded, this record among it. A signature does not mend that.",
            style="warning",
        )
    page.next_command(f"gpuprep verify {shlex.quote(str(path))} --key PUBLIC")
    return page


def is_confined(record: ClassRecord) -> bool:
    """True where a sandbox was around every submission's code."""
    grades = [grade for student in record.students for grade in student.grades.values()]
    levels = {report.sandbox for grade in grades for report in reports(grade)}
    return "none" not in {*levels, record.identity.sandbox}


def signed_document(record: ClassRecord, key: PublicKey, path: Path) -> machine.Document:
    """The same for a machine."""
    return machine.document(
        "classroom sign",
        title=record.assignment.title,
        path=str(path),
        is_confined=is_confined(record),
        n_signed=len(record.students),
        **_key_dict(key),
    )


def verified_page(verified: Verified) -> Page:
    """A line an entry, what is wrong with all of them together, and who vouches for the key."""
    page = Page()
    _verdict(page, verified)
    page.blank()
    for entry in verified.entries:
        _entry(page, entry)
    page.blank()
    for problem in verified.problems:
        page.prose(problem.text, lead=[("✗ ", "bad"), (f"{problem.fault}: ", "bad")])
    _matches(page, verified)
    _keys(page, verified)
    return page


def verified_document(verified: Verified, exit_code: int) -> machine.Document:
    """The same for a machine."""
    return machine.document(
        "verify",
        exit_code=exit_code,
        path=str(verified.path),
        holds=verified.holds,
        is_vouched_for=verified.key is not None,
        keys=[_key_dict(key) for key in verified.keys],
        submission=str(verified.submission) if verified.submission else None,
        problems=_problems(verified.problems),
        entries=[
            {
                "place": entry.place,
                "submission": entry.name,
                "holds": entry.problem is None,
                "problem": _problems([entry.problem])[0] if entry.problem else None,
                "fingerprint": entry.key.fingerprint if entry.key else None,
                "is_submission": entry.is_submission,
                "signed": entry.signed,
            }
            for entry in verified.entries
        ],
    )


def _verdict(page: Page, verified: Verified) -> None:
    n_sound = sum(entry.problem is None for entry in verified.entries)
    n_entries = len(verified.entries)
    of = f"{n_sound} of {counted(n_entries, 'signature')} {'holds' if n_entries == 1 else 'hold'}"
    found: tuple[str, str] = ("✓ verified", "good") if verified.holds else ("✗ not verified", "bad")
    page.line(found, f"  {of}  ", (str(verified.path), "code"))


def _entry(page: Page, entry: Checked) -> None:
    name = entry.name or f"entry {entry.place}"
    shown = name if len(name) <= _NAME_WIDTH else f"{name[: _NAME_WIDTH - 1]}…"
    if entry.problem:
        lead: list[Part] = [("✗ ", "bad"), f"{shown:{_NAME_WIDTH}}  ", (f"{entry.problem.fault}: ", "bad")]
        page.prose(entry.problem.text, lead=lead)
        return
    result = entry.signed["result"] if entry.signed else {}
    total = f"{result.get('score')} of {result.get('max_score')}"
    graded = ("  graded from this submission", "strong") if entry.is_submission else ""
    page.line(("✓ ", "good"), f"{shown:{_NAME_WIDTH}}  {total:>12}", graded, indent=2)


def _matches(page: Page, verified: Verified) -> None:
    if verified.submission is None:
        return
    names = [entry.name for entry in verified.entries if entry.is_submission]
    if names:
        page.prose(f"{verified.submission} is what was graded as {', '.join(names)}.")


def _keys(page: Page, verified: Verified) -> None:
    for key in verified.keys:
        page.line(("signed by  ", "quiet"), (key.fingerprint, "code"), indent=2)
    if verified.key is not None:
        page.line(("key given  ", "quiet"), (verified.key.fingerprint, "code"), indent=2)
    elif verified.keys:
        page.prose(
            "Nobody vouches for this key: whoever wrote the file may have made it. Name the instructor's with --key.",
            style="warning",
        )


def _problems(problems: Sequence[Problem]) -> list[dict[str, str]]:
    return [{"fault": str(problem.fault), "text": problem.text} for problem in problems]


def _key_dict(key: PublicKey) -> dict[str, str]:
    return {"key": key.hex, "fingerprint": key.fingerprint}
