"""The source of an attempt, as it was graded: what the record keeps of a file that may change at any moment."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

CHANGED = "the file changed while it was checked"


def snapshot(paths: Iterable[Path]) -> dict[str, bytes]:
    """The files by name; nothing where one can't be read, which the check itself reports."""
    try:
        return {path.name: path.read_bytes() for path in paths}
    except OSError:
        return {}


def graded(before: Mapping[str, bytes], after: Mapping[str, bytes], file_hash: str) -> tuple[Mapping[str, bytes], str]:
    """Which of two looks at the files is what was graded, and why neither is, if so.

    Args:
        before: the files before the check.
        after: the files after it.
        file_hash: of the files that were graded, as a report has it; empty where the check ended too early to say.
    """
    if not file_hash:
        return (before, "") if before == after else ({}, CHANGED)
    for files in (before, after):
        if files and _file_hash(files) == file_hash:
            return files, ""
    return {}, CHANGED


def _file_hash(files: Mapping[str, bytes]) -> str:
    return hashlib.sha256(b"\0".join(files.values())).hexdigest()
