"""Every attempt of a learner, with the source that was graded, kept in SQLite.

The file is written with `BEGIN IMMEDIATE` in WAL mode: several checks at once lose nothing, and what `record` returned
for survives a kill at any moment. Reading never creates the file, and works in a folder that can't be written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gpuprep import attempt_sources
from gpuprep.attempt_sources import SourceNames
from gpuprep.database import Database, unreadable
from gpuprep.model import Outcome, Report

_MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE attempts (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            exercise_id TEXT NOT NULL,
            outcome TEXT NOT NULL,
            at TEXT NOT NULL,
            path TEXT NOT NULL,
            file_hash TEXT NOT NULL,
            exercise_hash TEXT NOT NULL,
            device TEXT NOT NULL,
            is_gold INTEGER NOT NULL,
            elapsed_s REAL NOT NULL,
            figures TEXT NOT NULL,
            versions TEXT NOT NULL,
            report TEXT NOT NULL
        )""",
        # Covers the ranking in best(), which then never touches the long report column.
        "CREATE INDEX attempts_by_exercise ON attempts (exercise_id, outcome, is_gold)",
        "CREATE TABLE hints (exercise_id TEXT PRIMARY KEY, shown INTEGER NOT NULL)",
        "CREATE TABLE solutions_seen (exercise_id TEXT PRIMARY KEY, at TEXT NOT NULL)",
    ),
    attempt_sources.MIGRATION,
    (
        # A hint may be picked out of turn: which were shown, no longer how many. `after_attempt` is the id of the
        # attempt that was the last one then, 0 where there was none.
        """CREATE TABLE hints_shown (
            exercise_id TEXT NOT NULL,
            place INTEGER NOT NULL,
            after_attempt INTEGER NOT NULL,
            PRIMARY KEY (exercise_id, place)
        )""",
        """WITH RECURSIVE steps (exercise_id, place, shown) AS (
            SELECT exercise_id, 0, shown FROM hints WHERE shown > 0
            UNION ALL SELECT exercise_id, place + 1, shown FROM steps WHERE place + 1 < shown
        ) INSERT INTO hints_shown SELECT exercise_id, place, 0 FROM steps""",
        "DROP TABLE hints",
    ),
)
"""Entry k takes the schema from version k to k + 1; an entry that was released never changes."""

_HINTS_SHOWN = "SELECT place, after_attempt FROM hints_shown WHERE exercise_id = ?"

# As in Attempt.
_ATTEMPT_COLUMNS = (
    "id, exercise_id, outcome, at, path, file_hash, exercise_hash, device, is_gold, elapsed_s, report, sources, unkept"
)


@dataclass(frozen=True)
class Attempt:
    """One recorded check."""

    id: int
    exercise_id: str
    outcome: Outcome
    at: str
    """ISO 8601, UTC."""
    path: str
    file_hash: str
    exercise_hash: str
    device: str
    is_gold: bool
    elapsed_s: float
    report: dict[str, Any]
    """The whole `Report.as_dict()`, as JSON gives it back. Of the version that it names: it is read key by key."""
    sources: SourceNames = ()
    """The files that were graded, for `Progress.sources`. None of an attempt that an earlier gpuprep recorded."""
    unkept: str = ""
    """Why its sources were not kept, where that was decided."""


class Progress(Database):
    """The record of attempts. A context manager; nothing is opened before it is needed.

    Args:
        path: the database file, `.gpuprep/progress.db`. It is created by the first write only.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, _MIGRATIONS)

    def record(self, report: Report, sources: Mapping[str, bytes] | None = None, *, unkept: str = "") -> int:
        """Keeps one check for good.

        Args:
            report: what came of it.
            sources: the files that were graded, by name. They are kept as long as there is room for them.
            unkept: why there are none, where that is so.

        Returns:
            The attempt's id. When this returns, the attempt is on the disk.

        Raises:
            ProgressError: the file can't be written, is damaged, or was written by a newer gpuprep.
        """
        figures = [figure for timing in report.timings for figure in timing.figures]
        named = [
            {"of": f.target.of, "figure": f.target.figure, "value": f.value, "low": f.low, "high": f.high}
            for f in figures
        ]
        values = (
            report.exercise_id,
            report.outcome.value,
            _now(),
            # A file name that is not UTF-8 reaches Python with lone surrogates, which SQLite refuses.
            report.path.encode("utf-8", "backslashreplace").decode(),
            report.file_hash,
            report.exercise_hash,
            report.device,
            report.is_gold,
            report.elapsed_s,
            json.dumps(named),
            json.dumps(dict(report.versions)),
            json.dumps(report.as_dict()),
        )
        with self._writing() as connection:
            names, refused = attempt_sources.keep(connection, sources or {})
            cursor = connection.execute(
                "INSERT INTO attempts (exercise_id, outcome, at, path, file_hash, exercise_hash, device, is_gold,"
                " elapsed_s, figures, versions, report, sources, unkept)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*values, attempt_sources.to_json(names), refused or unkept),
            )
        return int(cursor.lastrowid or 0)

    def unkept(self, attempt_id: int) -> str:
        """Why the sources of an attempt were not kept; empty where they were."""
        found = self._rows("SELECT unkept FROM attempts WHERE id = ?", attempt_id)
        return str(found[0][0]) if found else ""

    def sources(self, attempt: Attempt) -> dict[str, bytes]:
        """The files that were graded, by name; empty where none were kept.

        Raises:
            ProgressError: the record is damaged.
        """
        with self._reading() as connection:
            return {} if connection is None else attempt_sources.fetch(connection, attempt.sources, self.path)

    def attempts(self, exercise_id: str) -> tuple[Attempt, ...]:
        """All attempts at one exercise, oldest first."""
        return self._select("WHERE exercise_id = ? ORDER BY id", exercise_id)

    def last(self, exercise_id: str) -> Attempt | None:
        """The latest attempt at one exercise."""
        return next(iter(self._select("WHERE exercise_id = ? ORDER BY id DESC LIMIT 1", exercise_id)), None)

    def latest(self) -> dict[str, Attempt]:
        """The latest attempt at each exercise that was tried."""
        found = self._select("WHERE id IN (SELECT max(id) FROM attempts GROUP BY exercise_id)")
        return {attempt.exercise_id: attempt for attempt in found}

    def best(self) -> dict[str, Attempt]:
        """The attempt that counts: PASSED with gold, else PASSED, else PROVISIONAL, else whatever came last.

        Among equals the latest counts, so that passing a changed exercise again replaces the old pass.
        """
        found = self._select(
            "WHERE id IN (SELECT id FROM (SELECT id, row_number() OVER (PARTITION BY exercise_id ORDER BY"
            " CASE WHEN outcome = ?1 AND is_gold THEN 0 WHEN outcome = ?1 THEN 1 WHEN outcome = ?2 THEN 2 ELSE 3 END,"
            " id DESC) AS place FROM attempts) WHERE place = 1)",
            Outcome.PASSED.value,
            Outcome.PROVISIONAL.value,
        )
        return {attempt.exercise_id: attempt for attempt in found}

    def counts(self) -> dict[str, int]:
        """The number of attempts at each exercise that was tried."""
        return dict(self._rows("SELECT exercise_id, count(*) FROM attempts GROUP BY exercise_id"))

    def show_hint(
        self, exercise_id: str, n_hints: int, *, answering: Sequence[int] = (), after_attempt: int = 0
    ) -> int:
        """The index of the hint to show now.

        First the hints that answer what the last attempt came to, each once an attempt; then, one further each call,
        those that were never shown; then the last again and again.

        Args:
            exercise_id: whose hints.
            n_hints: how many there are.
            answering: the indices of those that answer the last attempt's diagnosis.
            after_attempt: the id of that attempt.
        """
        if n_hints < 1:
            raise ValueError(f"{exercise_id}: {n_hints} hints to choose from")
        with self._writing() as connection:
            shown = connection.execute(_HINTS_SHOWN, (exercise_id,)).fetchall()
            index = _next_hint(dict(shown), n_hints, answering, after_attempt)
            connection.execute(
                "INSERT OR REPLACE INTO hints_shown VALUES (?, ?, ?)", (exercise_id, index, after_attempt)
            )
        return index

    def next_hint(
        self, exercise_id: str, n_hints: int, *, answering: Sequence[int] = (), after_attempt: int = 0
    ) -> int:
        """What `show_hint` would choose; nothing is written."""
        return _next_hint(dict(self._rows(_HINTS_SHOWN, exercise_id)), n_hints, answering, after_attempt)

    def hints_shown(self, exercise_id: str) -> int:
        """How many hints of an exercise were shown."""
        return int((self._rows("SELECT count(*) FROM hints_shown WHERE exercise_id = ?", exercise_id) or [(0,)])[0][0])

    def mark_solution_seen(self, exercise_id: str) -> None:
        """Notes, for good, that the solution was shown before a pass."""
        with self._writing() as connection:
            connection.execute("INSERT OR IGNORE INTO solutions_seen VALUES (?, ?)", (exercise_id, _now()))

    def solution_seen(self, exercise_id: str) -> bool:
        """True when the solution was shown before a pass."""
        return exercise_id in self.solutions_seen()

    def solutions_seen(self) -> frozenset[str]:
        """The exercises whose solution was shown before a pass."""
        return frozenset(row[0] for row in self._rows("SELECT exercise_id FROM solutions_seen"))

    def _select(self, clause: str, *parameters: str) -> tuple[Attempt, ...]:
        rows = self._rows(f"SELECT {_ATTEMPT_COLUMNS} FROM attempts {clause}", *parameters)  # noqa: S608 - all of it ours
        return tuple(self._attempt(row) for row in rows)

    def _attempt(self, row: tuple[Any, ...]) -> Attempt:
        number, exercise_id, outcome, at, path, file_hash, exercise_hash, device, is_gold, elapsed_s, *texts = row
        report, sources, unkept = texts
        try:
            return Attempt(
                number,
                exercise_id,
                Outcome(outcome),
                at,
                path,
                file_hash,
                exercise_hash,
                device,
                bool(is_gold),
                elapsed_s,
                json.loads(report),
                attempt_sources.from_json(sources),
                unkept,
            )
        except (ValueError, TypeError) as error:
            raise unreadable(self.path, f"attempt {number}: {error}") from error


def _next_hint(shown: Mapping[int, int], n_hints: int, answering: Sequence[int], after_attempt: int) -> int:
    """Of the places shown, with the attempts that they were shown after: the place to show now."""
    answers = (place for place in answering if shown.get(place, -1) < after_attempt)
    unseen = (place for place in range(n_hints) if place not in shown)
    return next(answers, next(unseen, n_hints - 1))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
