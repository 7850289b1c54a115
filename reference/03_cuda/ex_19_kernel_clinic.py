"""ex_19 Kernel clinic: six sick kernels, and a calculator that says how many of a kernel's blocks fit an SM.

Task: cure the six kernels in the `.cu` beside this file, and write `occupancy()` below. Each kernel has a chart: what
it computes, and what is wrong with it. The launchers below work as they are; bed 6 is cured here as much as there.

    active blocks = the fewest that any one resource allows      occupancy = active warps / all that an SM can hold

Cured means: right at every size, no finding, no library call, one launch, and
    bed 1  blur          no access out of bounds
    bed 2  normalise     no divergent barrier
    bed 3  prefix_sums   no race
    bed 4  smooth        no bank conflicts, and global memory as healthy as before: all of each sector is used
    bed 5  column_sums   all of each sector is used, each element loaded once, at most 8 stores or atomics a column
    bed 6  matvec        at most 96 bytes of shared memory a thread: then a block of any size keeps at least half of the
                         warps of an SM of compute capability 9.0 active. v still has up to 12288 elements.

How it is graded: all six beds and the calculator make a pass. A case begins with the name of its bed, and a check
shows the worst first: bed 1, bed 2, bed 3, the calculator, then the other three. The calculator gets a launch a case,
and eight SMs at once, in the order of LIMITS: output 0 is the active blocks, output 1 a flag for each of LIMITERS,
output 2 the occupancy.

Read: CUDA C++ Programming Guide, "Compute Capabilities" and "Multiprocessor Level"; Nsight Compute, "Occupancy
Calculator"; `cuda_occupancy.h` in the CUDA toolkit, if you want to see the rules as NVIDIA wrote them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from gpuprep.cuda import RawModule

WARP = 32
KIB = 1024
LIMITERS = ("warps", "registers", "shared memory", "blocks")


@dataclass(frozen=True)
class SMLimits:
    """What one multiprocessor (SM) has to share out among the blocks that are active on it."""

    max_warps: int
    max_blocks: int
    shared_bytes: int
    shared_unit_bytes: int
    """A block's shared memory is rounded up to a multiple of this, what the driver reserves included."""
    reserved_shared_bytes: int
    """The driver's own share of every block."""
    max_threads_per_block: int = 1024
    registers: int = 64 * KIB
    register_unit: int = 256
    """A warp's registers (32 times what one thread needs) are rounded up to a multiple of this."""
    sub_partitions: int = 4
    """An SM is built of this many equal parts. A warp lives in one of them, with all of its registers."""


LIMITS = {
    "7.0": SMLimits(64, 32, 96 * KIB, 256, 0),
    "7.5": SMLimits(32, 16, 64 * KIB, 256, 0),
    "8.0": SMLimits(64, 32, 164 * KIB, 128, 1 * KIB),
    "8.6": SMLimits(48, 16, 100 * KIB, 128, 1 * KIB),
    "8.9": SMLimits(48, 24, 100 * KIB, 128, 1 * KIB),
    "9.0": SMLimits(64, 32, 228 * KIB, 128, 1 * KIB),
    "10.0": SMLimits(64, 32, 228 * KIB, 128, 1 * KIB),
    "12.0": SMLimits(48, 24, 100 * KIB, 128, 1 * KIB),
}
"""By compute capability: V100 7.0, T4 7.5, A100 8.0, RTX 3090 8.6, RTX 4090 8.9, H200 9.0, B200 10.0, RTX 5090 12.0."""


class Occupancy(NamedTuple):
    """How many blocks of a kernel are active on an SM at the same time, and what keeps it from being more."""

    active_blocks: int
    """0 where not even one block fits."""
    limited_by: tuple[str, ...]
    """Every one of LIMITERS that allows no more blocks than these, in that order."""
    occupancy: float
    """Active warps, as a share of the most that the SM can hold."""


def occupancy(
    registers_per_thread: int, shared_bytes_per_block: int, threads_per_block: int, limits: SMLimits
) -> Occupancy:
    """Return how many blocks of this shape an SM with these limits holds at a time.

    `shared_bytes_per_block` is what the kernel asks for, static and dynamic. Three of the four resources are handed out
    in units: a started unit is gone. A block that isn't a whole number of warps takes the warp that it has begun.
    """
    # BEGIN PROMPT
    # # TODO: how many blocks does each of LIMITERS allow? What if a block has more threads than a block may have? What
    # # if a kernel needs nothing of a resource? Then the fewest of the four.
    # return Occupancy(0, LIMITERS, 0.0)
    # END PROMPT
    # BEGIN SOLUTION
    # The hardware knows warps, not threads: 33 threads are two warps, with the registers of both.
    warps = -(-threads_per_block // WARP)
    fits = {"blocks": limits.max_blocks}
    fits["warps"] = limits.max_warps // warps if threads_per_block <= limits.max_threads_per_block else 0
    # Registers are handed out a warp at a time, and by sub-partition: what is left over in one is of no use to a warp
    # that lives in another. So count the warps that fit a sub-partition, then the blocks that so many warps make.
    registers_per_warp = _round_up(registers_per_thread * WARP, limits.register_unit)
    if registers_per_warp:
        warps_per_partition = limits.registers // limits.sub_partitions // registers_per_warp
        fits["registers"] = warps_per_partition * limits.sub_partitions // warps
    # The driver's share comes before the rounding. What one block may ask for at most is an SM's shared memory less
    # that share, so a block that asks for too much comes out as 0 by itself.
    shared_bytes = _round_up(shared_bytes_per_block + limits.reserved_shared_bytes, limits.shared_unit_bytes)
    if shared_bytes:
        fits["shared memory"] = limits.shared_bytes // shared_bytes
    active_blocks = min(fits.values())
    # Several may be the tightest at once, and then it helps to relieve all of them or none.
    limited_by = tuple(name for name in LIMITERS if fits.get(name) == active_blocks)
    return Occupancy(active_blocks, limited_by, active_blocks * warps / limits.max_warps)
    # END SOLUTION


# BEGIN SOLUTION
def _round_up(amount: int, unit: int) -> int:
    return -(-amount // unit) * unit


# END SOLUTION
# The ward's launchers. CUDA's `int` has 32 bits and Python's has none, so what goes to a kernel says its width.
_ward = RawModule(code=Path(__file__).with_suffix(".cu").read_text(encoding="utf-8"))


def blur(x: torch.Tensor) -> torch.Tensor:
    """Bed 1: the mean of each element of x [n] and its two neighbours."""
    out = torch.empty_like(x)
    n = x.numel()
    _ward.get_function("blur_kernel")((_cdiv(n, 256),), (256,), (x, out, np.int32(n)))
    return out


def normalise(x: torch.Tensor) -> torch.Tensor:
    """Bed 2: each row of x [M, N] divided by the sum of its magnitudes."""
    out = torch.empty_like(x)
    n_rows, n_cols = x.shape
    _ward.get_function("normalise_kernel")((n_rows,), (256,), (x, out, np.int32(n_cols)))
    return out


def prefix_sums(x: torch.Tensor) -> torch.Tensor:
    """Bed 3: running sums of x [n], which start anew every 256 elements."""
    out = torch.empty_like(x)
    n = x.numel()
    _ward.get_function("prefix_sums_kernel")((_cdiv(n, 256),), (256,), (x, out, np.int32(n)))
    return out


def smooth(x: torch.Tensor, decay: float) -> torch.Tensor:
    """Bed 4: the exponential moving average of each of the M series in x [M, 32]."""
    out = torch.empty_like(x)
    n_series = len(x)
    _ward.get_function("smooth_kernel")(
        (_cdiv(n_series, 128),), (128,), (x, out, np.float32(decay), np.int32(n_series))
    )
    return out


def column_sums(x: torch.Tensor) -> torch.Tensor:
    """Bed 5: the sum of each column of x [M, N]."""
    n_rows, n_cols = x.shape
    out = torch.empty(n_cols, dtype=x.dtype, device=x.device)
    _ward.get_function("column_sums_kernel")(
        (_cdiv(n_cols, 32),), (32, 8), (x, out, np.int32(n_rows), np.int32(n_cols))
    )
    return out


def matvec(a: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Bed 6: the product of a [M, N] and v [N], N at most 12288."""
    n_rows, n_cols = a.shape
    out = torch.empty(n_rows, dtype=a.dtype, device=a.device)
    # BEGIN PROMPT
    # # Two rows a block, and room for the longest v that the task promises.
    # n_threads, shared_bytes = 64, 12288 * 4
    # END PROMPT
    # BEGIN SOLUTION
    # Nothing is shared, so any size from 64 threads on fills an SM. occupancy(32, 49152, 64, LIMITS["9.0"]) of the sick
    # launch is 0.125, and 1.0 of this one.
    n_threads, shared_bytes = 256, 0
    # END SOLUTION
    _ward.get_function("matvec_kernel")(
        (_cdiv(n_rows, n_threads // WARP),),
        (n_threads,),
        (a, v, out, np.int32(n_rows), np.int32(n_cols)),
        shared_mem=shared_bytes,
    )
    return out


def _cdiv(n: int, size: int) -> int:
    return -(-n // size)
