"""What the runtime found wrong, put into words for the person who wrote the kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpuprep.counters.cuda_emulator import layout as shared
from gpuprep.counters.cuda_emulator.arena import Buffer
from gpuprep.counters.findings import (
    ASSERT,
    BAD_SYNC,
    CRASH,
    DEADLOCK,
    DIVISION_BY_ZERO,
    ENDLESS_LOOP,
    MISALIGNED,
    OUT_OF_BOUNDS,
    RACE,
    STACK_OVERFLOW,
    TRAP,
    UNINITIALISED,
    Finding,
)

if TYPE_CHECKING:
    from gpuprep.counters.cuda_emulator.launching import DeviceVariable

KINDS = (
    "none",
    OUT_OF_BOUNDS,
    RACE,
    MISALIGNED,
    BAD_SYNC,
    UNINITIALISED,
    ASSERT,
    DEADLOCK,
    STACK_OVERFLOW,
    DIVISION_BY_ZERO,
    ENDLESS_LOOP,
    TRAP,
    CRASH,
)
DETAILS = (
    *("none", "global", "shared", "static_index", "constant_store", "alignment", "barrier_sites"),
    *("barrier_left", "collective_self", "collective_left", "collective_other", "collective_never", "caller_says"),
    *("race_blocks", "race_warps", "race_lanes"),
)
_COLLECTIVES = ("__syncwarp", "a shuffle", "a vote", "a match", "a warp reduction", "a wmma call")
_NULL_BYTES = 1 << 16
"""Addresses below this are null pointers with an index."""


@dataclass(frozen=True)
class Context:
    """What a message needs besides the record: names and lines."""

    kernel: str
    path: str
    lines: Mapping[int, int]
    buffers: Sequence[Buffer]
    shared_arrays: Sequence[tuple[str, int, int]]
    """Name, offset and bytes; the last one is the dynamic memory, which has no name where the source declares none."""
    variables: Sequence[DeviceVariable]
    arrays: Mapping[int, Sequence[str]]
    """Line → the arrays of a fixed size that it indexes."""

    def line(self, site: int) -> int:
        """The learner's line of a site; 0 where unknown."""
        return self.lines.get(site, 0)

    def array_at(self, offset: int) -> tuple[str, int, int] | None:
        """The shared array that an offset lies in."""
        return next((array for array in self.shared_arrays if array[1] <= offset < array[1] + array[2]), None)

    def lacks_dynamic(self, offset: int) -> bool:
        """True where an offset lies in an `extern __shared__` array, and the launch gave it no memory."""
        name, start, n_bytes = self.shared_arrays[-1]
        return bool(name) and n_bytes == 0 and offset >= start

    def array_before(self, offset: int) -> tuple[str, int, int] | None:
        """The shared array that ends nearest before an offset."""
        before = [array for array in self.shared_arrays if array[1] <= offset and array[2]]
        return max(before, key=lambda array: array[1]) if before else None


def finding_of(record: Any, context: Context) -> Finding:
    """The finding that a record stands for."""
    kind, detail = KINDS[record.kind], DETAILS[record.detail]
    tensor, index = _target(record, context)
    return Finding(
        kind=kind,
        message=_message(kind, detail, record, context, tensor, index),
        path=context.path,
        line=context.line(record.here.site),
        kernel=context.kernel,
        program=tuple(record.here.block),
        tensor=tensor,
        index=index,
        is_store=bool(record.is_store),
        lanes=bin(record.lanes).count("1") if kind in (BAD_SYNC, DEADLOCK) else max(record.lanes, 1),
        thread=tuple(record.here.thread),
        other_line=context.line(record.other.site),
        severity=shared.SEVERITIES[record.severity],
    )


def _target(record: Any, context: Context) -> tuple[str, int]:
    """The name of what was accessed, and the index in it."""
    if record.buffer != shared.NONE:
        return context.buffers[record.buffer].name, record.index
    detail = DETAILS[record.detail]
    if detail == "static_index":
        names = context.arrays.get(context.line(record.here.site), ())
        return names[0] if len(names) == 1 else "", record.index
    if detail in ("barrier_sites", "barrier_left", "caller_says") or detail.startswith("collective"):
        return "", 0
    for variable in context.variables:
        if variable.address <= record.address < variable.address + variable.n_bytes:
            return variable.name, (record.address - variable.address) // max(record.n_bytes, 1)
    array = context.array_at(record.index)
    if array is None and detail == "shared" and not context.lacks_dynamic(record.index):
        array = context.array_before(record.index)
    if array is not None and KINDS[record.kind] in (RACE, UNINITIALISED, MISALIGNED, OUT_OF_BOUNDS):
        return array[0], (record.index - array[1]) // max(record.n_bytes, 1)
    return "", 0


def _where(place: Any) -> str:
    return f"thread {_index(place.thread)} of block {_index(place.block)}"


def _index(values: Any) -> str:
    return f"({values[0]},{values[1]},{values[2]})"


def _message(kind: str, detail: str, record: Any, context: Context, tensor: str, index: int) -> str:
    who = _where(record.here)
    if kind == OUT_OF_BOUNDS:
        return _out_of_bounds(detail, record, context, tensor, index)
    if kind == MISALIGNED:
        of = f" of {tensor}" if tensor else ""
        return (
            f"{who} {_verb(record)} {record.n_bytes} bytes{of} at an address that is no multiple of {record.n_bytes}: "
            f"{record.address % record.n_bytes} bytes off"
        )
    if kind == RACE:
        return _race(detail, record, context, tensor, index)
    if kind == UNINITIALISED:
        return f"{who} reads {tensor}[{index}] in shared memory, which no thread of the block has written"
    if kind in (BAD_SYNC, DEADLOCK):
        return _synchronisation(detail, record, context)
    text = record.text.decode("utf-8", "replace")
    return {
        ASSERT: f"{who} fails assert({text})",
        STACK_OVERFLOW: f"{who} overflows its stack: too deep a recursion, or too large a local array",
        DIVISION_BY_ZERO: f"{who} divides an integer by zero; a GPU would return a meaningless number",
        ENDLESS_LOOP: f"{who} was still in this loop after {record.index / 1e6:.1f} s: it may never end",
        TRAP: f"{who} calls __trap()",
    }.get(kind, f"{who} crashed (signal {record.index})")


def _verb(record: Any) -> str:
    return "writes" if record.is_store else "reads"


def _out_of_bounds(detail: str, record: Any, context: Context, tensor: str, index: int) -> str:
    who, verb = _where(record.here), _verb(record)
    if detail == "static_index":
        name = tensor or "an array"
        return f"{who} uses index {index} of {name}, which is declared as {record.text.decode().strip(chr(39))}"
    if detail == "constant_store":
        return f"{who} writes {tensor}, which is __constant__: kernels only read it"
    if detail == "shared":
        if tensor == "":
            return f"{who} {verb} shared memory, and the block has none: pass its size at the launch"
        array = context.array_before(record.index)
        size = array[2] if array else 0
        count = f"it has {size} bytes, and this is byte {record.index - (array[1] if array else 0)}"
        return f"{who} {verb} past the end of {tensor}: {count}"
    if record.buffer != shared.NONE:
        buffer = context.buffers[record.buffer]
        if buffer.extent is not None:
            offset = record.address - shared.slot_address(record.buffer)
            place = buffer.extent.locate(buffer.address + offset)
            if buffer.extent.index(buffer.address + offset) in range(buffer.extent.span):
                # The first byte is inside: the access is wider than what is left.
                wide = f"{record.n_bytes} bytes from index {index}"
                return (
                    f"{who} {verb} past the end of {tensor}: {wide}" if "outside" in place else f"{who} {verb} {place}"
                )
            return f"{who} {verb} {place}"
        side = "before the start" if index < 0 else "past the end"
        return f"{who} {verb} {side} of {tensor}: byte {index} of {buffer.n_bytes}"
    if record.address < _NULL_BYTES:
        return f"{who} {verb} through a null pointer (address {record.address:#x})"
    if tensor:
        return f"{who} {verb} past the end of {tensor}"
    return f"{who} {verb} address {record.address:#x}, which is in no buffer"


def _race(detail: str, record: Any, context: Context, tensor: str, index: int) -> str:
    here, other = context.line(record.here.site), context.line(record.other.site)
    place = f"{tensor}[{index}]" if tensor else "the same address"
    first = f"{_where(record.other)} {'writes' if record.other_is_store else 'reads'} {place} on line {other}"
    second = f"{_where(record.here)} {_verb(record)} it on line {here}"
    if detail == "race_blocks":
        lack = "blocks run in any order, and no __threadfence and atomic puts them in one"
    elif detail == "race_warps":
        lack = "with no __syncthreads between"
    else:
        lack = "in the same warp, with no __syncwarp between"
    if shared.SEVERITIES[record.severity] == "note":
        return f"{first}, {second}: both store the same value, so nothing is lost"
    return f"{first}, {second}: {lack}"


def _lanes(mask: int) -> str:
    """`lane 3`, or `lanes 0, 16-31`."""
    runs: list[list[int]] = []
    for lane in (lane for lane in range(32) if mask >> lane & 1):
        if runs and runs[-1][1] == lane - 1:
            runs[-1][1] = lane
        else:
            runs.append([lane, lane])
    ranges = ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in runs)
    return f"lane {ranges}" if mask & (mask - 1) == 0 else f"lanes {ranges}"


def _synchronisation(detail: str, record: Any, context: Context) -> str:
    who, other = _where(record.here), _where(record.other)
    other_line = context.line(record.other.site)
    call = _COLLECTIVES[record.index] if 0 <= record.index < len(_COLLECTIVES) else "a collective"
    lanes = _lanes(record.lanes)
    if detail == "barrier_sites":
        return f"{who} waits at this __syncthreads while {other} waits at the one on line {other_line}"
    if detail == "barrier_left":
        return f"{who} waits at __syncthreads, and {other} has returned without it: all threads must reach it"
    if detail == "collective_self":
        return f"{who} calls {call} with mask {record.lanes:#010x}, which doesn't name its own lane"
    if detail == "collective_left":
        return f"{who} calls {call} with a mask that names {lanes}, which returned before"
    if detail == "collective_other":
        return f"{who} calls {call} for {lanes} too, and {other} is at another call or mask, on line {other_line}"
    if detail == "collective_never":
        return (
            f"{who} waits in {call} for {lanes}, and {other} waits at the __syncthreads on line {other_line}: "
            "neither goes on"
        )
    return f"{who}: {record.text.decode('utf-8', 'replace')}"
