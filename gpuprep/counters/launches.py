"""One launch of a kernel: every access of its programs is checked, counted and remembered."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import torch

from gpuprep.counters.accesses import Access, tagged
from gpuprep.counters.extents import Addresses, Extent, Lanes
from gpuprep.counters.findings import MISALIGNED, OUT_OF_BOUNDS, RACE, UNSET_LANES, Finding, OutOfBoundsAccess
from gpuprep.counters.races import Conflict, Index, Shadow
from gpuprep.counters.recording import Recording, extent_of

Peek = Callable[[Addresses, np.dtype[Any]], npt.NDArray[Any]]
"""Reads memory: addresses and an element dtype to values."""


class _Argument:
    """A tensor of the launch, with what may narrow its extent and the shadow that it shares with its aliases."""

    def __init__(self, extent: Extent, limits: tuple[Extent, ...]) -> None:
        self.extent = extent
        self.limits = limits
        self.is_plain = extent.is_dense and not limits
        self.shadow: Shadow | None = None

    def contains(self, addresses: Addresses, width: int) -> Lanes:
        inside = self.extent.contains(addresses, width)
        if self.limits:
            inside &= np.logical_or.reduce([limit.contains(addresses, width) for limit in self.limits])
        return inside


class Launch:
    """Follows the programs of one launch.

    Args:
        recording: what is counted and found goes there.
        kernel: the kernel's name.
        path: the file whose lines findings name.
        peek: reads memory, to tell a store that changes something from one that doesn't.
    """

    def __init__(self, recording: Recording, kernel: str, path: str, peek: Peek) -> None:
        self.is_atomic_section = False
        """True while the interpreter carries out an atomic load or store as a plain one."""
        self._recording = recording
        self._kernel = kernel
        self._path = path
        self._peek = peek
        self._arguments: list[_Argument] = []
        self._tags: dict[int, int] = {}
        self._grid = (1, 1, 1)
        self._program = (0, 0, 0)
        self._number = 0
        self._is_synced = False
        self._tracks_races = False
        self.patched: frozenset[Any] = frozenset()
        """Modules of Triton's language in which functions are replaced by the interpreter's by now."""

    def bind(self, arguments: Mapping[str, Any]) -> None:
        """Takes the extents of every tensor among the arguments that the kernel really gets."""
        for name, value in arguments.items():
            for full_name, tensor in _tensors(name, value):
                extent = extent_of(full_name, tensor)
                self._arguments.append(_Argument(extent, self._recording.limits(extent)))
                self._tags[id(tensor)] = len(self._arguments)
                self._recording.keep(tensor)
        for storage in {argument.extent.storage for argument in self._arguments}:
            aliases = [argument for argument in self._arguments if argument.extent.storage == storage]
            shadow = Shadow(
                min(alias.extent.low for alias in aliases),
                max(alias.extent.high for alias in aliases),
                min(alias.extent.itemsize for alias in aliases),
            )
            for alias in aliases:
                alias.shadow = shadow

    def tag(self, pointers: Addresses, argument: Any) -> Addresses:
        """The pointers that stand for an argument in the kernel, marked as that argument's."""
        tensor = argument if isinstance(argument, torch.Tensor) else getattr(argument, "base", None)
        return tagged(pointers, self._tags.get(id(tensor), 0))

    def start(self, grid: tuple[int, int, int]) -> None:
        """The grid is known; its programs come next."""
        self._grid = grid
        n_programs = grid[0] * grid[1] * grid[2]
        self._recording.programs += n_programs
        self._tracks_races = n_programs > 1 and not self._recording.is_full_of_races

    def enter(self, program: tuple[int, int, int]) -> None:
        """The next program begins."""
        _, n_y, n_z = self._grid
        self._program = program
        self._number = (program[0] * n_y + program[1]) * n_z + program[2] + 1
        self._is_synced = False

    def load(self, pointers: Any, mask: Any, width: int) -> None:
        """A load of `width` bytes a lane is about to happen.

        Raises:
            OutOfBoundsAccess: a lane is outside every tensor of the launch.
        """
        access = Access.of(pointers, mask, width, "load")
        if not access.addresses.size:
            return
        parts = self._check(access)
        self._count_load(access, parts)
        if self.is_atomic_section:
            self._is_synced = True
            self._note_sharing()
            return
        for argument, part in parts:
            index = self._shadow_index(argument, part)
            if argument.shadow is None or index is None:
                self._note_sharing()
                continue
            conflict = argument.shadow.load(index, self._number, self._is_synced)
            self._note_race(part, argument.extent, conflict)

    def note_unset(self, mask: Any) -> int:
        """A load leaves lanes without a value: those where `mask` is False, and no `other` was given. Its line."""
        path, line = self._where()
        n_lanes = int(np.size(mask) - np.count_nonzero(mask))
        text = f"{n_lanes} masked lane{'' if n_lanes == 1 else 's'} of this load hold anything, for want of other="
        self._recording.note(
            Finding(UNSET_LANES, text, path, line, self._kernel, self._program, "", 0, False, n_lanes, severity="note")
        )
        return line

    def store(self, pointers: Any, values: Any, mask: Any) -> None:
        """A store is about to happen; see `load`."""
        values = np.asarray(values)
        access = Access.of(pointers, mask, values.dtype.itemsize, "store")
        if not access.addresses.size:
            return
        parts = self._check(access)
        self._count_store(access)
        for argument, part in parts:
            self._recording.mark_stored(argument.extent.storage, part)
            if self.is_atomic_section:
                self._track_atomic(argument, part)
            else:
                self._track_store(argument, part, values, np.shape(pointers))
        self._is_synced |= self.is_atomic_section

    def atomic(self, pointers: Any, mask: Any, width: int) -> None:
        """An atomic read-modify-write is about to happen: one load plus one store; see `load`."""
        access = Access.of(pointers, mask, width, "atomic")
        if not access.addresses.size:
            return
        parts = self._check(access)
        self._count_load(access, parts)
        self._count_store(access)
        for argument, part in parts:
            self._recording.mark_stored(argument.extent.storage, part)
            self._track_atomic(argument, part)
        self._is_synced = True

    def _count_load(self, access: Access, parts: list[tuple[_Argument, Access]]) -> None:
        self._recording.bytes_loaded += access.n_bytes
        self._recording.sectors_loaded += access.n_sectors()
        for argument, part in parts:
            self._recording.count_loaded(argument.extent.storage, part.n_bytes)

    def _count_store(self, access: Access) -> None:
        self._recording.bytes_stored += access.n_bytes
        self._recording.sectors_stored += access.n_sectors()

    def _check(self, access: Access) -> list[tuple[_Argument, Access]]:
        """The tensors that the lanes belong to, with those lanes."""
        parts: list[tuple[_Argument, Access]] = []
        for tag, part in access.by_tag():
            # Addresses made from integers may point into any tensor of the launch, but nowhere else.
            is_known = 0 < tag <= len(self._arguments)
            parts += self._owners(part, self._arguments[tag - 1 : tag] if is_known else self._arguments, is_known)
        for argument, part in parts:
            lanes = part.misaligned()
            if lanes is not None:
                name, width = argument.extent.name, access.width
                text = f"misaligned {access.verb}: {width} bytes at no multiple of {width} in {name}"
                self._recording.note(self._finding(MISALIGNED, text, argument.extent, part, lanes))
        return parts

    def _owners(self, access: Access, candidates: list[_Argument], is_known: bool) -> list[tuple[_Argument, Access]]:
        for argument in candidates:
            if argument.is_plain and argument.extent.spans(access.low, access.high):
                return [(argument, access)]
        parts: list[tuple[_Argument, Access]] = []
        lost = np.ones(access.addresses.shape, dtype=np.bool_)
        for argument in candidates:
            lanes = argument.contains(access.addresses, access.width) & lost
            if lanes.all():
                return [(argument, access)]
            if lanes.any():
                parts.append((argument, access.part(lanes)))
                lost &= ~lanes
        if lost.any():
            self._stop(access, lost, candidates[0].extent if is_known else None)
        return parts

    def _stop(self, access: Access, lost: Lanes, extent: Extent | None) -> NoReturn:
        place = extent.locate(int(access.addresses[lost.argmax()])) if extent else "at an address in no tensor"
        finding = self._finding(OUT_OF_BOUNDS, f"{access.verb} {place}", extent, access, lost)
        self._recording.note(finding)
        self._recording.stopped_by = finding
        raise OutOfBoundsAccess(finding)

    def _shadow_index(self, argument: _Argument, access: Access) -> Index | None:
        return argument.shadow.index(access) if argument.shadow and self._tracks_races else None

    def _track_store(self, argument: _Argument, access: Access, values: Any, shape: tuple[int, ...]) -> None:
        index = self._shadow_index(argument, access)
        if argument.shadow is None or index is None:
            self._note_sharing()
            return
        for conflict in argument.shadow.store(index, self._number, self._is_synced):
            self._note_sharing()
            stored = access.values(values, shape)
            changed = conflict.lanes.copy()
            changed[changed] = _bits(self._peek(access.addresses[changed], stored.dtype)) != _bits(stored[changed])
            if changed.any():
                self._note_race(access, argument.extent, Conflict(changed, conflict.other, conflict.did))
                return

    def _track_atomic(self, argument: _Argument, access: Access) -> None:
        self._note_sharing()
        index = self._shadow_index(argument, access)
        if argument.shadow and index is not None:
            conflict = argument.shadow.atomic(index, self._number, self._is_synced)
            self._note_race(access, argument.extent, conflict)

    def _note_sharing(self) -> None:
        """What was just touched may be another program's, or nobody keeps account of it."""
        if self._recording.is_order_free and math.prod(self._grid) > 1:
            self._recording.is_order_free = False

    def _note_race(self, access: Access, extent: Extent, conflict: Conflict | None) -> None:
        if conflict is None:
            return
        self._note_sharing()
        index = extent.index(int(access.addresses[conflict.lanes.argmax()]))
        other = "several programs" if conflict.other < 0 else self._program_text(self._unravel(conflict.other))
        verb = "updates atomically" if access.verb == "atomic" else f"{access.verb}s"
        text = (
            f"race on {extent.name}: {self._program_text(self._program)} {verb} element {index}, "
            f"which {other} {conflict.did} in the same launch"
        )
        self._recording.note(self._finding(RACE, text, extent, access, conflict.lanes))
        self._tracks_races = not self._recording.is_full_of_races

    def _finding(self, kind: str, text: str, extent: Extent | None, access: Access, lanes: Lanes) -> Finding:
        path, line = self._where()
        n_lanes = int(np.count_nonzero(lanes))
        count = f"{n_lanes} lane{'' if n_lanes == 1 else 's'}"
        return Finding(
            kind=kind,
            message=f"{text} ({count if kind == RACE else f'{self._program_text(self._program)}, {count}'})",
            path=path,
            line=line,
            kernel=self._kernel,
            program=self._program,
            tensor=extent.name if extent else "",
            index=extent.index(int(access.addresses[lanes.argmax()])) if extent else 0,
            is_store=access.verb != "load",
            lanes=n_lanes,
        )

    def _where(self) -> tuple[str, int]:
        """The innermost line of the kernel's own file: the interpreter keeps names and line numbers."""
        frame = sys._getframe()  # noqa: SLF001 - inspect.stack() reads source files, which costs milliseconds
        while frame.f_code.co_filename != self._path:
            if frame.f_back is None:
                return "", 0
            frame = frame.f_back
        return self._path, frame.f_lineno

    def _unravel(self, number: int) -> tuple[int, int, int]:
        _, n_y, n_z = self._grid
        rest, z = divmod(number - 1, n_z)
        return (*divmod(rest, n_y), z)

    def _program_text(self, program: tuple[int, int, int]) -> str:
        if self._grid[1:] == (1, 1):
            return f"program {program[0]}"
        shown = program if self._grid[2] > 1 else program[:2]
        return f"program ({', '.join(map(str, shown))})"


def _tensors(name: str, value: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor in an argument: itself, in a tuple, under a descriptor or a reinterpreted one."""
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, tuple | list):
        for place, item in enumerate(value):
            yield from _tensors(f"{name}[{place}]", item)
    elif isinstance(base := getattr(value, "base", None), torch.Tensor):
        yield name, base


def _bits(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The values as unsigned integers, so that equal means the same bytes (NaN included)."""
    return np.ascontiguousarray(values).view(f"u{values.dtype.itemsize}")
