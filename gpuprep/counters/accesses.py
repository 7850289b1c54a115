"""The active lanes of one load, store or atomic of one program."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gpuprep.counters.extents import Addresses, Lanes

SECTOR_BYTES = 32
"""The least that a GPU's memory system moves."""


class Access:
    """Active lanes in lane order.

    Args:
        addresses: one address a lane.
        width: bytes a lane.
        verb: `load`, `store` or `atomic`.
        lanes: where these lanes are among those of the whole operation; None means all of them.
    """

    def __init__(self, addresses: Addresses, width: int, verb: str, lanes: Lanes | None = None) -> None:
        self.addresses = addresses
        self.width = width
        self.verb = verb
        self._lanes = lanes
        self.is_run = False
        """True when each lane's bytes follow the lane's before: the commonest case, and the cheapest to check."""
        self.low = self.high = 0
        if addresses.size:
            self._survey()

    @classmethod
    def of(cls, pointers: Any, mask: Any, width: int, verb: str) -> Access:
        """The lanes of `pointers` where `mask` is true; both may be anything that numpy takes."""
        pointers = np.asarray(pointers)
        lanes = np.broadcast_to(np.asarray(mask), pointers.shape)
        if lanes.all():
            return cls(pointers.reshape(-1), width, verb)
        return cls(pointers[lanes], width, verb, lanes)

    def part(self, lanes: Lanes) -> Access:
        """Some of these lanes."""
        whole = self._lanes
        if whole is None:
            return Access(self.addresses[lanes], self.width, self.verb, lanes)
        spread = np.zeros(whole.shape, dtype=np.bool_)
        spread[whole] = lanes
        return Access(self.addresses[lanes], self.width, self.verb, spread)

    @property
    def n_bytes(self) -> int:
        """Bytes of all lanes; one that is read twice counts twice."""
        return self.addresses.size * self.width

    def misaligned(self) -> Lanes | None:
        """The lanes whose address is no multiple of their width; None if there is no such lane."""
        if self.width == 1 or (self.is_run and self.low % self.width == 0):
            return None
        lanes: Lanes = self.addresses % np.uint64(self.width) != 0
        return lanes if lanes.any() else None

    def n_sectors(self) -> int:
        """Distinct sectors that the lanes touch."""
        if self.is_run:
            return (self.high - 1) // SECTOR_BYTES - self.low // SECTOR_BYTES + 1
        sectors = self.addresses // np.uint64(SECTOR_BYTES)
        if (sectors[1:] < sectors[:-1]).any():
            sectors.sort()
        return 1 + int(np.count_nonzero(sectors[1:] != sectors[:-1]))

    def values(self, values: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """Each lane's value, from those of an operation whose pointers have this shape."""
        spread = np.broadcast_to(values, shape)
        if self._lanes is None:
            return spread.reshape(-1)
        picked: npt.NDArray[Any] = spread[self._lanes.reshape(shape)]
        return picked

    def _survey(self) -> None:
        first, last = int(self.addresses[0]), int(self.addresses[-1])
        if last - first == self.n_bytes - self.width:
            self.is_run = bool((self.addresses[1:] - self.addresses[:-1] == self.width).all())
        self.low = first if self.is_run else int(self.addresses.min())
        self.high = first + self.n_bytes if self.is_run else int(self.addresses.max()) + self.width
