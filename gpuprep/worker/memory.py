"""The counting worker's memory: numbered storages, and for each byte whose work it is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from gpuprep.channel import storage_id
from gpuprep.counters.recording import Recording
from gpuprep.worker.launching import ARITHMETIC, tensors_in
from gpuprep.worker.sandbox import UnfollowedError

_DTYPES = frozenset(
    "float64 float32 float16 bfloat16 float8_e4m3fn float8_e5m2 bool "
    "int64 int32 int16 int8 uint64 uint32 uint16 uint8".split()
)
MAX_BYTES = 2**40
"""Of one storage; no machine has as much."""
MAX_ELEMENTS = 2**32
"""Of one tensor; a stride of 0 makes a large one out of nothing."""


class Memory:
    """Numbered storages, and a mark for each of their bytes."""

    def __init__(self, args: Sequence[Any]) -> None:
        self._data: dict[int, torch.Tensor] = {}
        self._marks: dict[int, torch.Tensor] = {}
        known = set()
        for tensor in tensors_in(args):
            if storage_id(tensor) not in known:
                known.add(storage_id(tensor))
                data = torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage())
                self._add(len(self._data), data, is_marked=False)

    def tensor(self, place: Sequence[Any]) -> torch.Tensor:
        """The tensor that a recipe names by storage, dtype, shape, strides and offset."""
        return _view(self._data, place)

    def n_marked(self, place: Sequence[Any]) -> int:
        """How many elements of that tensor are of kernels' or constants' making."""
        if 0 in place[2]:
            return 0
        marks = _view(self._marks, place).contiguous().flatten().view(torch.uint8)
        return int(marks.view(-1, dtype_of(place[1]).itemsize).all(dim=1).sum())

    def put(self, number: int, contents: torch.Tensor) -> None:
        """A storage with contents that host code made."""
        if contents.dtype != torch.uint8 or contents.dim() != 1:
            raise TypeError("contents that aren't bytes")
        self._add(number, contents.contiguous(), is_marked=False)

    def make(self, number: int, n_bytes: int, dtype: str, fill: str | None) -> int:
        """A new storage; how many elements were filled."""
        element = dtype_of(dtype)
        if type(n_bytes) is not int or not 0 <= n_bytes < MAX_BYTES:
            raise ValueError(f"a storage of {n_bytes} bytes")
        n_elements = -(-n_bytes // element.itemsize)
        try:
            made = torch.empty(n_elements, dtype=element)
        except RuntimeError as error:
            raise UnfollowedError(f"no memory for {n_bytes} bytes") from error
        data = torch.empty(0, dtype=torch.uint8).set_(made.untyped_storage())
        self._add(number, data, is_marked=fill is not None)
        if fill is None or not n_elements:
            return 0
        pattern = bytes.fromhex(fill)
        if len(pattern) != element.itemsize:
            raise ValueError(f"a {dtype} of {len(pattern)} bytes")
        data.view(n_elements, -1).copy_(torch.frombuffer(bytearray(pattern), dtype=torch.uint8))
        return n_elements

    def copy(self, source: Any, into: Sequence[Any]) -> int:
        """Copies a tensor into another, or a number into a single element; how many elements moved."""
        if isinstance(source, int | float):
            self._set(into, source, is_marked=True)
        elif source[1] == into[1] and source[2] == into[2]:
            for storages in (self._data, self._marks):
                _view(storages, into).copy_(_view(storages, source))
        else:
            self._set(into, _single(self.tensor(source)), is_marked=self.n_marked(source) == 1)
        return self.tensor(into).numel()

    def compute(self, what: Sequence[Any], into: Sequence[Any]) -> None:
        """Arithmetic on single elements."""
        name, *operands = what
        if name not in ARITHMETIC:
            raise ValueError(f"no operation {name}")
        are_marked = all(isinstance(operand, int | float) or self.n_marked(operand) == 1 for operand in operands)
        values = [
            operand if isinstance(operand, int | float) else _single(self.tensor(operand)) for operand in operands
        ]
        try:
            result = getattr(torch, name)(*values)
        except RuntimeError as error:
            raise UnfollowedError(f"{name} on single elements: {error}") from error
        self._set(into, result, is_marked=are_marked)

    def mark(self, recording: Recording, values: Any) -> None:
        """What a launch has stored is the kernels' own from now on."""
        touched = {storage_id(tensor) for tensor in tensors_in(list(values))}
        for number, data in self._data.items():
            stored = recording.stored_bytes(data.untyped_storage()) if storage_id(data) in touched else None
            if stored is not None:
                self._marks[number] |= torch.from_numpy(stored[: data.numel()])

    def _set(self, into: Sequence[Any], value: Any, *, is_marked: bool) -> None:
        target = _single(self.tensor(into))
        if isinstance(value, torch.Tensor):
            # A single element may be a scalar or have axes.
            target.view(()).copy_(value.view(()))
        else:
            target.fill_(value)
        number, dtype, _, _, offset = into
        width = dtype_of(dtype).itemsize
        self._marks[number][offset * width : (offset + 1) * width] = int(is_marked)

    def _add(self, number: int, data: torch.Tensor, *, is_marked: bool) -> None:
        if type(number) is not int or number != len(self._data):
            raise ValueError(f"storage {number} after {len(self._data)} others")
        self._data[number] = data
        self._marks[number] = torch.full_like(data, int(is_marked))


def _view(storages: Mapping[int, torch.Tensor], place: Sequence[Any]) -> torch.Tensor:
    number, dtype, shape, strides, offset = place
    element, storage = dtype_of(dtype), storages[number].untyped_storage()
    if not all(type(size) is int and size >= 0 for size in (*shape, *strides, offset)):
        raise ValueError(f"no tensor: {place}")
    # Worked out here, in numbers that don't overflow, before torch sees them.
    extent = 0 if 0 in shape else 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if (offset + extent) * element.itemsize > storage.nbytes() or math.prod(shape) > MAX_ELEMENTS:
        raise ValueError(f"a tensor outside its storage: {place}")
    return torch.empty(0, dtype=element).set_(storage).as_strided(shape, strides, offset)


def dtype_of(name: str) -> torch.dtype:
    """The dtype that a recipe names.

    Raises:
        UnfollowedError: it is none that storages here have.
    """
    if name not in _DTYPES:
        raise UnfollowedError(f"a tensor of {name}")
    found: torch.dtype = getattr(torch, name)
    return found


def _single(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.numel() != 1:
        raise UnfollowedError(f"an operation of host code on {tensor.numel()} elements")
    return tensor
