# expect: PROVISIONAL
# expect-gpu: PASSED|TOO_SLOW
# Tiles, warps and stages are left to the autotuner; a strided a is made contiguous first, which host code may do.

import torch
import triton
import triton.language as tl


def _config(block_m, block_n, block_k, warps, stages):
    tiles = {"BLOCK_M": block_m, "BLOCK_N": block_n, "BLOCK_K": block_k}
    return triton.Config(tiles, num_warps=warps, num_stages=stages)


@triton.autotune(
    configs=[_config(64, 64, 32, 4, 3), _config(128, 64, 32, 4, 3), _config(128, 128, 32, 8, 3)],
    key=["IS_LARGE", "ITEMSIZE"],
)
@triton.jit
def _matmul_kernel(
    a_ptr,
    b_ptr,
    out_ptr,
    M,
    N,
    K,
    IS_LARGE: tl.constexpr,
    ITEMSIZE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    n_tile_cols = tl.cdiv(N, BLOCK_N)
    rows = (tl.program_id(axis=0) // n_tile_cols * BLOCK_M + tl.arange(0, BLOCK_M)).to(tl.int64)
    cols = (tl.program_id(axis=0) % n_tile_cols * BLOCK_N + tl.arange(0, BLOCK_N)).to(tl.int64)
    ks = tl.arange(0, BLOCK_K)
    a_ptrs = a_ptr + rows[:, None] * K + ks[None, :]
    b_ptrs = b_ptr + ks[:, None] * N + cols[None, :]
    sums = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for left in range(K, 0, -BLOCK_K):
        a = tl.load(a_ptrs, mask=(rows[:, None] < M) & (ks[None, :] < left), other=0.0)
        b = tl.load(b_ptrs, mask=(ks[:, None] < left) & (cols[None, :] < N), other=0.0)
        sums = tl.dot(a, b, sums, input_precision="ieee")
        a_ptrs += BLOCK_K
        b_ptrs += BLOCK_K * N
    tl.store(out_ptr + rows[:, None] * N + cols[None, :], sums, mask=(rows[:, None] < M) & (cols[None, :] < N))


def matmul(a, b):
    a = a.contiguous()
    (M, K), N = a.shape, b.shape[1]
    out = torch.empty(M, N, dtype=a.dtype, device=a.device)
    _matmul_kernel[lambda meta: (triton.cdiv(M, meta["BLOCK_M"]) * triton.cdiv(N, meta["BLOCK_N"]),)](
        a, b, out, M, N, K, IS_LARGE=min(M, N) >= 1024, ITEMSIZE=a.element_size()
    )
    return out
