"""The shared file of a launch, as runtime/layout.h lays it out: a field changed there is changed here."""

from __future__ import annotations

import ctypes

MAGIC = 0x67707031
MAX_BUFFERS = 128
NONE = 0xFFFFFFFF

ARENA_BASE = 1 << 44
SLOT_SHIFT = 36
SLOT_MIDDLE = 1 << (SLOT_SHIFT - 1)

MAX_FINDINGS = 64
MAX_SITES = 2048
OUTPUT_BYTES = 64 * 1024

STATES = ("never_ran", "done", "stopped", "out_of_memory", "bad_request")
SEVERITIES = ("error", "warning", "note")
ROW_KINDS = ("load", "store", "shared_load", "shared_store", "atomic", "shared_atomic")

u32, u64, i64 = ctypes.c_uint32, ctypes.c_uint64, ctypes.c_int64


def slot_address(slot: int) -> int:
    """Where a kernel finds the start of a buffer's storage."""
    return ARENA_BASE + (slot << SLOT_SHIFT) + SLOT_MIDDLE


class BufferSpec(ctypes.Structure):
    """One buffer of a launch."""

    _fields_ = (
        ("file_offset", u64),
        ("n_bytes", u64),
        ("low", u64),
        ("high", u64),
        ("valid_offset", u64),
        ("written_offset", u64),
        ("element_bytes", u32),
        ("storage", u32),
    )


class ObjectSpec(ctypes.Structure):
    """One `__device__` or `__constant__` variable."""

    _fields_ = (("address", u64), ("n_bytes", u64), ("is_constant", u32), ("reserved", u32))


class LaunchSpec(ctypes.Structure):
    """What the program is asked to do."""

    _fields_ = (
        ("magic", u32),
        ("kernel", u32),
        ("grid", u32 * 3),
        ("block", u32 * 3),
        ("n_threads", u32),
        ("is_reversed", u32),
        ("dynamic_shared_bytes", u32),
        ("static_shared_bytes", u32),
        ("n_buffers", u32),
        ("n_objects", u32),
        ("n_loops", u32),
        ("n_functions", u32),
        ("has_globals", u32),
        ("reserved", u32),
        ("time_limit_us", u64),
        ("arguments_offset", u64),
        ("buffers_offset", u64),
        ("objects_offset", u64),
        ("loops_offset", u64),
        ("functions_offset", u64),
        ("globals_offset", u64),
        ("file_bytes", u64),
        ("result_offset", u64),
    )


class Place(ctypes.Structure):
    """A line, as its site, and a thread."""

    _fields_ = (("site", u64), ("block", u32 * 3), ("thread", u32 * 3))


class FindingRecord(ctypes.Structure):
    """A fault, in numbers."""

    _fields_ = (
        ("kind", u32),
        ("severity", u32),
        ("detail", u32),
        ("n_bytes", u32),
        ("here", Place),
        ("other", Place),
        ("address", u64),
        ("index", i64),
        ("buffer", u32),
        ("is_store", u32),
        ("other_is_store", u32),
        ("lanes", u32),
        ("text", ctypes.c_char * 192),
    )


class SiteRecord(ctypes.Structure):
    """What the accesses of one site came to."""

    _fields_ = (
        ("site", u32),
        ("kind", u32),
        ("requests", u64),
        ("lanes", u64),
        ("bytes", u64),
        ("sectors", u64),
        ("wavefronts", u64),
        ("least_wavefronts", u64),
    )


TOTALS = (
    *("bytes_loaded", "bytes_stored", "sectors_loaded", "sectors_stored", "load_requests", "store_requests"),
    *("shared_requests", "shared_wavefronts", "bank_conflicts", "atomics", "barriers", "mma", "mma_flops"),
    *("blocks", "threads"),
)


class Totals(ctypes.Structure):
    """The counts of the launch."""

    _fields_ = tuple((name, u64) for name in TOTALS)


class LaunchResult(ctypes.Structure):
    """What the program answers."""

    _fields_ = (
        ("state", u32),
        ("n_findings", u32),
        ("n_sites", u32),
        ("n_output", u32),
        ("output_is_cut", u32),
        ("stop_signal", u32),
        ("nanoseconds", u64),
        ("totals", Totals),
        ("findings", FindingRecord * MAX_FINDINGS),
        ("sites", SiteRecord * MAX_SITES),
        ("output", ctypes.c_char * OUTPUT_BYTES),
    )
