"""Which look at a file is the one that was graded."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from gpuprep.practice.keeping import CHANGED, graded, snapshot

OLD, NEW = {"a.py": b"old", "a.cu": b"kernel"}, {"a.py": b"new", "a.cu": b"kernel"}


def _hash(files: dict[str, bytes]) -> str:
    return hashlib.sha256(b"\0".join(files.values())).hexdigest()


@pytest.mark.parametrize(
    ("before", "after", "file_hash", "expected"),
    [
        (OLD, OLD, _hash(OLD), (OLD, "")),
        (OLD, NEW, _hash(OLD), (OLD, "")),
        (OLD, NEW, _hash(NEW), (NEW, "")),
        (OLD, NEW, "another", ({}, CHANGED)),
        ({}, NEW, _hash(NEW), (NEW, "")),
        (OLD, OLD, "", (OLD, "")),
        (OLD, NEW, "", ({}, CHANGED)),
    ],
)
def test_the_source_that_was_graded_is_found_by_its_hash(
    before: dict[str, bytes], after: dict[str, bytes], file_hash: str, expected: object
) -> None:
    """A save in the middle of a check must not put the wrong source beside its verdict."""
    assert graded(before, after, file_hash) == expected


def test_a_file_that_cannot_be_read_is_no_snapshot(tmp_path: Path) -> None:
    """The check itself reports a missing file; here it is nothing."""
    (tmp_path / "a.py").write_bytes(b"x")
    assert snapshot([tmp_path / "a.py"]) == {"a.py": b"x"}
    assert snapshot([tmp_path / "a.py", tmp_path / "a.cu"]) == {}
