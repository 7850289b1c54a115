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
    # BEGIN SOLUTION
    GROUP_M: tl.constexpr, IS_ALIGNED: tl.constexpr,
    # END SOLUTION
):  # fmt: skip
    # BEGIN PROMPT
    # # TODO 1: find which tile of the output belongs to this program.
    # # TODO 2: walk along K; at each step load a tile of a and a tile of b, and add their product to an accumulator.
    # # TODO 3: none of the three sizes need be a multiple of its block.
    # # TODO 4: store the tile, in the output's dtype.
    # pass
    # END PROMPT
    # BEGIN SOLUTION
    # Which tile? Programs start roughly in the order of their ids, so those that run at the same time have ids close
    # together. Row by row, they would need all of b between them and only a strip of a. In groups of GROUP_M tile rows,
    # walked column by column, they cover a compact block of the output, and what one of them loads is still in the L2
    # cache when its neighbours ask for it.
    program_id = tl.program_id(axis=0)
    n_tile_rows = tl.cdiv(M, BLOCK_M)
    n_tile_cols = tl.cdiv(N, BLOCK_N)
    programs_per_group = GROUP_M * n_tile_cols
    first_tile_row = program_id // programs_per_group * GROUP_M
    # The last group may have fewer rows.
    group_rows = min(n_tile_rows - first_tile_row, GROUP_M)
    tile_row = first_tile_row + program_id % programs_per_group % group_rows
    tile_col = program_id % programs_per_group // group_rows

    # int64 where a row number meets a stride: a matrix of 2³¹ elements fits the card, but not an int32 offset.
    rows = (tile_row * BLOCK_M + tl.arange(0, BLOCK_M)).to(tl.int64)
    cols = tile_col * BLOCK_N + tl.arange(0, BLOCK_N)
    ks = tl.arange(0, BLOCK_K)
    # A column of row addresses plus a row of column addresses: [BLOCK_M, 1] + [1, BLOCK_K] → [BLOCK_M, BLOCK_K].
    a_ptrs = a_ptr + rows[:, None] * a_row_stride + ks[None, :] * a_col_stride
    b_ptrs = b_ptr + ks[:, None] * b_row_stride + cols[None, :]

    # The accumulator stays in registers from the first step to the last; nothing of it goes through memory.
    accumulator = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for k_start in range(0, K, BLOCK_K):
        if IS_ALIGNED:
            # A constexpr decides this at compile time: aligned shapes get a loop without a single comparison.
            a = tl.load(a_ptrs)
            b = tl.load(b_ptrs)
        else:
            # A masked lane in K must bring zero, since it is added to every output of its row. One in M or N only
            # adds to outputs that are never stored, but its address must not be touched either.
            has_k = ks < K - k_start
            a = tl.load(a_ptrs, mask=(rows[:, None] < M) & has_k[None, :], other=0.0)
            b = tl.load(b_ptrs, mask=has_k[:, None] & (cols[None, :] < N), other=0.0)
        # Tensor cores multiply float16 exactly and add in float32. For float32 the default would be TF32, which keeps
        # 10 bits of mantissa; "ieee" keeps all of them (and means nothing for 16-bit inputs).
        accumulator = tl.dot(a, b, accumulator, input_precision="ieee")
        a_ptrs += BLOCK_K * a_col_stride
        b_ptrs += BLOCK_K * b_row_stride

    out_ptrs = out_ptr + rows[:, None] * out_row_stride + cols[None, :]
    # tl.store rounds to out's dtype: once, at the very end.
    tl.store(out_ptrs, accumulator, mask=(rows[:, None] < M) & (cols[None, :] < N))
    # END SOLUTION


# BEGIN SOLUTION
def _config(block_m: int, block_n: int, num_warps: int, num_stages: int) -> triton.Config:
    tiles = {"BLOCK_M": block_m, "BLOCK_N": block_n, "BLOCK_K": 64}
    return triton.Config(tiles, num_warps=num_warps, num_stages=num_stages)


# A 128×256 tile does 2·128·256 operations for every 128 + 256 values loaded, and its float32 accumulator takes half the
# registers of a multiprocessor: the largest tile that leaves room for the rest. Four stages mean that the loads of the
# next three steps are under way in shared memory while the tensor cores work on this one. That is 192 KiB of it, which
# not every card has: the autotuner tries these on yours once, and drops what doesn't fit.
_tuned_matmul_kernel = triton.autotune(
    configs=[_config(128, 256, 8, 4), _config(128, 256, 8, 3), _config(128, 128, 4, 3), _config(64, 128, 4, 2)],
    key=["M", "N", "K"],
)(_matmul_kernel)


def _n_tiles(M: int, N: int, tiles: dict[str, int]) -> int:
    return triton.cdiv(M, tiles["BLOCK_M"]) * triton.cdiv(N, tiles["BLOCK_N"])


# END SOLUTION
def matmul(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return a @ b, [M, K] times [K, N]."""
    # BEGIN PROMPT
    # # TODO 5: allocate the output, choose tile sizes, launch a program for every tile.
    # raise NotImplementedError("ex_03: write matmul()")
    # END PROMPT
    # BEGIN SOLUTION
    (M, K), N = a.shape, b.shape[1]
    out = torch.empty((M, N), dtype=a.dtype, device=a.device)
    args = (a, b, out, M, N, K, a.stride(0), a.stride(1), b.stride(0), out.stride(0))
    is_large = a.element_size() == 2 and min(M, N) >= 2048
    if is_large and M % 128 == 0 and N % 256 == 0 and K % 64 == 0:
        # Every candidate divides these sizes, so the loop needs no masks.
        _tuned_matmul_kernel[lambda meta: (_n_tiles(M, N, meta),)](*args, GROUP_M=8, IS_ALIGNED=True)
        return out
    # Small outputs need small tiles, or most multiprocessors stay idle; float32 takes twice the shared memory.
    block_m, block_n, block_k = (128, 128, 32) if is_large else (64, 64, 32)
    tiles = {"BLOCK_M": block_m, "BLOCK_N": block_n, "BLOCK_K": block_k}
    is_aligned = M % block_m == 0 and N % block_n == 0 and K % block_k == 0
    _matmul_kernel[(_n_tiles(M, N, tiles),)](*args, **tiles, GROUP_M=8, IS_ALIGNED=is_aligned, num_stages=3)
    return out
    # END SOLUTION
