# expect: WRONG_VALUES
# Masks the last step along K, but says of neither tile what masked elements hold: they are multiplied all the same.

import torch
import triton
import triton.language as tl


@triton.jit
def _matmul_kernel(
    a_ptr, b_ptr, out_ptr, M, N, K,
    a_row_stride, a_col_stride, b_row_stride, out_row_stride,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):
    rows = tl.program_id(axis=0) * BLOCK_M + tl.arange(0, BLOCK_M)
    cols = tl.program_id(axis=1) * BLOCK_N + tl.arange(0, BLOCK_N)
    accumulator = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for k_start in range(0, K, BLOCK_K):
        ks = k_start + tl.arange(0, BLOCK_K)
        a_ptrs = a_ptr + rows[:, None] * a_row_stride + ks[None, :] * a_col_stride
        b_ptrs = b_ptr + ks[:, None] * b_row_stride + cols[None, :]
        a = tl.load(a_ptrs, mask=(rows[:, None] < M) & (ks[None, :] < K))
        b = tl.load(b_ptrs, mask=(ks[:, None] < K) & (cols[None, :] < N))
        accumulator = tl.dot(a, b, accumulator, input_precision="ieee")
    out_ptrs = out_ptr + rows[:, None] * out_row_stride + cols[None, :]
    tl.store(out_ptrs, accumulator, mask=(rows[:, None] < M) & (cols[None, :] < N))


def matmul(a, b):
    (M, K), N = a.shape, b.shape[1]
    out = torch.empty((M, N), dtype=a.dtype, device=a.device)
    _matmul_kernel[(triton.cdiv(M, 64), triton.cdiv(N, 64))](
        a, b, out, M, N, K, a.stride(0), a.stride(1), b.stride(0), out.stride(0),
        BLOCK_M=64, BLOCK_N=64, BLOCK_K=32,
    )
    return out
