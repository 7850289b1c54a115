"""The active lanes of one load, store or atomic of one program.

While a launch is counted, each pointer argument carries a tag above the bits that an address needs. Arithmetic keeps
the tag, so that an access always says which argument it was computed from: an overrun of one tensor that lands in
another is an overrun all the same.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import numpy.typing as npt

from gpuprep.counters.extents import Addresses, Lanes

SECTOR_BYTES = 32
"""The least that a GPU's memory system moves."""


TAG_SHIFT = 48
"""User-space addresses have 47 bits on x86-64 and 48 on arm64."""

_ADDRESS_BITS = np.uint64((1 << TAG_SHIFT) - 1)


def tagged(pointers: Addresses, tag: int) -> Addresses:
    """The same addresses, marked."""
    return pointers | np.uint64(tag << TAG_SHIFT)


def untagged(pointers: Any) -> Addresses:
    """Addresses that memory can be accessed at."""
    return np.asarray(pointers) & _ADDRESS_BITS


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

    def by_tag(self) -> list[tuple[int, Access]]:
        """The lanes of each tag, with plain addresses; tag 0 has those that come from no argument."""
        first, last = self.low >> TAG_SHIFT, (self.high - 1) >> TAG_SHIFT
        if first == last:
            return [(first, self.plain(first))]
        tags = self.addresses >> np.uint64(TAG_SHIFT)
        return [(int(tag), self.part(tags == tag).plain(int(tag))) for tag in np.unique(tags)]

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

    def plain(self, tag: int) -> Access:
        """The same lanes without this tag, which all of them carry."""
        plain = copy.copy(self)
        plain.addresses = untagged(self.addresses)
        plain.low -= tag << TAG_SHIFT
        plain.high -= tag << TAG_SHIFT
        return plain

    def _survey(self) -> None:
        first, last = int(self.addresses[0]), int(self.addresses[-1])
        if last - first == self.n_bytes - self.width:
            self.is_run = bool((self.addresses[1:] - self.addresses[:-1] == self.width).all())
        self.low = first if self.is_run else int(self.addresses.min())
        self.high = first + self.n_bytes if self.is_run else int(self.addresses.max()) + self.width
