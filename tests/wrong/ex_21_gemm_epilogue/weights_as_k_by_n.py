# expect: OUT_OF_BOUNDS|WRONG_VALUES
# Reads w as [K, N], as ex_03 has its b: right only by accident of the strides, and only if N = K.

import torch
import triton
import triton.language as tl


@triton.jit
def _linear_gelu_kernel(
    x_ptr, w_ptr, b_ptr, out_ptr, M, N, K, x_row_stride, w_row_stride, out_row_stride,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    rows = (tl.program_id(axis=0) * BLOCK_M + tl.arange(0, BLOCK_M)).to(tl.int64)
    cols = (tl.program_id(axis=1) * BLOCK_N + tl.arange(0, BLOCK_N)).to(tl.int64)
    bias = tl.load(b_ptr + cols, mask=cols < N, other=0.0).to(tl.float32)
    h = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for k_start in range(0, K, BLOCK_K):
        ks = k_start + tl.arange(0, BLOCK_K)
        x_ptrs = x_ptr + rows[:, None] * x_row_stride + ks[None, :]
        w_ptrs = w_ptr + ks[:, None] * w_row_stride + cols[None, :]
        x = tl.load(x_ptrs, mask=(rows[:, None] < M) & (ks[None, :] < K), other=0.0)
        w = tl.load(w_ptrs, mask=(cols[None, :] < N) & (ks[:, None] < K), other=0.0)
        h = tl.dot(x, w, h, input_precision="ieee")
    h += bias[None, :]
    out = 0.5 * h * (1.0 + tl.erf(h * 0.7071067811865476))
    out_ptrs = out_ptr + rows[:, None] * out_row_stride + cols[None, :]
    tl.store(out_ptrs, out, mask=(rows[:, None] < M) & (cols[None, :] < N))


def linear_gelu(x, w, b):
    (M, K), N = x.shape, w.shape[0]
    out = torch.empty((M, N), dtype=x.dtype, device=x.device)
    _linear_gelu_kernel[(triton.cdiv(M, 64), triton.cdiv(N, 64))](
        x, w, b, out, M, N, K, x.stride(0), w.stride(0), out.stride(0), BLOCK_M=64, BLOCK_N=64, BLOCK_K=32
    )
    return out
