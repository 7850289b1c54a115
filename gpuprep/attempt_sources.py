"""The sources of attempts, kept in the record: each distinct file once, compressed, by the hash of its content.

A learner saves a file a hundred times and changes a line or two each time; most checks repeat a file that is there
already. What can't be kept is said with the attempt, and never keeps the attempt itself from being recorded.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import zlib
from collections.abc import Mapping
from pathlib import Path

from gpuprep.database import unreadable

SourceNames = tuple[tuple[str, str], ...]
"""File names, each with the sha256 of what the file held."""

MAX_FILE_BYTES = 2**18
"""No kernel that a person writes is larger; a file with data pasted into it may be."""
MAX_STORED_BYTES = 2**25
"""Of all sources together, compressed: room for more than ten thousand versions of a long exercise."""

MIGRATION = (
    "ALTER TABLE attempts ADD COLUMN sources TEXT NOT NULL DEFAULT '[]'",
    "ALTER TABLE attempts ADD COLUMN unkept TEXT NOT NULL DEFAULT ''",
    "CREATE TABLE sources (hash TEXT PRIMARY KEY, n_stored INTEGER NOT NULL, content BLOB NOT NULL)",
    # The sum of all sizes comes from this index alone, without a look at any content.
    "CREATE INDEX sources_by_size ON sources (n_stored)",
)
"""The statements that give a record of attempts its sources."""


def keep(connection: sqlite3.Connection, files: Mapping[str, bytes]) -> tuple[SourceNames, str]:
    """Store what isn't there yet, within the caller's transaction: all of an attempt's files, or none.

    Returns:
        What to remember of the attempt, and why nothing was kept, if so.
    """
    for name, content in files.items():
        if len(content) > MAX_FILE_BYTES:
            return (), f"{name} is larger than {MAX_FILE_BYTES // 1024} KiB"
    names = tuple((name, hashlib.sha256(content).hexdigest()) for name, content in files.items())
    fresh = {
        digest: zlib.compress(files[name], level=9)
        for name, digest in names
        if connection.execute("SELECT 1 FROM sources WHERE hash = ?", (digest,)).fetchone() is None
    }
    (n_stored,) = connection.execute("SELECT coalesce(sum(n_stored), 0) FROM sources").fetchone()
    if fresh and n_stored + sum(map(len, fresh.values())) > MAX_STORED_BYTES:
        return (), f"the record holds {MAX_STORED_BYTES // 2**20} MiB of sources, which is its most"
    connection.executemany(
        "INSERT INTO sources VALUES (?, ?, ?)", [(digest, len(packed), packed) for digest, packed in fresh.items()]
    )
    return names, ""


def to_json(names: SourceNames) -> str:
    """The names and hashes as a column holds them."""
    return json.dumps(names)


def from_json(text: str) -> SourceNames:
    """What `to_json` wrote.

    Raises:
        ValueError: it is something else.
    """
    return tuple((str(name), str(digest)) for name, digest in json.loads(text))


def fetch(connection: sqlite3.Connection, names: SourceNames, path: Path) -> dict[str, bytes]:
    """The files' contents, each held against its hash.

    Args:
        connection: to the record.
        names: as an attempt has them.
        path: the record's file, to be named in an error.

    Raises:
        ProgressError: one is missing or isn't what was kept.
    """
    found: dict[str, bytes] = {}
    for name, digest in names:
        row = connection.execute("SELECT content FROM sources WHERE hash = ?", (digest,)).fetchone()
        try:
            content = zlib.decompress(row[0]) if row else b""
        except zlib.error as error:
            raise unreadable(path, f"the source {name}: {error}") from error
        if hashlib.sha256(content).hexdigest() != digest:
            raise unreadable(path, f"the source {name} is not what was kept")
        found[name] = content
    return found
