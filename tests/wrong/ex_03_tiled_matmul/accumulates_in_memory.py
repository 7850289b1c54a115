# expect: TOO_MUCH_WORK
# One launch for each step along K, which loads the output, adds a product and stores it: the accumulator belongs in
# registers. By someone who split the loop over K where it was easiest.

import torch
import triton
import triton.language as tl


@triton.jit
def _step_kernel(
    a_ptr, b_ptr, sums_ptr, k_start, M, N, K,
    a_row_stride, a_col_stride, b_row_stride, IS_FIRST: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):
    rows = tl.program_id(axis=0) * BLOCK_M + tl.arange(0, BLOCK_M)
    cols = tl.program_id(axis=1) * BLOCK_N + tl.arange(0, BLOCK_N)
    ks = k_start + tl.arange(0, BLOCK_K)
    a_ptrs = a_ptr + rows[:, None] * a_row_stride + ks[None, :] * a_col_stride
    b_ptrs = b_ptr + ks[:, None] * b_row_stride + cols[None, :]
    a = tl.load(a_ptrs, mask=(rows[:, None] < M) & (ks[None, :] < K), other=0.0)
    b = tl.load(b_ptrs, mask=(ks[:, None] < K) & (cols[None, :] < N), other=0.0)
    sums_ptrs = sums_ptr + rows[:, None] * N + cols[None, :]
    mask = (rows[:, None] < M) & (cols[None, :] < N)
    product = tl.dot(a, b, input_precision="ieee")
    if not IS_FIRST:
        product += tl.load(sums_ptrs, mask=mask, other=0.0)
    tl.store(sums_ptrs, product, mask=mask)


@triton.jit
def _round_kernel(sums_ptr, out_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
    offsets = tl.program_id(axis=0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    mask = offsets < n_elements
    tl.store(out_ptr + offsets, tl.load(sums_ptr + offsets, mask=mask), mask=mask)


def matmul(a, b):
    (M, K), N = a.shape, b.shape[1]
    sums = torch.empty((M, N), dtype=torch.float32, device=a.device)
    for k_start in range(0, K, 128):
        _step_kernel[(triton.cdiv(M, 64), triton.cdiv(N, 64))](
            a, b, sums, k_start, M, N, K, a.stride(0), a.stride(1), b.stride(0), IS_FIRST=k_start == 0,
            BLOCK_M=64, BLOCK_N=64, BLOCK_K=128,
        )
    out = torch.empty((M, N), dtype=a.dtype, device=a.device)
    _round_kernel[(triton.cdiv(M * N, 16384),)](sums, out, M * N, BLOCK_SIZE=16384)
    return out
