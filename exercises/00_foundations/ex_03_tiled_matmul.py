"""ex_03 Tiled matmul: where a GPU stops waiting for memory and starts to compute.

Task: write `matmul(a, b)` as a Triton kernel that computes one tile of the output a program. No torch.matmul, `@`,
einsum, addmm or bmm.

    out[m, n] = Σ_k a[m, k] · b[k, n]        products added up in float32

Signature
    a    [M, K]  float32, float16 or bfloat16, any strides (a transposed view, say), read only.
    b    [K, N]  same dtype, contiguous, read only. M, N and K are any sizes from 1 up.
    out  [M, N]  same dtype, newly allocated. float32 inputs are multiplied in full float32, not in TF32.

The bound: 2·M·N·K operations on (M·K + K·N + M·N)·itemsize bytes. For large matrices that is hundreds of operations a
byte, more than the card has per byte of its bandwidth: arithmetic decides, provided that a value, once loaded, is used
many times. A tile of BLOCK_M × BLOCK_N outputs uses each value of a BLOCK_N times and each value of b BLOCK_M times.

How it is graded: ragged M, N and K; non-contiguous a; loads of at most (⌈N/64⌉·M·K + ⌈M/64⌉·K·N)·itemsize bytes, and
every output stored once; on a GPU, the share of this card's torch.matmul rate in float16.

Read: Triton tutorial 03 (matrix multiplication); CUDA C++ Programming Guide, "Shared Memory".
"""

import torch
import triton
import triton.language as tl


@triton.jit
def _matmul_kernel(
    a_ptr, b_ptr, out_ptr, M, N, K,
    a_row_stride, a_col_stride, b_row_stride, out_row_stride,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    # TODO 1: find which tile of the output belongs to this program.
    # TODO 2: walk along K; at each step load a tile of a and a tile of b, and add their product to an accumulator.
    # TODO 3: none of the three sizes need be a multiple of its block.
    # TODO 4: store the tile, in the output's dtype.
    pass


def matmul(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return a @ b, [M, K] times [K, N]."""
    # TODO 5: allocate the output, choose tile sizes, launch a program for every tile.
    raise NotImplementedError("ex_03: write matmul()")
