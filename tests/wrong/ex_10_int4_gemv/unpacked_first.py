# expect: TOO_MUCH_WORK
# One kernel unpacks the weights, another multiplies by them: memory sees them four bits wide once, and wide twice.

import torch
import triton
import triton.language as tl


def pack(w):
    n, k = w.shape
    groups = w.view(n, k // 128, 128).float()
    scales = (groups.abs().amax(dim=2) / 7).half()
    steps = scales.float()[:, :, None]
    q = torch.where(steps > 0, groups / steps, 0.0).round().clamp(-7, 7)
    codes = (q.to(torch.int32) + 8).view(n, k // 128, 8, 16)
    shifts = 4 * torch.arange(8, dtype=torch.int32, device=w.device)[:, None]
    return (codes << shifts).sum(dim=2, dtype=torch.int32).view(n, k // 8), scales


@triton.jit
def _unpack_kernel(w4_ptr, scales_ptr, w_ptr, n_groups, BLOCK_G: tl.constexpr):
    words = tl.arange(0, 16)
    for start in range(0, n_groups, BLOCK_G):
        groups = start + tl.arange(0, BLOCK_G)
        mask = groups < n_groups
        places = tl.program_id(axis=0).to(tl.int64) * n_groups + groups
        w4 = tl.load(w4_ptr + places[:, None] * 16 + words[None, :], mask=mask[:, None], other=0)
        scales = tl.load(scales_ptr + places, mask=mask, other=0.0).to(tl.float32)[:, None]
        for j in tl.static_range(8):
            w = (((w4 >> (4 * j)) & 15) - 8).to(tl.float32) * scales
            tl.store(w_ptr + places[:, None] * 128 + 16 * j + words[None, :], w, mask=mask[:, None])


@triton.jit
def _gemv_kernel(x_ptr, w_ptr, out_ptr, n_cols, BLOCK_K: tl.constexpr):
    row = tl.program_id(axis=0).to(tl.int64)
    sums = tl.zeros((BLOCK_K,), dtype=tl.float32)
    for start in range(0, n_cols, BLOCK_K):
        cols = start + tl.arange(0, BLOCK_K)
        x = tl.load(x_ptr + cols, mask=cols < n_cols, other=0.0).to(tl.float32)
        sums += x * tl.load(w_ptr + row * n_cols + cols, mask=cols < n_cols, other=0.0)
    tl.store(out_ptr + row, tl.sum(sums, axis=0))


def gemv(x, w4, scales):
    n_rows, n_groups = scales.shape
    w = torch.empty((n_rows, 128 * n_groups), dtype=torch.float32, device=x.device)
    out = torch.empty((1, n_rows), dtype=torch.float16, device=x.device)
    _unpack_kernel[(n_rows,)](w4, scales, w, n_groups, BLOCK_G=16)
    _gemv_kernel[(n_rows,)](x, w, out, 128 * n_groups, BLOCK_K=1024)
    return out
