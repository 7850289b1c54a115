"""What is signed of a class: for each submission what was handed in, what graded it, where, and what came of it.

Signed are the bytes of the canonical JSON (RFC 8785) of an entry's `signed`. There are texts, whole numbers, lists and
objects in it and no fractions, whose digits would depend on who prints them: points are texts, as in scores.csv.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from gpuprep.classroom.journal import Grade
from gpuprep.classroom.keys import SigningKey
from gpuprep.classroom.record import ClassRecord, Student
from gpuprep.classroom.scoring import ExerciseScore, points
from gpuprep.model import Report, Tier

DOCUMENT_FORMAT, FORMAT = "gpuprep/signed-results", "gpuprep/signed-result"
"""Of the whole, and of an entry, which can be cut out and checked alone."""
VERSION = 1
ALGORITHM = "Ed25519"
FILE_NAME = "signed.json"

Json = dict[str, Any]


def sign_class(record: ClassRecord, key: SigningKey, at: datetime | None = None) -> Json:
    """The document of a class: an entry a submission, each with its own signature.

    Args:
        record: what was graded.
        key: who signs.
        at: when; now if left out.
    """
    signed_at = _moment(at or datetime.now(UTC))
    entries = [
        sign(_signed(record, student, place, signed_at), key) for place, student in enumerate(record.students, start=1)
    ]
    return {"format": DOCUMENT_FORMAT, "version": VERSION, "entries": entries}


def sign(signed: Json, key: SigningKey) -> Json:
    """One entry."""
    signature = key.sign(canonical(signed)).hex()
    return {"signed": signed, "signature": {"algorithm": ALGORITHM, "key": key.public.hex, "value": signature}}


def canonical(signed: Mapping[str, Any]) -> bytes:
    """The bytes that are signed: sorted keys, nothing between them, UTF-8.

    RFC 8785 sorts by UTF-16; every key here is ASCII, where that is the same order.
    """
    text = json.dumps(signed, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def written(document: Json) -> str:
    """The document as it goes into a file."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _signed(record: ClassRecord, student: Student, place: int, signed_at: str) -> Json:
    noted, row = student.noted, student.row
    return {
        "format": FORMAT,
        "version": VERSION,
        "signed_at": signed_at,
        "class": {
            "title": _text(record.assignment.title),
            "n_submissions": len(record.students),
            "assignment": _assignment_hash(record),
            "curriculum": record.identity.curriculum,
            "gpuprep": _text(record.identity.gpuprep),
            "device": record.identity.device,
            "sandbox": record.identity.sandbox,
        },
        "submission": {
            "name": _text(noted.name),
            "place": place,
            "hash": noted.hash,
            "submitted": _moment(noted.submitted),
        },
        "result": {
            "score": points(row.score),
            "max_score": points(row.max_score),
            "pending_points": points(row.pending_points),
            "n_days_late": row.n_days_late,
            "kept": points(row.kept),
            "exercises": [_exercise(score, student.grades.get(score.exercise_id)) for score in row.scores],
        },
    }


def _assignment_hash(record: ClassRecord) -> str:
    """As it was graded; where some of it is hidden, of the rest."""
    has_shapes = any(assigned.shapes for assigned in record.assignment.exercises)
    return record.assignment.open_hash if has_shapes else record.identity.assignment


def _exercise(score: ExerciseScore, grade: Grade | None) -> Json:
    report = score.report
    return {
        "id": score.exercise_id,
        "outcome": str(score.outcome),
        "weight": points(score.weight),
        "points": points(score.points),
        "max_points": points(score.max_points),
        "tiers": {str(tier): str(fate) for tier, fate in score.fates.items()},
        "n_checks": grade.n_checks if grade and report else 0,
        "n_cases": len(report.cases) if report else 0,
        "n_cases_passed": sum(result.outcome.is_pass for result in report.cases) if report else 0,
        "work_counted": _evidence(report) if report else "",
        "file_hash": report.file_hash if report else "",
        "exercise_hash": report.exercise_hash if report else "",
        "environments": [_environment(each) for each in reports(grade)],
    }


def reports(grade: Grade | None) -> list[Report]:
    """That the exercise's tiers are from, the first one first: an upgrade adds one from another machine."""
    if grade is None:
        return []
    return [*reports(grade.earlier), *([grade.report] if grade.report else [])]


def _environment(report: Report) -> Json:
    return {
        "device": _text(report.device),
        "sandbox": report.sandbox,
        "versions": {_text(name): _text(value) for name, value in report.versions.items()},
    }


def _evidence(report: Report) -> str:
    """Who counted the work."""
    work = report.tier(Tier.WORK)
    return str(work.evidence) if work and work.evidence else ""


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _text(said: str) -> str:
    """What UTF-8 can hold: half of a surrogate pair is no text."""
    return said.encode(errors="backslashreplace").decode()
