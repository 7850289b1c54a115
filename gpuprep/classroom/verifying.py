"""Whether signed results hold: each entry by itself, all of them as one class, and whose file it was."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gpuprep.classroom.assignment import hash_of
from gpuprep.classroom.keys import PublicKey
from gpuprep.classroom.signed_shape import Fault, Misfit, Problem, check_entry, parse, read_file
from gpuprep.classroom.signing import Json, canonical
from gpuprep.classroom.submissions import Found, Submission, collect
from gpuprep.curriculum import Curriculum
from gpuprep.errors import UnknownExerciseError, UsageError

MAX_GUESSES = 5000
"""Signatures that are tried to find out whose entry a broken one was; telling costs about 0.1 ms each."""


@dataclass(frozen=True)
class Checked:
    """What became of one entry."""

    place: int
    """In the file, from 1."""
    name: str
    """Of the submission, as the entry has it; empty where it has none that can be read."""
    signed: Json | None = None
    """What it says; None where it is no entry."""
    key: PublicKey | None = None
    """Who signed, where the signature holds."""
    problem: Problem | None = None
    is_submission: bool | None = None
    """Whether it is about the submission that was asked for; None where nobody asked, or it doesn't hold."""


@dataclass(frozen=True)
class Verified:
    """What became of a file of signed results."""

    path: Path
    entries: tuple[Checked, ...]
    problems: tuple[Problem, ...] = ()
    """Of the file as a whole."""
    key: PublicKey | None = None
    """That was given. None where nobody vouches for the keys in the file."""
    submission: Path | None = None
    """That was held against it."""

    @property
    def holds(self) -> bool:
        """True where nothing is wrong, in any entry."""
        return bool(self.entries) and not self.problems and all(entry.problem is None for entry in self.entries)

    @property
    def keys(self) -> tuple[PublicKey, ...]:
        """Whose signatures hold, each once."""
        return tuple(dict.fromkeys(entry.key for entry in self.entries if entry.key))


def verify(
    path: Path, key: PublicKey | None = None, submission: Path | None = None, curriculum: Curriculum | None = None
) -> Verified:
    """Check a file of signed results.

    Args:
        path: the results of a class, or an entry cut out of them.
        key: whose signatures count; any if left out.
        submission: a file, folder or archive: was it graded here?
        curriculum: says what the submission's files are called; needed for that alone.

    Raises:
        UsageError: a file can't be read, or there is nothing to check signatures with.
    """
    if submission is not None and not submission.exists():
        raise UsageError(f"{submission} is not there", next_step="gpuprep verify --help")
    try:
        found, is_class = parse(read_file(path))
    except Misfit as misfit:
        return Verified(path, (), (misfit.problem,), key, submission)
    entries = _told_apart([_checked(place, entry, key) for place, entry in enumerate(found, start=1)], found)
    problems = list(_of_all([entry for entry in entries if entry.key and entry.signed], is_class=is_class))
    if submission is not None and curriculum is not None:
        entries, more = _matched(entries, submission, curriculum)
        problems += more
    return Verified(path, tuple(entries), tuple(problems), key, submission)


def _checked(place: int, entry: Any, key: PublicKey | None) -> Checked:
    try:
        signed, raw, signature = check_entry(entry)
    except Misfit as misfit:
        return Checked(place, _name(entry), problem=misfit.problem)
    named, name = PublicKey(raw), signed["submission"]["name"]
    if not named.holds(signature, canonical(signed)):
        text = "what it says, or its signature, was changed after it was signed"
        return Checked(place, name, signed, problem=Problem(Fault.CHANGED, text))
    if key is not None and named != key:
        text = f"signed by another key, {named.fingerprint}"
        return Checked(place, name, signed, named, Problem(Fault.OTHER_KEY, text))
    return Checked(place, name, signed, named)


def _name(entry: Any) -> str:
    """What an entry that is none calls its submission."""
    for step in ("signed", "submission", "name"):
        entry = entry.get(step) if isinstance(entry, Mapping) else None
    return entry.encode(errors="replace").decode() if isinstance(entry, str) else ""


def _told_apart(entries: Sequence[Checked], found: Sequence[Any]) -> list[Checked]:
    """Of entries that were changed, those whose signature was made for another submission of the file."""
    readable = [entry for entry in entries if entry.signed is not None]
    n_left = MAX_GUESSES
    told = []
    for entry in entries:
        if entry.problem and entry.problem.fault is Fault.CHANGED and n_left > 0:
            n_left -= 3 * len(readable)
            if whose := _whose(entry, readable, found[entry.place - 1]):
                entry = replace(entry, problem=Problem(Fault.SWAPPED, f"its signature was made for {whose!r}"))
        told.append(entry)
    return told


def _whose(entry: Checked, others: Sequence[Checked], found: Json) -> str | None:
    signed, raw, signature = check_entry(found)
    for other in others:
        if other is entry or other.signed is None:
            continue
        theirs = other.signed["submission"]
        renamed = {**signed["submission"], "name": theirs["name"]}
        guesses = (other.signed, {**signed, "submission": theirs}, {**signed, "submission": renamed})
        if any(PublicKey(raw).holds(signature, canonical(guess)) for guess in guesses):
            return other.name
    return None


def _of_all(sound: Sequence[Checked], *, is_class: bool) -> Iterator[Problem]:
    """What is wrong with entries that hold, each by itself, but don't belong together."""
    signed = [entry.signed for entry in sound if entry.signed]
    if not is_class or not signed:
        return
    if (n_keys := len({entry.key for entry in sound})) > 1:
        yield Problem(Fault.MIXED, f"signed by {n_keys} different keys")
        return
    if len({canonical({"class": each["class"], "at": each["signed_at"]}) for each in signed}) > 1:
        yield Problem(Fault.MIXED, "entries of more than one class, or signed at more than one time")
        return
    n_submissions = signed[0]["class"]["n_submissions"]
    places = Counter(each["submission"]["place"] for each in signed)
    if lacking := n_submissions - len(places):
        yield Problem(Fault.INCOMPLETE, f"{lacking} of the class's {n_submissions} submissions not here, or not sound")
    if double := next((place for place, count in places.items() if count > 1), None):
        name = next(each["submission"]["name"] for each in signed if each["submission"]["place"] == double)
        yield Problem(Fault.MIXED, f"{name!r} stands here more than once")


def _matched(
    entries: Sequence[Checked], path: Path, curriculum: Curriculum
) -> tuple[list[Checked], tuple[Problem, ...]]:
    """The entries with whether each is about the submission at a path, and what is wrong if none is."""
    taken: dict[tuple[str, ...], Submission] = {}
    told = []
    for entry in entries:
        if entry.problem is None and entry.signed is not None:
            ids = tuple(exercise["id"] for exercise in entry.signed["result"]["exercises"])
            if ids not in taken:
                taken[ids] = _collected(path, ids, curriculum)
            entry = replace(entry, is_submission=taken[ids].hash == entry.signed["submission"]["hash"])
        told.append(entry)
    if any(entry.is_submission for entry in told):
        return told, ()
    likely = [entry for entry in told if entry.is_submission is False]
    likely = [entry for entry in likely if entry.name in (path.name, path.stem)] or likely
    text = f"{path} is not what was graded"
    if len(likely) == 1 and (signed := likely[0].signed):
        (submission,) = taken.values() if len(taken) == 1 else (_collected_for(signed, path, curriculum),)
        text += f" as {likely[0].name!r}: {'; '.join(_differences(signed, submission, curriculum))}"
        graded = [curriculum.exercise(each["id"]) for each in signed["result"]["exercises"]]
        if signed["class"]["curriculum"] != hash_of(curriculum, graded):
            text += "; it was graded with other exercises than these: --curriculum names those"
    return told, (Problem(Fault.OTHER_SUBMISSION, text),)


def _collected_for(signed: Json, path: Path, curriculum: Curriculum) -> Submission:
    return _collected(path, [exercise["id"] for exercise in signed["result"]["exercises"]], curriculum)


def _collected(path: Path, ids: Sequence[str], curriculum: Curriculum) -> Submission:
    try:
        exercises = [curriculum.exercise(each) for each in ids]
    except UnknownExerciseError as error:
        raise UsageError(
            f"{error.message}: this is not the curriculum that was graded with",
            next_step="name it: gpuprep verify --curriculum DIR",
        ) from error
    return collect(Found(path.name, path), exercises, curriculum)


def _differences(signed: Json, submission: Submission, curriculum: Curriculum) -> list[str]:
    """In which exercises a submission differs from what was graded."""
    found = []
    for exercise in signed["result"]["exercises"]:
        own = exercise["id"]
        files = submission.files.get(own)
        names = [source.name for source in curriculum.sources(curriculum.stub_path(curriculum.exercise(own)))]
        digest = hashlib.sha256(b"\0".join(files[name] for name in names)).hexdigest() if files else ""
        if own in submission.refused:
            found.append(f"{own}: {submission.refused[own]}")
        elif digest != exercise["file_hash"]:
            found.append(f"{own}: {'another file' if files and exercise['file_hash'] else 'a file on one side alone'}")
    return found or ["the same files, refused then or named otherwise"]
