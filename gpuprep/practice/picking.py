"""Choosing one of many exercises by typing: a filter, and a place in what it leaves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpuprep.exercise import Exercise
    from gpuprep.practice.standing import Standing

PAGE = 10
_MOVES = {"up": -1, "down": 1, "pgup": -PAGE, "pgdn": PAGE}


@dataclass(frozen=True)
class Picking:
    """What was typed, what is left, and which of it is chosen."""

    standings: tuple[Standing, ...]
    filter: str
    place: int
    """Of the chosen one among those that are left."""

    @classmethod
    def of(cls, standings: tuple[Standing, ...], exercise: Exercise) -> Picking:
        """Everything, this exercise chosen."""
        ids = [standing.exercise.id for standing in standings]
        return cls(standings, "", ids.index(exercise.id))

    @property
    def left(self) -> tuple[Standing, ...]:
        """Those in which every word of the filter occurs: in id, title, language, module, topics or outcome."""
        words = self.filter.lower().split()
        return tuple(standing for standing in self.standings if all(word in _text(standing) for word in words))

    @property
    def chosen(self) -> Standing | None:
        """None where nothing is left."""
        left = self.left
        # A check that has ended meanwhile may have taken some out of the filter.
        return left[min(self.place, len(left) - 1)] if left else None

    def press(self, key: str) -> Picking:
        """The list after a key: one that moves, one that changes the filter, or `esc`, which empties it."""
        if key in _MOVES:
            return self._at(self.place + _MOVES[key])
        if key in ("home", "end"):
            return self._at(0 if key == "home" else len(self.left))
        if key == "esc":
            return self._filtered("")
        if key == "backspace":
            return self._filtered(self.filter[:-1])
        typed = " " if key == "space" else key
        return self._filtered(self.filter + typed) if len(typed) == 1 and typed.isprintable() else self

    def _filtered(self, text: str) -> Picking:
        """Stays on what was chosen where that is left."""
        found = replace(self, filter=text, place=0)
        ids = [standing.exercise.id for standing in found.left]
        was = self.chosen
        return replace(found, place=ids.index(was.exercise.id) if was and was.exercise.id in ids else 0)

    def _at(self, place: int) -> Picking:
        return replace(self, place=max(0, min(place, len(self.left) - 1)))


def _text(standing: Standing) -> str:
    exercise = standing.exercise
    outcome = standing.outcome.value.replace("_", " ") if standing.outcome else "not tried"
    words = (exercise.id, exercise.title, exercise.language, exercise.module, *exercise.topics, outcome)
    gold = "gold" if standing.is_gold else ""
    return " ".join((*words, gold)).lower()
