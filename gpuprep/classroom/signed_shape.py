"""What a file of signed results must look like, and what is wrong with one that doesn't: read with distrust.

JSON allows a key twice, and readers disagree which one counts; what one of them checks, another might not show. So that
is refused, like every field that isn't known and every number that isn't whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, NoReturn

from gpuprep.classroom.signing import ALGORITHM, DOCUMENT_FORMAT, FORMAT, VERSION, Json
from gpuprep.errors import UsageError

MAX_BYTES = 64 * 2**20
"""Of a file: a class of 500 takes some megabytes."""


class Fault(StrEnum):
    """What can be wrong."""

    NOT_JSON = "not JSON"
    DUPLICATE_KEY = "duplicate key"
    UNKNOWN_VERSION = "unknown version"
    MISSING_FIELD = "missing field"
    UNKNOWN_FIELD = "unknown field"
    WRONG_TYPE = "wrong type"
    CHANGED = "changed"
    SWAPPED = "swapped"
    OTHER_KEY = "other key"
    INCOMPLETE = "incomplete"
    MIXED = "mixed"
    OTHER_SUBMISSION = "other submission"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, and what about it."""

    fault: Fault
    text: str


class Misfit(Exception):  # noqa: N818  carries a Problem to where it is told, and never leaves this package
    """A text or an entry that is none."""

    def __init__(self, fault: Fault, text: str) -> None:
        super().__init__(text)
        self.problem = Problem(fault, text)


@dataclass(frozen=True)
class _MapOf:
    """An object with any keys."""

    value: Any


_EXERCISE = {
    "id": str,
    "outcome": str,
    "weight": str,
    "points": str,
    "max_points": str,
    "tiers": _MapOf(str),
    "n_checks": int,
    "n_cases": int,
    "n_cases_passed": int,
    "work_counted": str,
    "file_hash": str,
    "exercise_hash": str,
    "environments": [{"device": str, "sandbox": str, "versions": _MapOf(str)}],
}
_SIGNED = {
    "format": str,
    "version": int,
    "signed_at": str,
    "class": {
        "title": str,
        "n_submissions": int,
        "assignment": str,
        "curriculum": str,
        "gpuprep": str,
        "device": str,
        "sandbox": str,
    },
    "submission": {"name": str, "place": int, "hash": str, "submitted": str},
    "result": {
        "score": str,
        "max_score": str,
        "pending_points": str,
        "n_days_late": int,
        "kept": str,
        "exercises": [_EXERCISE],
    },
}
_ENTRY = {"signed": _SIGNED, "signature": {"algorithm": str, "key": str, "value": str}}


def read_file(path: Path) -> str:
    """The text of a file.

    Raises:
        UsageError: it can't be read.
        Misfit: it is no text, or too long.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", next_step="name a file of `gpuprep classroom sign`") from error
    if len(data) > MAX_BYTES:
        raise Misfit(Fault.NOT_JSON, f"it is larger than {MAX_BYTES >> 20} MiB")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Misfit(Fault.NOT_JSON, f"it is no UTF-8: {error.reason} at byte {error.start}") from None


def parse(text: str) -> tuple[list[Any], bool]:
    """The entries in a text, not looked at yet, and whether it is a whole class and not one entry cut out.

    Raises:
        Misfit: it is neither.
    """
    try:
        found = json.loads(text, object_pairs_hook=_once, parse_float=_no_fraction, parse_constant=_no_fraction)
    except (ValueError, RecursionError) as error:
        raise Misfit(Fault.NOT_JSON, f"it is no JSON: {error}") from None
    if isinstance(found, dict) and "signed" in found:
        return [found], False
    if not isinstance(found, dict):
        raise Misfit(Fault.WRONG_TYPE, f"want an object, have {_kind(found)}")
    _check_version(found, DOCUMENT_FORMAT)
    _check(found, {"format": str, "version": int, "entries": list}, "")
    entries: list[Any] = found["entries"]
    if not entries:
        raise Misfit(Fault.INCOMPLETE, "it has no entries")
    return entries, True


def check_entry(entry: Any) -> tuple[Json, bytes, bytes]:
    """What an entry says is signed, the public key, and the signature: their form alone.

    Raises:
        Misfit: it is no entry of a version that is known.
    """
    if isinstance(entry, dict) and isinstance(entry.get("signed"), dict):
        _check_version(entry["signed"], FORMAT)
    _check(entry, _ENTRY, "")
    signature = entry["signature"]
    if signature["algorithm"] != ALGORITHM:
        raise Misfit(Fault.UNKNOWN_VERSION, f"unknown algorithm {signature['algorithm'][:40]!r}, want {ALGORITHM}")
    return entry["signed"], _bytes(signature, "key", 32), _bytes(signature, "value", 64)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        double = next(name for name in names if names.count(name) > 1)
        raise Misfit(Fault.DUPLICATE_KEY, f"an object has the key {double[:40]!r} twice: which one counts?")
    return made


def _no_fraction(text: str) -> NoReturn:
    raise Misfit(Fault.WRONG_TYPE, f"{text[:40]} is no whole number; signed results have no others")


def _check_version(found: Mapping[str, Any], wanted: str) -> None:
    have = found.get("format", wanted), found.get("version", VERSION)
    if have != (wanted, VERSION) or isinstance(have[1], bool):
        shown = f"{str(have[0])[:40]!r}, version {str(have[1])[:40]}"
        raise Misfit(Fault.UNKNOWN_VERSION, f"unknown format {shown}; this gpuprep knows {wanted!r}, version {VERSION}")


def _check(value: Any, shape: Any, where: str) -> None:
    """Hold a value against its shape: a type, a dictionary of fields, a list of one shape, or a `_MapOf`."""
    wanted: Any = shape if isinstance(shape, type) else dict if isinstance(shape, dict | _MapOf) else list
    if type(value) is not wanted:
        raise Misfit(Fault.WRONG_TYPE, f"{where or 'an entry'}: want {_NAMES[wanted]}, have {_kind(value)}")
    if isinstance(value, str) and not value.isascii():
        _check_text(value, where)
    elif isinstance(shape, _MapOf):
        for name, item in value.items():
            _check_text(name, where)
            _check(item, shape.value, f"{where}.{name[:40]}")
    elif isinstance(shape, dict):
        for name in shape:
            if name not in value:
                raise Misfit(Fault.MISSING_FIELD, f"{_below(where, name)} is missing")
        if unknown := next((name for name in value if name not in shape), None):
            raise Misfit(Fault.UNKNOWN_FIELD, f"{_below(where, unknown[:40])} is unknown")
        for name, own in shape.items():
            _check(value[name], own, _below(where, name))
    elif isinstance(shape, list):
        for place, item in enumerate(value):
            _check(item, shape[0], f"{where}[{place}]")


def _check_text(text: str, where: str) -> None:
    if re.search("[\ud800-\udfff]", text):
        raise Misfit(Fault.WRONG_TYPE, f"{where}: half of a surrogate pair is no text")


def _bytes(signature: Mapping[str, str], name: str, n_bytes: int) -> bytes:
    # One way alone to write them: else a byte could be changed and all would hold.
    if not re.fullmatch(rf"[0-9a-f]{{{2 * n_bytes}}}", signature[name]):
        raise Misfit(Fault.WRONG_TYPE, f"signature.{name}: want {2 * n_bytes} hexadecimal digits")
    return bytes.fromhex(signature[name])


def _below(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


_NAMES: dict[Any, str] = {dict: "an object", list: "a list", str: "a text", int: "a whole number"}


def _kind(value: Any) -> str:
    return _NAMES.get(type(value), "something else")
