"""What a learner can do by now: the roadmap's abilities and the checklist's, ticked by passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpuprep.curriculum import Ability, Area
    from gpuprep.practice.standing import Standing


@dataclass(frozen=True)
class AbilityStanding:
    """One ability, and the exercises that show it."""

    text: str
    standings: tuple[Standing, ...]
    """Of its exercises that the curriculum has."""
    coming: tuple[str, ...]
    """Ids of those that it doesn't have yet: as long as there are any, nothing is ticked."""

    @property
    def n_done(self) -> int:
        """Exercises that were passed, provisionally or not."""
        return sum(standing.is_done for standing in self.standings)

    @property
    def total(self) -> int:
        """All its exercises, those that are coming too."""
        return len(self.standings) + len(self.coming)

    @property
    def is_ticked(self) -> bool:
        """True when every exercise is passed, as it is now: a pass of a changed exercise, or after its solution was
        seen, shows less."""
        return self.n_done == self.total and not any(s.is_stale or s.solution_seen for s in self.standings)

    @property
    def is_provisional(self) -> bool:
        """True when it is ticked, and some speed behind it was not graded."""
        return self.is_ticked and any(standing.is_provisional for standing in self.standings)


@dataclass(frozen=True)
class AreaStanding:
    """A part of the roadmap. An exercise that shows several of its abilities counts once."""

    title: str
    abilities: tuple[AbilityStanding, ...]

    @property
    def standings(self) -> tuple[Standing, ...]:
        """Of all its exercises that the curriculum has, each once."""
        found = (standing for ability in self.abilities for standing in ability.standings)
        return tuple({standing.exercise.id: standing for standing in found}.values())

    @property
    def coming(self) -> tuple[str, ...]:
        """Ids that the curriculum doesn't have yet, each once."""
        return tuple(dict.fromkeys(key for ability in self.abilities for key in ability.coming))


def abilities(wanted: Sequence[Ability], by_id: Mapping[str, Standing]) -> tuple[AbilityStanding, ...]:
    """Each ability with the standings behind it.

    Args:
        wanted: of the curriculum.
        by_id: every exercise's standing.
    """
    return tuple(
        AbilityStanding(
            ability.text,
            tuple(by_id[key] for key in ability.exercises if key in by_id),
            tuple(key for key in ability.exercises if key not in by_id),
        )
        for ability in wanted
    )


def areas(roadmap: Sequence[Area], by_id: Mapping[str, Standing]) -> tuple[AreaStanding, ...]:
    """Each part of the roadmap with the standings behind it; arguments as for `abilities`."""
    return tuple(AreaStanding(area.title, abilities(area.abilities, by_id)) for area in roadmap)
