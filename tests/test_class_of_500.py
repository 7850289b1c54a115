"""A class of 500 is graded as its files declare, with nothing left of it, killed in between or not."""

from __future__ import annotations

from pathlib import Path

import pytest
from class_of_500 import LAST, Room


@pytest.mark.soak
def test_five_hundred_are_graded_as_declared(tmp_path: Path) -> None:
    """Attacks among them; and killed five times the command comes to the same scores, byte for byte."""
    room = Room(tmp_path, 500)
    run = room.grade("out")
    assert (run.mismatches, run.leftovers) == ([], [])
    killed = room.grade("killed", n_kills=5)
    assert (killed.mismatches, killed.leftovers) == ([], [])
    assert killed.scores == run.scores


def test_class_is_the_same_each_time(tmp_path: Path) -> None:
    """The same files for the same names; those that run into a limit are called so that they come last."""
    one, other = Room(_folder(tmp_path, "one"), 40), Room(_folder(tmp_path, "other"), 40)
    assert one.handed == other.handed
    assert len(one.handed) == 40
    assert (
        sorted(name for name in one.handed if name.startswith(LAST))
        == sorted(one.handed)[len(one.handed) - sum(name.startswith(LAST) for name in one.handed) :]
    )


def _folder(root: Path, name: str) -> Path:
    (root / name).mkdir()
    return root / name
