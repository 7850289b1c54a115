"""ex_17 SGEMM ladder: the same product four times, from a tenth of cuBLAS to most of it.

Task: write the kernel in the `.cu` beside this file and the launcher `matmul(a, b)` here. No torch.matmul, `@`, einsum,
addmm or bmm; no tensor cores, which would round float32 to TF32.

    out[m, n] = Σ_k a[m, k] · b[k, n]        in float32 throughout

Signature
    a    [M, K]  float32, contiguous, read only.
    b    [K, N]  float32, contiguous, read only. M, N and K are any sizes from 1 up.
    out  [M, N]  float32, contiguous, newly allocated.

The bound: 2·M·N·K operations on 4·(M·K + K·N + M·N) bytes, far more operations a byte than the card has per byte of its
bandwidth. But an operand is no further than a register only if something put it there. Each rung of the ladder brings
operands one step closer and uses them more often once they are there: from device memory to shared memory (a tile a
block), from shared memory to registers (a tile a thread), and four at a time instead of one.

How it is graded: sizes that no tile divides, and addresses that no float4 may be loaded from. At most
(⌈N/64⌉·M·K + ⌈M/64⌉·K·N)·4 bytes loaded, in full sectors: a 32×32 tile loads twice that, a 64×64 tile just that. No
bank conflicts, save two-way ones where a's tile is stored. On a GPU, the share of this card's torch.matmul rate in
float32: a register tile passes, vector loads reach gold.

Read: S. Boehm, "How to Optimize a CUDA Matmul Kernel for cuBLAS-like Performance"; CUDA C++ Programming Guide, "Shared
Memory".
"""

from pathlib import Path

import numpy as np
import torch

from gpuprep.cuda import RawModule

_module = RawModule(code=Path(__file__).with_suffix(".cu").read_text(encoding="utf-8"))


def matmul(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return a @ b, [M, K] times [K, N], in float32."""
    # TODO 5: allocate the output, choose a grid and a block, launch sgemm_kernel with its arguments.
    raise NotImplementedError("ex_17: write matmul()")
