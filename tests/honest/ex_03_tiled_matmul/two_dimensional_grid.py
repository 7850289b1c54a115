# expect: PROVISIONAL
# expect-gpu: PASSED|TOO_SLOW
# The plainest tiling: a two-dimensional grid, pointers made anew at every step, no grouping.

import triton
import triton.language as tl


@triton.jit
def _matmul_kernel(
    a_ptr,
    b_ptr,
    out_ptr,
    M,
    N,
    K,
    a_row_stride,
    a_col_stride,
    b_row_stride,
    out_row_stride,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    rows = (tl.program_id(axis=0) * BLOCK_M + tl.arange(0, BLOCK_M)).to(tl.int64)
    cols = (tl.program_id(axis=1) * BLOCK_N + tl.arange(0, BLOCK_N)).to(tl.int64)
    sums = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for start in range(0, K, BLOCK_K):
        ks = start + tl.arange(0, BLOCK_K)
        a_places = rows[:, None] * a_row_stride + ks[None, :] * a_col_stride
        b_places = ks[:, None] * b_row_stride + cols[None, :]
        a = tl.load(a_ptr + a_places, mask=(rows[:, None] < M) & (ks[None, :] < K), other=0.0)
        b = tl.load(b_ptr + b_places, mask=(ks[:, None] < K) & (cols[None, :] < N), other=0.0)
        sums += tl.dot(a, b, input_precision="ieee")
    places = rows[:, None] * out_row_stride + cols[None, :]
    tl.store(out_ptr + places, sums.to(out_ptr.dtype.element_ty), mask=(rows[:, None] < M) & (cols[None, :] < N))


def matmul(a, b):
    (M, K), (_, N) = a.shape, b.shape
    out = a.new_empty((M, N))
    strides = a.stride(0), a.stride(1), b.stride(0), out.stride(0)
    grid = triton.cdiv(M, 64), triton.cdiv(N, 64)
    _matmul_kernel[grid](a, b, out, M, N, K, *strides, BLOCK_M=64, BLOCK_N=64, BLOCK_K=32)
    return out
