"""What a class has handed in: found, and only the files taken that the assignment allows."""

from __future__ import annotations

import csv
import hashlib
import os
import re
import shlex
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from gpuprep.classroom import archives
from gpuprep.classroom.archives import MAX_FILE_BYTES, RefusedError
from gpuprep.classroom.assignment import moment
from gpuprep.curriculum import Curriculum
from gpuprep.errors import UsageError
from gpuprep.exercise import Exercise
from gpuprep.workspace import os_errors
from gpuprep.yaml_nodes import suggestion

MAX_DEPTH = 6
"""Folders below a submission's own in which its files are looked for."""
MAX_ENTRIES = 10_000
"""In a submission's folders: more is somebody's whole home."""
COLUMNS = ("submission", "path", "submitted")
_IGNORED = ("__MACOSX", "__pycache__")
_SOURCES = (".py", ".cu")
_FOLDER_DIGITS = 16
_SHOWN_OTHERS = 3


@dataclass(frozen=True)
class Found:
    """A submission before it was looked into."""

    name: str
    path: Path
    submitted: datetime | None = None
    """From the list; None where the files' own times must do."""


@dataclass(frozen=True)
class Submission:
    """What of a submission is graded, in memory: what happens to its folder from now on changes nothing."""

    name: str
    files: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)
    """By exercise and file name."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Why an exercise is not graded, where it can't be told which file to grade. Without an entry and without files,
    nothing was handed in for it."""
    submitted: datetime | None = None
    notes: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """The name as that of a folder, whatever is in it; no two share one.

        With few digits of the hash somebody could find a name that gets the folder of somebody else.
        """
        plain = re.sub(r"[^A-Za-z0-9._-]+", "_", self.name).strip(".")[:60]
        return f"{plain or 'submission'}-{hashlib.sha256(self.name.encode()).hexdigest()[:_FOLDER_DIGITS]}"

    @property
    def hash(self) -> str:
        """sha256 of what is graded."""
        digest = hashlib.sha256()
        for exercise_id, files in sorted(self.files.items()):
            for name, data in sorted(files.items()):
                digest.update(f"{exercise_id}\0{name}\0{len(data)}\0".encode())
                digest.update(data)
        for exercise_id, reason in sorted(self.refused.items()):
            digest.update(f"{exercise_id}\0refused\0{reason}\0".encode(errors="surrogateescape"))
        return digest.hexdigest()


def find(source: Path) -> tuple[Found, ...]:
    """The submissions in a folder of folders and archives, or in a list (`submission,path` and perhaps `submitted`).

    Raises:
        UsageError: there are none, two have one name, or the list makes no sense.
    """
    if source.is_dir():
        found = [Found(_written(_name(path)), path) for path in sorted(source.iterdir()) if _is_submission(path)]
    elif source.suffix.lower() == ".csv":
        found = list(_listed(source))
    elif not source.exists():
        raise UsageError(f"{source} is not there", next_step=f"ls {shlex.quote(str(source.parent))}")
    else:
        raise UsageError(
            f"{source}: want a folder of submissions, or a .csv with the columns submission,path",
            next_step="add --single if it is one submission",
        )
    if not found:
        is_one = any(path.suffix in _SOURCES for path in source.iterdir()) if source.is_dir() else False
        raise UsageError(
            f"{source}: no submission in it: want a folder or an archive for each",
            next_step="add --single if it is one submission" if is_one else f"ls {shlex.quote(str(source))}",
        )
    counts = Counter(each.name for each in found)
    if twice := next((name for name, count in counts.items() if count > 1), None):
        raise UsageError(f"{source}: two submissions are called {twice!r}", next_step="rename one of them")
    return tuple(found)


def left_out(source: Path) -> tuple[str, ...]:
    """What lies among a class's submissions and is none: no folder, and no archive that can be opened here."""
    if not source.is_dir():
        return ()
    others = (path for path in sorted(source.iterdir()) if not _is_submission(path))
    return tuple(_written(path.name) for path in others if not path.name.startswith(".") and path.name not in _IGNORED)


def find_one(source: Path, name: str | None = None, submitted: datetime | None = None) -> Found:
    """A submission by itself, as a CI job has it: a folder, an archive or an exercise's file.

    Args:
        source: where it is.
        name: what it is called; as the folder or file if None.
        submitted: when it was handed in; None where the files' own times must do.

    Raises:
        UsageError: it is none of these, or nobody can be called that.
    """
    # `.` and `..` have a name only once they are resolved; a link keeps its own.
    path = source.resolve() if source.name in ("", "..") else source
    if not (path.is_dir() or (path.is_file() and (archives.is_archive(path) or path.suffix in _SOURCES))):
        raise UsageError(
            f"{source}: want one submission: a folder, an archive or an exercise's file",
            next_step=f"ls {shlex.quote(str(source.parent))}",
        )
    if name is not None and not name.strip():
        raise UsageError("a submission needs a name", next_step="leave out --name, or give one")
    own = path.stem if path.is_file() and path.suffix in _SOURCES else _name(path)
    return Found(_written(name or own), path, submitted)


def _is_submission(path: Path) -> bool:
    if path.name.startswith(".") or path.name in _IGNORED or path.is_symlink():
        return False
    return path.is_dir() or (path.is_file() and archives.is_archive(path))


def _name(path: Path) -> str:
    return path.name if path.is_dir() else archives.stem(path)


def _written(name: str) -> str:
    """A name as a text: a file system and a command line take bytes that no text has."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def _listed(source: Path) -> Iterator[Found]:
    try:
        text = source.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{source}: can't be read: {error}", next_step=f"edit {source}") from error
    reader = csv.DictReader(text.splitlines())
    names = reader.fieldnames or ()
    if len(names) == 1 and ";" in names[0]:
        raise _wrong(source, 1, "want commas between the columns, have semicolons")
    for name in names:
        if name not in COLUMNS:
            raise _wrong(source, 1, f"unknown column {name!r}; {suggestion(name, COLUMNS)}")
    for name in COLUMNS[:2]:
        if name not in names:
            raise _wrong(source, 1, f"column {name!r} is missing")
    for row in reader:
        if None in row or not row["submission"] or not row["path"]:
            raise _wrong(source, reader.line_num, "want a submission and its path")
        path = source.parent / Path(row["path"]).expanduser()
        if not path.exists():
            raise _wrong(source, reader.line_num, f"{path} is not there")
        try:
            submitted = moment(row["submitted"]) if row.get("submitted") else None
        except ValueError as error:
            raise _wrong(source, reader.line_num, f"submitted: {error}") from None
        yield Found(row["submission"], path, submitted)


def _wrong(source: Path, line: int, problem: str) -> UsageError:
    return UsageError(f"{source}:{line}: {problem}", next_step=f"edit {source}, line {line}")


def collect(found: Found, exercises: Sequence[Exercise], curriculum: Curriculum) -> Submission:
    """Look into a submission, and take what is to be graded. Nothing that is in it raises.

    Args:
        found: where it is.
        exercises: what may be in it.
        curriculum: says what the files are called, and has what a learner need not write.
    """
    allowed = {name for exercise in exercises for name in _names(exercise, curriculum)}
    others: list[str] = []

    def is_wanted(place: PurePosixPath) -> bool:
        parts = place.parts
        if any(part.startswith(".") or part in _IGNORED for part in parts):
            return False
        if len(parts) <= MAX_DEPTH + 1 and place.name in allowed:
            return True
        if len(others) < _SHOWN_OTHERS and (place.suffix in _SOURCES or archives.is_archive(place)):
            others.append(str(place))
        return False

    taken: dict[str, list[tuple[PurePosixPath, bytes]]] = {}
    times: list[float] = []
    try:
        for place, data, time in _read(found.path, is_wanted):
            same = taken.setdefault(place.name, [])
            # Of two of one name neither is graded, and there may be thousands.
            same.append((place, b"" if same else data))
            times.append(time)
    except RefusedError as error:
        return Submission(
            found.name,
            refused={exercise.id: str(error) for exercise in exercises},
            submitted=found.submitted or _time(found.path, times),
        )
    files: dict[str, Mapping[str, bytes]] = {}
    refused: dict[str, str] = {}
    notes: list[str] = []
    for exercise in exercises:
        names = _names(exercise, curriculum)
        if double := next((name for name in names if len(taken.get(name, ())) > 1), None):
            places = ", ".join(str(place) for place, _ in sorted(taken[double])[:3])
            refused[exercise.id] = f"{len(taken[double])} files are called {double}: {places}"
        elif own := {name: taken[name][0][1] for name in names if name in taken}:
            if lacking := [name for name in names if name not in own]:
                notes.append(f"{exercise.id}: {', '.join(lacking)} was not handed in, the stub's was taken")
            stubs = {name: curriculum.stub_path(exercise).with_name(name).read_bytes() for name in lacking}
            files[exercise.id] = {**own, **stubs}
    if others and not files and not refused:
        notes.append(f"nothing has the name of an exercise's file; there is {', '.join(others)}")
    return Submission(found.name, files, refused, found.submitted or _time(found.path, times), tuple(notes))


def store(submission: Submission, folder: Path) -> dict[str, Path]:
    """Write what is graded below a folder, each exercise by itself.

    Returns:
        The Python file to grade, by exercise.

    Raises:
        WorkspaceError: they can't be written.
    """
    paths = {}
    for exercise_id, files in submission.files.items():
        own = folder / submission.folder / exercise_id
        for name, data in files.items():
            path = own / name
            with os_errors(path):
                own.mkdir(parents=True, exist_ok=True)
                # A file of that content stays as it is: what grades it may be reading.
                if not path.is_file() or path.read_bytes() != data:
                    path.write_bytes(data)
            if path.suffix == ".py":
                paths[exercise_id] = path
    return paths


def _names(exercise: Exercise, curriculum: Curriculum) -> tuple[str, ...]:
    stub = curriculum.stub_path(exercise)
    return tuple(path.name for path in curriculum.sources(stub))


Read = Iterator[tuple[PurePosixPath, bytes, float]]


def _read(path: Path, is_wanted: archives.Wanted) -> Read:
    """Wanted files with their times.

    Raises:
        RefusedError: it can't be read, or is not what it should be.
    """
    if path.is_dir():
        yield from _read_folder(path, is_wanted)
        return
    time = _time(path, ()).timestamp()
    if archives.is_archive(path):
        yield from ((place, data, time) for place, data in archives.read(path, is_wanted))
    elif path.suffix in _SOURCES and is_wanted(PurePosixPath(path.name)):
        yield PurePosixPath(path.name), *_content(path)
    else:
        raise RefusedError(f"{path.name} is neither a folder nor an archive")


def _read_folder(root: Path, is_wanted: archives.Wanted) -> Read:
    n_entries = 0
    for folder, folders, names in os.walk(root):
        inside = PurePosixPath(Path(folder).relative_to(root).as_posix())
        if len(inside.parts) >= MAX_DEPTH:
            folders.clear()
        folders.sort()
        n_entries += len(folders) + len(names)
        if n_entries > MAX_ENTRIES:
            raise RefusedError(f"it holds more than {MAX_ENTRIES} files and folders")
        for name in sorted(names):
            if is_wanted(inside / name):
                yield inside / name, *_content(Path(folder, name))


def _content(path: Path) -> tuple[bytes, float]:
    try:
        # Neither a link nor a pipe is opened, whatever it was when the folder was listed.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:  # noqa: PTH123  a descriptor
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise RefusedError(f"{path.name} is no plain file")
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        what = "is a link" if path.is_symlink() else f"can't be read: {error.strerror}"
        raise RefusedError(f"{path.name} {what}") from error
    if len(data) > MAX_FILE_BYTES:
        raise RefusedError(f"{path.name} is larger than {MAX_FILE_BYTES >> 10} KiB")
    return data, status.st_mtime


def _time(path: Path, times: Iterable[float]) -> datetime:
    """The newest of the files that are graded; of an archive its own."""
    newest = max(times, default=None)
    return datetime.fromtimestamp(path.stat().st_mtime if newest is None else newest, UTC)
