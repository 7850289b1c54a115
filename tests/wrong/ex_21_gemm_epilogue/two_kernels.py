# expect: TOO_MUCH_WORK
# A matmul kernel, then a kernel for bias and GELU: right, and 2·M·N float32 values more through memory.

import torch
import triton
import triton.language as tl


@triton.jit
def _matmul_kernel(
    x_ptr, w_ptr, out_ptr, M, N, K, x_row_stride, w_row_stride, out_row_stride,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    rows = (tl.program_id(axis=0) * BLOCK_M + tl.arange(0, BLOCK_M)).to(tl.int64)
    cols = (tl.program_id(axis=1) * BLOCK_N + tl.arange(0, BLOCK_N)).to(tl.int64)
    h = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for k_start in range(0, K, BLOCK_K):
        ks = k_start + tl.arange(0, BLOCK_K)
        x_ptrs = x_ptr + rows[:, None] * x_row_stride + ks[None, :]
        w_ptrs = w_ptr + cols[None, :] * w_row_stride + ks[:, None]
        x = tl.load(x_ptrs, mask=(rows[:, None] < M) & (ks[None, :] < K), other=0.0)
        w = tl.load(w_ptrs, mask=(cols[None, :] < N) & (ks[:, None] < K), other=0.0)
        h = tl.dot(x, w, h, input_precision="ieee")
    out_ptrs = out_ptr + rows[:, None] * out_row_stride + cols[None, :]
    tl.store(out_ptrs, h, mask=(rows[:, None] < M) & (cols[None, :] < N))


@triton.jit
def _bias_gelu_kernel(sums_ptr, b_ptr, out_ptr, n_elements, N, BLOCK_SIZE: tl.constexpr):
    offsets = tl.program_id(axis=0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    mask = offsets < n_elements
    h = tl.load(sums_ptr + offsets, mask=mask) + tl.load(b_ptr + offsets % N, mask=mask).to(tl.float32)
    tl.store(out_ptr + offsets, 0.5 * h * (1.0 + tl.erf(h * 0.7071067811865476)), mask=mask)


def linear_gelu(x, w, b):
    (M, K), N = x.shape, w.shape[0]
    out = torch.empty((M, N), dtype=x.dtype, device=x.device)
    sums = torch.empty((M, N), dtype=torch.float32, device=x.device)
    _matmul_kernel[(triton.cdiv(M, 64), triton.cdiv(N, 64))](
        x, w, sums, M, N, K, x.stride(0), w.stride(0), sums.stride(0), BLOCK_M=64, BLOCK_N=64, BLOCK_K=32
    )
    _bias_gelu_kernel[(triton.cdiv(M * N, 4096),)](sums, b, out, M * N, N, BLOCK_SIZE=4096)
    return out
