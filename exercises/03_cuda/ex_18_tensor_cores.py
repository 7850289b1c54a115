"""ex_18 Tensor cores: a warp multiplies 16×16 matrices in one instruction; the rest is keeping up with it.

Task: write the kernel in the `.cu` beside this file with `nvcuda::wmma`, and the launcher `matmul(a, b)` here. No
torch.matmul, `@`, einsum, addmm or bmm.

    out[m, n] = Σ_k a[m, k] · b[k, n]        products added up in float32, rounded to float16 once

Signature
    a    [M, K]  float16, contiguous, read only.
    b    [K, N]  float16, contiguous, read only. M, N and K are any sizes from 1 up.
    out  [M, N]  float16, contiguous, newly allocated.

The bound: 2·M·N·K operations on 2·(M·K + K·N + M·N) bytes. Tensor cores do them some 15 times as fast as the float32
units of ex_17, and what feeds them is not 15 times as wide: with fragments straight from device memory they are idle
for more than nine tenths of the time. So tiles of what is needed next travel to shared memory while the present ones
are multiplied, and a warp uses each fragment for several products.

How it is graded: sizes that no tile divides, sums that float16 can't hold on the way. ⌈M/16⌉·⌈N/16⌉·⌈K/16⌉
multiply-accumulates of 16×16×16, a warp each; at most (⌈N/64⌉·M·K + ⌈M/64⌉·K·N)·2 bytes loaded, in full sectors; every
output stored once. On a GPU, the share of this card's torch.matmul rate in float16; one that passes beats what
torch.matmul does in float32. Inline PTX runs on a GPU only, so the reference does without.

Read: CUDA C++ Programming Guide, "Warp Matrix Functions" and "Asynchronous Data Copies"; A. Kerr et al., "CUTLASS: Fast
Linear Algebra in CUDA C++".
"""

from pathlib import Path

import numpy as np
import torch

from gpuprep.cuda import RawModule

_module = RawModule(code=Path(__file__).with_suffix(".cu").read_text(encoding="utf-8"))


def matmul(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return a @ b, [M, K] times [K, N], in float16."""
    # TODO 6: allocate the output, choose a grid and a block, launch hgemm_kernel with its arguments.
    raise NotImplementedError("ex_18: write matmul()")
