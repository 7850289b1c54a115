# expect: PASSED
# A calculator that divides nothing: it moves blocks in, one after the other, until the next one finds no room.

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
    registers = cdiv(registers_per_thread * 32, limits.register_unit) * limits.register_unit
    shared = cdiv(shared_bytes_per_block + limits.reserved_shared_bytes, limits.shared_unit_bytes)
    is_small = threads_per_block <= limits.max_threads_per_block
    parts = [limits.registers // limits.sub_partitions] * limits.sub_partitions
    n_blocks = 0
    while True:
        for _ in range(warps):
            parts[parts.index(max(parts))] -= registers
        n_next = n_blocks + 1
        lacking = {
            "warps": not is_small or n_next * warps > limits.max_warps,
            "registers": min(parts) < 0,
            "shared memory": n_next * shared * limits.shared_unit_bytes > limits.shared_bytes,
            "blocks": n_next > limits.max_blocks,
        }
        if any(lacking.values()):
            names = tuple(name for name, is_lacking in lacking.items() if is_lacking)
            return n_blocks, names, n_blocks * warps / limits.max_warps
        n_blocks = n_next


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
    out = torch.empty(n_cols, device=x.device)
    launch("column_sums_kernel", cdiv(n_cols, 32), (32, 8), x, out, np.int32(n_rows), np.int32(n_cols))
    return out


def matvec(a, v):
    n_rows, n_cols = a.shape
    out = torch.empty(n_rows, device=a.device)
    n_threads, shared_bytes = 256, 0
    grid = cdiv(n_rows, n_threads // 32)
    launch("matvec_kernel", grid, (n_threads,), a, v, out, np.int32(n_rows), np.int32(n_cols), shared_mem=shared_bytes)
    return out
