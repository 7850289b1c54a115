"""Opens a SQLite file so that nothing acknowledged is lost, and says in plain words what is wrong with it.

Writers take the lock first (`BEGIN IMMEDIATE`) and wait for each other; readers work where nothing can be written.
"""

from __future__ import annotations

import os
import shlex
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gpuprep.errors import ProgressError

Migrations = Sequence[Sequence[str]]
"""Statements by version: entry k takes the schema from version k to k + 1. `PRAGMA user_version` counts them."""

BUSY_TIMEOUT_S = 30.0
"""How long to wait for other checks that are writing. One write takes milliseconds, so more means a stopped process."""

ATTEMPTS = "record of attempts"
"""What a learner's file holds."""

_RETRY_PAUSE_S = 0.01
"""Between two tries where SQLite reports a lock at once, without waiting for its own busy timeout."""


class Database:
    """A SQLite file that is opened when it is needed, and to be written only when something is. A context manager.

    Args:
        path: the file. It is created by the first write only.
        migrations: its schema.
        what: the file holds, in words.
    """

    def __init__(self, path: Path, migrations: Migrations, what: str = ATTEMPTS) -> None:
        self.path = path
        self._migrations, self._what = migrations, what
        self._connection: sqlite3.Connection | None = None
        self._can_write = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the file. A later call opens it again."""
        if self._connection is not None:
            self._connection.close()
        self._connection, self._can_write = None, False

    def _rows(self, sql: str, *parameters: str | int) -> list[tuple[Any, ...]]:
        with self._reading() as connection:
            return [] if connection is None else connection.execute(sql, parameters).fetchall()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection | None]:
        """None where nothing was written yet."""
        with explained(self.path, "read", self._what):
            if self._connection is None:
                self._connection = open_to_read(self.path, self._migrations)
            yield self._connection

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: what is written in it is on the disk when it is left."""
        with explained(self.path, "write", self._what):
            if self._connection is None or not self._can_write:
                self.close()
                self._connection, self._can_write = open_to_write(self.path, self._migrations), True
            with transaction(self._connection):
                yield self._connection


def open_to_read(path: Path, migrations: Migrations) -> sqlite3.Connection | None:
    """A connection that can read, or None where there is no file or nothing in it yet.

    An older schema is migrated: in the file, or, where that can't be written, in a copy in memory.

    Raises:
        ProgressError: the file was written by a newer gpuprep.
        sqlite3.DatabaseError: it can't be read; see `explained`.
    """
    if not path.exists():
        return None
    connection = _open_read_only(path)
    try:
        version = _schema_version(path, connection, migrations)
    except BaseException:
        connection.close()
        raise
    if version == len(migrations):
        return connection
    connection.close()
    if not version:  # another process has just created the file and has recorded nothing yet
        return None
    try:
        return open_to_write(path, migrations)
    except sqlite3.OperationalError as error:
        if _primary_code(error) not in _NO_ACCESS:
            raise
        return _migrated_copy(path, migrations)


def open_to_write(path: Path, migrations: Migrations) -> sqlite3.Connection:
    """A connection that can write, in WAL mode and with the newest schema; creates the file.

    Raises:
        ProgressError: the file was written by a newer gpuprep.
        sqlite3.DatabaseError, OSError: it can't be opened or created; see `explained`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    try:
        _patiently(connection, "PRAGMA journal_mode = WAL")
        # With NORMAL, a commit in WAL mode is not yet on the disk when it returns.
        connection.execute("PRAGMA synchronous = FULL")
        _migrate(path, connection, migrations)
    except BaseException:
        connection.close()
        raise
    return connection


def _migrate(path: Path, connection: sqlite3.Connection, migrations: Migrations) -> None:
    if _schema_version(path, connection, migrations) == len(migrations):
        return
    with transaction(connection):
        # Read again under the lock: another process may have migrated in between.
        for statements in migrations[_schema_version(path, connection, migrations) :]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(migrations)}")


def _migrated_copy(path: Path, migrations: Migrations) -> sqlite3.Connection:
    """What the file holds, as the newest schema has it. Nobody who may not write the file misses it there."""
    copy = sqlite3.connect(":memory:", isolation_level=None)
    try:
        original = _open_read_only(path)
        try:
            original.backup(copy)
        finally:
            original.close()
        _migrate(path, copy, migrations)
    except BaseException:
        copy.close()
        raise
    return copy


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commits when the block ends, rolls back when it raises."""
    # IMMEDIATE takes the write lock first; a deferred transaction that reads, then writes, can lose to another writer.
    _patiently(connection, "BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite has already rolled back after some errors, a full disk among them
            connection.execute("ROLLBACK")
        raise


@contextmanager
def explained(path: Path, verb: str, what: str = ATTEMPTS) -> Iterator[None]:
    """Turns what the disk and SQLite say into a ProgressError that names the file and what to do next.

    Args:
        path: the file.
        verb: `read` or `write`.
        what: the file holds, in words.
    """
    try:
        yield
    except (sqlite3.ProgrammingError, sqlite3.IntegrityError):
        raise  # our own mistake, not the disk's: keep the traceback
    except sqlite3.DatabaseError as error:
        raise _explanation(path, verb, what, error) from error
    except OSError as error:
        raise _no_access(path, verb, what, error.strerror or str(error)) from error


def unreadable(path: Path, reason: str, what: str = ATTEMPTS) -> ProgressError:
    """The error for a file whose content makes no sense.

    Args:
        path: the file.
        reason: what makes no sense in it.
        what: it holds, in words.
    """
    # The -wal file must go along: SQLite would replay it over the new database of the same name.
    aside, files = shlex.quote(str(path.parent / "damaged")), shlex.quote(str(path))
    return ProgressError(
        f"The {what} {path} is damaged: {reason}",
        next_step=f"Move it aside, and a new one is started: mkdir -p {aside} && mv {files}* {aside}/",
    )


def _open_read_only(path: Path) -> sqlite3.Connection:
    try:
        return _probed(path, "mode=ro")
    except sqlite3.OperationalError as error:
        # Even a reader of a WAL database wants to create its shared-memory file. Where the folder refuses that, nobody
        # can be writing either, and so the file may be read as one that never changes.
        if _primary_code(error) not in _NO_ACCESS or os.access(path.parent, os.W_OK):
            raise
        return _probed(path, "mode=ro&immutable=1")


def _probed(path: Path, options: str) -> sqlite3.Connection:
    """An open connection that has read the file once: SQLite opens files only when it must."""
    uri = f"{path.resolve().as_uri()}?{options}"
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    try:
        _patiently(connection, "SELECT count(*) FROM sqlite_master")
    except BaseException:
        connection.close()
        raise
    return connection


def _schema_version(path: Path, connection: sqlite3.Connection, migrations: Migrations) -> int:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > len(migrations):
        raise ProgressError(
            f"{path} was written by a newer gpuprep (format {version}; this one knows {len(migrations)})",
            next_step="pip install --upgrade gpuprep",
        )
    return version


def _patiently(connection: sqlite3.Connection, sql: str) -> None:
    """Executes, and tries again within the busy timeout where SQLite doesn't wait by itself.

    Switching to WAL and recovering a WAL that a killed process left report a lock at once.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute(sql).fetchall()
        except sqlite3.OperationalError as error:
            if _primary_code(error) not in _TAKEN or time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_PAUSE_S)
        else:
            return


_TAKEN = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)
_NO_ACCESS = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM)


def _primary_code(error: sqlite3.Error) -> int:
    """SQLite's error class; the bits above say which of its kinds, which no answer here depends on."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF


def _explanation(path: Path, verb: str, what: str, error: sqlite3.DatabaseError) -> ProgressError:
    code = _primary_code(error)
    if code == sqlite3.SQLITE_FULL:
        return ProgressError(
            f"The disk is full: {path} can't be written", next_step=f"df -h {shlex.quote(str(path.parent))}"
        )
    if code in _TAKEN:
        return ProgressError(
            f"Another process has kept {path} locked for {BUSY_TIMEOUT_S:.0f} s",
            next_step=f"fuser -v {shlex.quote(str(path))}",
        )
    if code in _NO_ACCESS:
        return _no_access(path, verb, what, str(error))
    if code == sqlite3.SQLITE_IOERR:
        return ProgressError(f"The disk fails on {path}: {error}", next_step=f"df -h {shlex.quote(str(path.parent))}")
    return unreadable(path, str(error), what)


def _no_access(path: Path, verb: str, what: str, reason: str) -> ProgressError:
    right = "u+rwX" if verb == "write" else "u+rX"
    return ProgressError(
        f"The {what} {path} can't be {'written' if verb == 'write' else 'read'}: {reason}",
        next_step=f"chmod -R {right} {shlex.quote(str(path.parent))}",
    )
