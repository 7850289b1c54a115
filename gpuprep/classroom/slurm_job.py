"""A job of Slurm: grades the parcels of a file, and writes each answer down before it begins the next.

In the folder that driver and nodes share are

    kit.json            what a grader needs before its first task
    parcels-N.jsonl     the tasks of job N, a line each
    answers-N.jsonl     their answers, a line each, in the order of the tasks

The driver makes the file for the answers, empty: so it is there to be looked at from the beginning, whatever the file
system remembers of what isn't there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gpuprep.classroom.parcels import Kit
from gpuprep.classroom.remote_grader import RemoteGrader

KIT = "kit.json"


def parcels_path(folder: Path, number: int) -> Path:
    """Where a job's tasks are."""
    return folder / f"parcels-{number}.jsonl"


def answers_path(folder: Path, number: int) -> Path:
    """Where its answers go."""
    return folder / f"answers-{number}.jsonl"


def work(folder: str, number: int) -> None:
    """What the job does. If Slurm starts it again, it goes on with what has no answer yet.

    Args:
        folder: the one that is shared.
        number: which job this is.
    """
    place = Path(folder)
    path = answers_path(place, number)
    done = {answer.get("n") for answer in answers(path.read_bytes())}
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    # What was torn by the end of an earlier start is a line of its own, and none that makes sense.
    _write(descriptor, {"began": True}, start=b"\n")
    grader = RemoteGrader(Kit.from_json((place / KIT).read_bytes()))
    try:
        with parcels_path(place, number).open(encoding="utf-8") as parcels:
            for n, parcel in enumerate(parcels):
                if n in done:
                    continue
                if not path.exists():
                    # Whoever asked is gone.
                    return
                answer = grader.grade(parcel)
                if answer.get("is_unfit"):
                    # It would be so for all that is left.
                    _write(descriptor, {"unfit": answer["fault"]})
                    return
                _write(descriptor, {"n": n, **answer})
    finally:
        grader.close()
        os.close(descriptor)


def answers(content: bytes) -> Iterator[dict[str, Any]]:
    """The whole lines of a file of answers."""
    for line in content.split(b"\n")[:-1]:
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            yield found


def _write(descriptor: int, what: Mapping[str, Any], *, start: bytes = b"") -> None:
    left = memoryview(start + json.dumps(what).encode() + b"\n")
    while left:
        left = left[os.write(descriptor, left) :]
    os.fsync(descriptor)
