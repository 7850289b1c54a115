# expect: PROVISIONAL
# expect-gpu: PASSED|TOO_SLOW
# The plainest tiling: a two-dimensional grid, pointers made anew at every step, erf as the library has it, no tuning.

import triton
import triton.language as tl


@triton.jit
def _linear_gelu_kernel(
    x_ptr,
    w_ptr,
    b_ptr,
    out_ptr,
    M,
    N,
    K,
    x_row_stride,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    rows = (tl.program_id(axis=0) * BLOCK_M + tl.arange(0, BLOCK_M)).to(tl.int64)
    cols = (tl.program_id(axis=1) * BLOCK_N + tl.arange(0, BLOCK_N)).to(tl.int64)
    sums = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for start in range(0, K, BLOCK_K):
        ks = start + tl.arange(0, BLOCK_K)
        x_places = rows[:, None] * x_row_stride + ks[None, :]
        w_places = ks[:, None] + cols[None, :] * K
        x = tl.load(x_ptr + x_places, mask=(rows[:, None] < M) & (ks[None, :] < K), other=0.0)
        w = tl.load(w_ptr + w_places, mask=(ks[:, None] < K) & (cols[None, :] < N), other=0.0)
        sums += tl.dot(x, w, input_precision="ieee")
    h = sums + tl.load(b_ptr + cols, mask=cols < N, other=0.0)[None, :]
    out = 0.5 * h * (1.0 + tl.erf(h * 0.7071067811865476))
    places = rows[:, None] * N + cols[None, :]
    tl.store(out_ptr + places, out.to(out_ptr.dtype.element_ty), mask=(rows[:, None] < M) & (cols[None, :] < N))


def linear_gelu(x, w, b):
    (M, K), (N, _) = x.shape, w.shape
    out = x.new_empty((M, N))
    grid = triton.cdiv(M, 64), triton.cdiv(N, 64)
    _linear_gelu_kernel[grid](x, w, b, out, M, N, K, x.stride(0), BLOCK_M=64, BLOCK_N=64, BLOCK_K=32)
    return out
