"""How many blocks of a kernel an SM holds at a time, and what keeps it from being more.

Source: CUDA C++ Programming Guide, "Compute Capabilities"; `cuda_occupancy.h` of the CUDA toolkit, which a test holds
this against by way of ex_19's golden table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

WARP = 32
_KIB = 1024
LIMITERS = ("warps", "registers", "shared memory", "blocks")


@dataclass(frozen=True)
class SMLimits:
    """What one multiprocessor (SM) shares out among the blocks that are active on it."""

    max_warps: int
    max_blocks: int
    shared_bytes: int
    shared_unit_bytes: int = 128
    """A block's shared memory, the driver's part included, is rounded up to a multiple of this."""
    reserved_shared_bytes: int = _KIB
    """The driver's own part of every block."""
    max_threads_per_block: int = 1024
    registers: int = 64 * _KIB
    register_unit: int = 256
    """A warp's registers are rounded up to a multiple of this."""
    sub_partitions: int = 4
    """Of equal size; a warp lives in one of them."""


LIMITS: Mapping[str, SMLimits] = {
    "7.0": SMLimits(64, 32, 96 * _KIB, 256, 0),
    "7.5": SMLimits(32, 16, 64 * _KIB, 256, 0),
    "8.0": SMLimits(64, 32, 164 * _KIB),
    "8.6": SMLimits(48, 16, 100 * _KIB),
    "8.9": SMLimits(48, 24, 100 * _KIB),
    "9.0": SMLimits(64, 32, 228 * _KIB),
    "10.0": SMLimits(64, 32, 228 * _KIB),
    "12.0": SMLimits(48, 24, 100 * _KIB),
}
"""By compute capability."""

CARDS: Mapping[str, str] = {
    "7.0": "V100",
    "7.5": "T4",
    "8.0": "A100",
    "8.6": "A10, RTX 3090",
    "8.9": "L4, L40S, RTX 4090",
    "9.0": "H100, H200",
    "10.0": "B200",
    "12.0": "RTX 5090",
}
"""By compute capability: cards that people know."""


@dataclass(frozen=True)
class Occupancy:
    """How full a kernel's blocks keep an SM."""

    active_blocks: int
    """0 where not even one fits."""
    limited_by: tuple[str, ...]
    """Those of LIMITERS that allow no more blocks than these."""
    share: float
    """Active warps ÷ the most that the SM can hold."""


def warps_of(n_threads: int) -> int:
    """Warps that a block of so many threads takes: one that is begun is taken."""
    return -(-n_threads // WARP)


def occupancy(registers_per_thread: int, shared_bytes: int, n_threads: int, limits: SMLimits) -> Occupancy:
    """How many such blocks are active on an SM: the fewest that any one resource allows.

    Args:
        registers_per_thread: as the compiler says.
        shared_bytes: of a block, static and dynamic.
        n_threads: of a block; at least 1.
        limits: of the SM.
    """
    warps = warps_of(n_threads)
    fits = {
        "blocks": limits.max_blocks,
        "warps": limits.max_warps // warps if n_threads <= limits.max_threads_per_block else 0,
    }
    if registers_per_thread:
        # What is left over in one sub-partition is of no use to a warp that lives in another.
        registers_per_warp = _round_up(registers_per_thread * WARP, limits.register_unit)
        per_partition = limits.registers // limits.sub_partitions // registers_per_warp
        fits["registers"] = per_partition * limits.sub_partitions // warps
    if taken := _round_up(shared_bytes + limits.reserved_shared_bytes, limits.shared_unit_bytes):
        fits["shared memory"] = limits.shared_bytes // taken
    active = min(fits.values())
    return Occupancy(
        active, tuple(name for name in LIMITERS if fits.get(name) == active), active * warps / limits.max_warps
    )


def _round_up(amount: int, unit: int) -> int:
    return -(-amount // unit) * unit
