# expect: PROVISIONAL
# expect-gpu: PASSED|TOO_SLOW
# Computes tiles of w · xᵀ, where the bias runs along the rows, and stores them on their side; heuristics compile the
# masks away where the sizes divide.

import torch
import triton
import triton.language as tl


@triton.heuristics({"IS_EVEN": lambda args: not any(args[size] % args[f"BLOCK_{size}"] for size in ("M", "N", "K"))})
@triton.jit
def _kernel(
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
    IS_EVEN: tl.constexpr,
):
    rows = (tl.program_id(axis=1) * BLOCK_M + tl.arange(0, BLOCK_M)).to(tl.int64)
    cols = (tl.program_id(axis=0) * BLOCK_N + tl.arange(0, BLOCK_N)).to(tl.int64)
    sums = tl.zeros((BLOCK_N, BLOCK_M), dtype=tl.float32)
    for start in range(0, K, BLOCK_K):
        ks = start + tl.arange(0, BLOCK_K)
        w_ptrs = w_ptr + cols[:, None] * K + ks[None, :]
        x_ptrs = x_ptr + ks[:, None] + rows[None, :] * x_row_stride
        if IS_EVEN:
            w = tl.load(w_ptrs)
            x = tl.load(x_ptrs)
        else:
            w = tl.load(w_ptrs, mask=(cols[:, None] < N) & (ks[None, :] < K), other=0.0)
            x = tl.load(x_ptrs, mask=(ks[:, None] < K) & (rows[None, :] < M), other=0.0)
        sums = tl.dot(w, x, sums, input_precision="ieee")
    sums += tl.load(b_ptr + cols, mask=cols < N, other=0.0).to(tl.float32)[:, None]
    out = sums * (0.5 + 0.5 * tl.erf(sums * 0.7071067811865476))
    out_ptrs = out_ptr + rows[None, :] * N + cols[:, None]
    tl.store(out_ptrs, out, mask=(cols[:, None] < N) & (rows[None, :] < M))


def linear_gelu(x, w, b):
    (M, K), N = x.shape, w.shape[0]
    out = torch.empty((M, N), dtype=x.dtype, device=x.device)
    grid = triton.cdiv(N, 64), triton.cdiv(M, 64)
    _kernel[grid](x, w, b, out, M, N, K, x.stride(0), BLOCK_M=64, BLOCK_N=64, BLOCK_K=32)
    return out
