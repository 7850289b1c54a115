"""Which addresses belong to a tensor: its logical elements, not its storage and not the padding between its rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Addresses = npt.NDArray[np.uint64]
Lanes = npt.NDArray[np.bool_]


class Extent:
    """The set of addresses of one strided tensor.

    Args:
        name: what a person calls the tensor: the kernel's parameter.
        base: address of the first element.
        shape: logical sizes.
        strides: in elements, never negative; 0 where a dimension is expanded.
        itemsize: bytes an element.
        storage: address where the storage begins that the tensor is a view of.
    """

    def __init__(
        self, name: str, base: int, shape: Sequence[int], strides: Sequence[int], itemsize: int, storage: int = 0
    ) -> None:
        self.name = name
        self.shape = tuple(shape)
        self.strides = tuple(strides)
        self.itemsize = itemsize
        self.storage = storage
        self._dims = _merged(shape, strides)
        self.span = 0 if 0 in self.shape else 1 + sum((size - 1) * stride for size, stride in self._dims)
        """Elements from the first to the last one, gaps included."""
        self.low = base
        self.high = base + self.span * itemsize
        self.is_dense = self.span == 0 or self._dims in ((), ((self.span, 1),))
        """True when no address between `low` and `high` is a gap."""
        self._occupied: Lanes | None = None
        if not self.is_dense and not _is_nested(self._dims):
            self._occupied = _occupancy(self._dims, self.span)

    def spans(self, low: int, high: int) -> bool:
        """True when [low, high) lies between this tensor's first and last byte."""
        return self.low <= low and high <= self.high

    def contains(self, addresses: Addresses, width: int) -> Lanes:
        """For each address, whether all of its `width` bytes belong to elements of this tensor."""
        # Unsigned wrap-around makes an address below the base negative here, as it should be.
        offsets = (addresses - np.uint64(self.low)).astype(np.int64)
        inside: Lanes = (offsets >= 0) & (offsets <= self.high - self.low - width)
        if self.is_dense or not inside.any():
            return inside
        offsets = np.where(inside, offsets, 0)
        elements = offsets
        for step in range(0, width, self.itemsize):
            elements = (offsets + step) // self.itemsize
            inside &= self._are_elements(elements)
        last = (offsets + width - 1) // self.itemsize
        if (last != elements).any():
            inside &= self._are_elements(last)
        return inside

    def covers(self, other: Extent) -> bool:
        """True when every element of `other` is surely one of this tensor's."""
        is_same = (self.low, self.shape, self.strides, self.itemsize) == (
            other.low,
            other.shape,
            other.strides,
            other.itemsize,
        )
        return is_same or (self.is_dense and self.spans(other.low, other.high))

    def index(self, address: int) -> int:
        """Offset of `address` from the first element, in elements."""
        return (address - self.low) // self.itemsize

    def locate(self, address: int) -> str:
        """Where an address that is no element's lies, in words: `past the end of x_ptr: index 7 of 7 elements`."""
        index = self.index(address)
        layout = "" if self.is_dense else f" with shape {self.shape} and strides {self.strides}"
        if index < 0:
            return f"before the start of {self.name}: index {index}"
        if index >= self.span:
            elements = "1 element" if self.span == 1 else f"{self.span} elements"
            return f"past the end of {self.name}: index {index} of {elements}{layout}"
        if not self.contains(np.array([address], dtype=np.uint64), 1)[0]:
            return f"between the elements of {self.name}: offset {index}{layout}"
        return f"outside the tensor that {self.name} is a view of: element {index}"

    def _are_elements(self, elements: npt.NDArray[np.int64]) -> Lanes:
        if self._occupied is not None:
            found: Lanes = self._occupied[np.minimum(elements, self.span - 1)]
            return found
        rest = elements
        valid: Lanes = np.ones(elements.shape, dtype=np.bool_)
        for size, stride in self._dims:
            steps = rest // stride
            valid &= steps < size
            rest = rest - steps * stride
        valid &= rest == 0
        return valid


def _merged(shape: Sequence[int], strides: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """(size, stride) of the dimensions that move, widest stride first; neighbours that run on are joined."""
    moving = [(size, stride) for size, stride in zip(shape, strides, strict=True) if size > 1 and stride > 0]
    dims: list[tuple[int, int]] = []
    for size, stride in sorted(moving, key=lambda dim: dim[1], reverse=True):
        if dims and dims[-1][1] == size * stride:
            dims[-1] = (dims[-1][0] * size, stride)
        else:
            dims.append((size, stride))
    return tuple(dims)


def _is_nested(dims: tuple[tuple[int, int], ...]) -> bool:
    """True when each stride steps over everything inside it, so that an offset splits in one way only."""
    inner = 1
    for size, stride in reversed(dims):
        if stride < inner:
            return False
        inner += (size - 1) * stride
    return True


def _occupancy(dims: tuple[tuple[int, int], ...], span: int) -> Lanes:
    """Marks every element offset that overlapping or interleaved dimensions reach."""
    offsets: npt.NDArray[Any] = np.zeros(1, dtype=np.int64)
    for size, stride in dims:
        offsets = np.unique(offsets[:, None] + np.arange(size) * stride)
    occupied = np.zeros(span, dtype=np.bool_)
    occupied[offsets] = True
    return occupied
