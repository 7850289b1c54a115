# expect: WRONG_VALUES
# needs: gpu
# exercise: ex_03
# layer: judge
# Turns on every switch that trades precision for speed, and multiplies float32 in TF32, which Triton does unless told
# otherwise. The interpreter knows no TF32; a card's cases do.

import torch
import triton
import triton.language as tl


torch.backends.cuda.matmul.allow_tf32 = True
torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = True
torch.backends.cudnn.allow_tf32 = True


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
    rows = tl.program_id(axis=0) * BLOCK_M + tl.arange(0, BLOCK_M)
    cols = tl.program_id(axis=1) * BLOCK_N + tl.arange(0, BLOCK_N)
    accumulator = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for start in range(0, K, BLOCK_K):
        ks = start + tl.arange(0, BLOCK_K)
        a_places = rows[:, None] * a_row_stride + ks[None, :] * a_col_stride
        a = tl.load(a_ptr + a_places, mask=(rows[:, None] < M) & (ks[None, :] < K), other=0.0)
        b_places = ks[:, None] * b_row_stride + cols[None, :]
        b = tl.load(b_ptr + b_places, mask=(ks[:, None] < K) & (cols[None, :] < N), other=0.0)
        accumulator += tl.dot(a, b)
    out_places = rows[:, None] * out_row_stride + cols[None, :]
    tl.store(out_ptr + out_places, accumulator, mask=(rows[:, None] < M) & (cols[None, :] < N))


def matmul(a, b):
    (M, K), N = a.shape, b.shape[1]
    out = torch.empty((M, N), dtype=a.dtype, device=a.device)
    grid = triton.cdiv(M, 64), triton.cdiv(N, 64)
    _matmul_kernel[grid](
        a, b, out, M, N, K, a.stride(0), a.stride(1), b.stride(0), out.stride(0), BLOCK_M=64, BLOCK_N=64, BLOCK_K=32
    )
    return out
