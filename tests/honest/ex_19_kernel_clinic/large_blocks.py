# expect: PASSED
# Larger launches: 32 warps that share one copy of v, parts of columns that meet by atomics in device memory.

from pathlib import Path
from types import SimpleNamespace as SMLimits  # noqa: F401  the driver makes the limits with it

import numpy as np
import torch

from gpuprep.cuda import RawModule

ward = RawModule(code=Path(__file__).with_suffix(".cu").read_text(encoding="utf-8"))


def cdiv(n, size):
    return -(-n // size)


def occupancy(registers_per_thread, shared_bytes_per_block, threads_per_block, limits):
    warps = cdiv(threads_per_block, 32)
    fits = {"warps": limits.max_warps // warps if threads_per_block <= limits.max_threads_per_block else 0}
    registers = cdiv(registers_per_thread * 32, limits.register_unit) * limits.register_unit
    if registers:
        per_partition = limits.registers // limits.sub_partitions // registers
        fits["registers"] = per_partition * limits.sub_partitions // warps
    shared_bytes = shared_bytes_per_block + limits.reserved_shared_bytes
    shared_bytes = cdiv(shared_bytes, limits.shared_unit_bytes) * limits.shared_unit_bytes
    if shared_bytes:
        fits["shared memory"] = limits.shared_bytes // shared_bytes
    fits["blocks"] = limits.max_blocks
    blocks = min(fits.values())
    return blocks, tuple(name for name in fits if fits[name] == blocks), blocks * warps / limits.max_warps


def launch(name, grid, block, *args, shared_mem=0):
    ward.get_function(name)((grid,), block, args, shared_mem=shared_mem)


def blur(x):
    out, n = torch.empty_like(x), x.numel()
    launch("blur_kernel", cdiv(n, 256), (256,), x, out, np.int32(n))
    return out


def normalise(x):
    out = torch.empty_like(x)
    launch("normalise_kernel", x.shape[0], (256,), x, out, np.int32(x.shape[1]))
    return out


def prefix_sums(x):
    out, n = torch.empty_like(x), x.numel()
    launch("prefix_sums_kernel", cdiv(n, 256), (256,), x, out, np.int32(n))
    return out


def smooth(x, decay):
    out, n = torch.empty_like(x), len(x)
    launch("smooth_kernel", cdiv(n, 128), (128,), x, out, np.float32(decay), np.int32(n))
    return out


def column_sums(x):
    n_rows, n_cols = x.shape
    out = torch.zeros(n_cols, device=x.device)
    launch("column_sums_kernel", cdiv(n_cols, 32), (32, 8), x, out, np.int32(n_rows), np.int32(n_cols))
    return out


def matvec(a, v):
    n_rows, n_cols = a.shape
    out = torch.empty(n_rows, device=a.device)
    n_threads, shared_bytes = 1024, 12288 * 4
    grid = cdiv(n_rows, n_threads // 32)
    launch("matvec_kernel", grid, (n_threads,), a, v, out, np.int32(n_rows), np.int32(n_cols), shared_mem=shared_bytes)
    return out
