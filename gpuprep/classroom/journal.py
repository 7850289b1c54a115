"""`journal.db`: every file that was graded, committed before anybody is told. What a kill left undone isn't in it."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gpuprep.database import Database, unreadable
from gpuprep.errors import UsageError
from gpuprep.grading.reports import report_from
from gpuprep.model import Report
from gpuprep.outcome import Tier

FILE_NAME = "journal.db"
_WHAT = "journal of the class"

_MIGRATIONS = (
    (
        "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
        """CREATE TABLE submissions (place INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, hash TEXT NOT NULL,
           submitted TEXT NOT NULL, refused TEXT NOT NULL, notes TEXT NOT NULL)""",
        """CREATE TABLE grades (submission TEXT NOT NULL, exercise TEXT NOT NULL, finished TEXT NOT NULL,
           tiers TEXT NOT NULL, n_checks INTEGER NOT NULL, fault TEXT NOT NULL, report BLOB,
           PRIMARY KEY (submission, exercise))""",
    ),
    (
        # A file may be graded again, on a machine with a card: its grades are kept, the newest counts.
        """CREATE TABLE upgrades (number INTEGER PRIMARY KEY, device TEXT NOT NULL, sandbox TEXT NOT NULL,
           begun TEXT NOT NULL, finished TEXT)""",
        """CREATE TABLE all_grades (submission TEXT NOT NULL, exercise TEXT NOT NULL, upgrade INTEGER NOT NULL,
           finished TEXT NOT NULL, tiers TEXT NOT NULL, n_checks INTEGER NOT NULL, fault TEXT NOT NULL, report BLOB,
           hidden BLOB, PRIMARY KEY (submission, exercise, upgrade))""",
        """INSERT INTO all_grades (submission, exercise, upgrade, finished, tiers, n_checks, fault, report)
           SELECT submission, exercise, 0, finished, tiers, n_checks, fault, report FROM grades""",
        "DROP TABLE grades",
        "ALTER TABLE all_grades RENAME TO grades",
    ),
)


@dataclass(frozen=True)
class Identity:
    """What a journal is about. Results for another of these would be other results."""

    assignment: str
    """Hash."""
    curriculum: str
    """Hash of the graders and stubs of the assigned exercises."""
    gpuprep: str
    """Version."""
    device: str
    """As it was asked for."""
    sandbox: str
    """The level that was reached."""


@dataclass(frozen=True)
class Upgrade:
    """A later grading of what the first one could not grade."""

    number: int
    """From 1."""
    device: str
    """The card's name; each report has its own, too."""
    sandbox: str
    is_finished: bool = False


@dataclass(frozen=True)
class Noted:
    """A submission as the journal knows it."""

    name: str
    hash: str
    submitted: datetime
    refused: Mapping[str, str]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Grade:
    """What became of one submission's file for one exercise."""

    submission: str
    exercise_id: str
    tiers: tuple[Tier, ...] = ()
    """That the exercise has."""
    report: Report | None = None
    """None where the grader itself failed."""
    fault: str = ""
    """How it did; empty where it did not."""
    n_checks: int = 1
    """With how many seeds it was graded."""
    hidden: tuple[Report, ...] = ()
    """Of the checks with hidden cases, whole. Nothing of them is for students; `report` has what may be told."""
    upgrade: int = 0
    """The number of the upgrade that it is of; 0 for the first grading."""
    earlier: Grade | None = None
    """What was known before: a tier that was won or lost then stays so."""

    def __post_init__(self) -> None:
        if (self.report is None) != bool(self.fault):
            raise ValueError(f"{self.submission} {self.exercise_id}: either a report or a fault")


class Journal(Database):
    """The journal of one output folder. A context manager; whoever only reads needs no right to write there."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / FILE_NAME, _MIGRATIONS, _WHAT)

    def begin(
        self, identity: Identity, submissions: Sequence[Noted], assignment: str, curriculum_root: Path | None = None
    ) -> None:
        """Note what is going to be graded, all of it or nothing.

        Args:
            identity: with what.
            submissions: of whom.
            assignment: the text of the assignment.
            curriculum_root: the curriculum's folder; None for gpuprep's own.
        """
        with self._writing() as connection:
            facts = {"identity": json.dumps(asdict(identity)), "assignment": _text(assignment)}
            if curriculum_root is not None:
                facts["curriculum"] = _text(str(curriculum_root))
            connection.executemany("INSERT INTO facts VALUES (?, ?)", facts.items())
            connection.executemany(
                "INSERT INTO submissions VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (
                        place,
                        each.name,
                        each.hash,
                        each.submitted.isoformat(),
                        json.dumps(dict(each.refused)),
                        json.dumps(each.notes),
                    )
                    for place, each in enumerate(submissions)
                ],
            )

    @property
    def has_begun(self) -> bool:
        """True where it holds a class."""
        return self._fact("identity") is not None

    def refuse_another(self, identity: Identity, submissions: Sequence[Noted]) -> None:
        """Hold against the journal what is to be graded.

        Raises:
            UsageError: it is not what the journal was begun with.
        """
        differs = self._differences(identity, submissions)
        if differs:
            raise UsageError(
                f"{self.path} can't be resumed: {'; '.join(differs[:3])}{' and more' if len(differs) > 3 else ''}",
                next_step="undo that, or grade anew with another --out",
            )

    def _differences(self, identity: Identity, submissions: Sequence[Noted]) -> list[str]:
        before = self.identity()
        found = []
        if identity.assignment != before.assignment:
            found.append("the assignment has changed")
        if identity.curriculum != before.curriculum:
            found.append("a grader or a stub has changed, or --curriculum names another folder now")
        for name in ("gpuprep", "device", "sandbox"):
            was, now = getattr(before, name), getattr(identity, name)
            if was != now:
                found.append(f"{name} was {was}, and is {now}")
        old = {each.name: each for each in self.submissions()}
        new = {each.name: each for each in submissions}
        found += [f"submission {name!r} is new" for name in new if name not in old]
        found += [f"submission {name!r} is gone" for name in old if name not in new]
        found += [
            f"submission {name!r} has changed" for name in new if name in old and new[name].hash != old[name].hash
        ]
        return found

    def finish(self) -> None:
        """Note that all has been graded."""
        with self._writing() as connection:
            connection.execute("INSERT OR REPLACE INTO facts VALUES ('finished', ?)", (_now(),))

    @property
    def is_finished(self) -> bool:
        """True once all has been graded."""
        return self._fact("finished") is not None

    def assignment(self) -> str:
        """The text of the assignment that was graded."""
        found = self._fact("assignment")
        if found is None:
            raise unreadable(self.path, "it has no assignment", _WHAT)
        return found

    def curriculum_root(self) -> Path | None:
        """The folder of the curriculum that was graded with; None for gpuprep's own."""
        found = self._fact("curriculum")
        return None if found is None else Path(found)

    def identity(self) -> Identity:
        """What it was begun with."""
        try:
            return Identity(**json.loads(self._fact("identity") or ""))
        except (ValueError, TypeError) as error:
            raise unreadable(self.path, f"identity: {error}", _WHAT) from error

    def submissions(self) -> tuple[Noted, ...]:
        """In the order in which they were found."""
        rows = self._rows("SELECT name, hash, submitted, refused, notes FROM submissions ORDER BY place")
        try:
            return tuple(
                Noted(name, digest, datetime.fromisoformat(at), json.loads(refused), tuple(json.loads(notes)))
                for name, digest, at, refused, notes in rows
            )
        except (ValueError, TypeError) as error:
            raise unreadable(self.path, f"submissions: {error}", _WHAT) from error

    def record(self, grade: Grade) -> None:
        """Commit a grade; it is on the disk when this returns."""
        row = {
            "submission": grade.submission,
            "exercise": grade.exercise_id,
            "upgrade": grade.upgrade,
            "finished": _now(),
            "tiers": json.dumps(grade.tiers),
            "n_checks": grade.n_checks,
            "fault": _text(grade.fault),
            "report": _packed(grade.report.as_dict()) if grade.report else None,
            "hidden": _packed([report.as_dict() for report in grade.hidden]) if grade.hidden else None,
        }
        with self._writing() as connection:
            connection.execute(
                """INSERT INTO grades (submission, exercise, upgrade, finished, tiers, n_checks, fault, report, hidden)
                VALUES (:submission, :exercise, :upgrade, :finished, :tiers, :n_checks, :fault, :report, :hidden)""",
                row,
            )

    def grades(self) -> Iterator[Grade]:
        """The newest of each file, with those that came before it."""
        found: dict[tuple[str, str], Grade] = {}
        for grade in self.history():
            key = grade.submission, grade.exercise_id
            earlier = found.get(key)
            # A grader that failed on the card takes nothing away that was known before.
            if earlier is None or grade.report is not None or earlier.report is None:
                found[key] = replace(grade, earlier=earlier)
        yield from found.values()

    def history(self) -> Iterator[Grade]:
        """All that were ever recorded, the first ones first."""
        for row in self._rows(
            """SELECT submission, exercise, tiers, n_checks, fault, report, hidden, upgrade
            FROM grades ORDER BY upgrade, rowid"""
        ):
            submission, exercise_id, tiers, n_checks, fault, packed, hidden, upgrade = row
            try:
                yield Grade(
                    submission,
                    exercise_id,
                    tuple(map(Tier, json.loads(tiers))),
                    report_from(_unpacked(packed)) if packed is not None else None,
                    fault,
                    n_checks,
                    tuple(map(report_from, _unpacked(hidden))) if hidden is not None else (),
                    upgrade,
                )
            except (ValueError, TypeError, zlib.error) as error:
                raise unreadable(self.path, f"{submission} {exercise_id}: {error}", _WHAT) from error

    def upgrades(self) -> tuple[Upgrade, ...]:
        """Those that were begun, in their order."""
        rows = self._rows("SELECT number, device, sandbox, finished FROM upgrades ORDER BY number")
        return tuple(Upgrade(number, device, sandbox, bool(finished)) for number, device, sandbox, finished in rows)

    def begin_upgrade(self, device: str, sandbox: str) -> Upgrade:
        """Go on with the last upgrade, if that was stopped and was this one, or begin another.

        Args:
            device: the card's name.
            sandbox: the level that was reached.
        """
        last = next(reversed(self.upgrades()), None)
        if last == Upgrade(last.number if last else 0, device, sandbox):
            return last
        made = Upgrade(last.number + 1 if last else 1, device, sandbox)
        with self._writing() as connection:
            row = (made.number, device, sandbox, _now())
            connection.execute("INSERT INTO upgrades (number, device, sandbox, begun) VALUES (?, ?, ?, ?)", row)
        return made

    def finish_upgrade(self, upgrade: Upgrade) -> None:
        """Note that all of it has been graded."""
        with self._writing() as connection:
            connection.execute("UPDATE upgrades SET finished = ? WHERE number = ?", (_now(), upgrade.number))

    def _fact(self, name: str) -> str | None:
        found = self._rows("SELECT value FROM facts WHERE name = ?", name)
        return str(found[0][0]) if found else None


def _packed(content: object) -> bytes:
    return zlib.compress(json.dumps(content).encode())


def _unpacked(data: bytes) -> Any:
    return json.loads(zlib.decompress(data))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _text(said: str) -> str:
    """What SQLite can hold: half of a surrogate pair is no text."""
    return said.encode(errors="backslashreplace").decode()
