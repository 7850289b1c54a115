# expect: RAISED
# Returns the packed words alone: the scales were computed, and are lost.

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
    return (codes << shifts).sum(dim=2, dtype=torch.int32).view(n, k // 8)


@triton.jit
def _gemv_kernel(x_ptr, w4_ptr, scales_ptr, out_ptr, n_rows, n_groups, BLOCK_N: tl.constexpr, BLOCK_G: tl.constexpr):
    rows = tl.program_id(axis=0) * BLOCK_N + tl.arange(0, BLOCK_N)
    words = tl.arange(0, 16)
    sums = tl.zeros((BLOCK_N, BLOCK_G, 16), dtype=tl.float32)
    for start in range(0, n_groups, BLOCK_G):
        groups = start + tl.arange(0, BLOCK_G)
        is_group = groups < n_groups
        mask = (rows < n_rows)[:, None] & is_group[None, :]
        places = rows[:, None] * n_groups + groups[None, :]
        w4 = tl.load(w4_ptr + places[:, :, None] * 16 + words[None, None, :], mask=mask[:, :, None], other=0)
        products = tl.zeros((BLOCK_N, BLOCK_G, 16), dtype=tl.float32)
        for j in tl.static_range(8):
            x_places = groups[:, None] * 128 + 16 * j + words[None, :]
            x = tl.load(x_ptr + x_places, mask=is_group[:, None], other=0.0).to(tl.float32)
            q = ((w4 >> (4 * j)) & 15) - 8
            products += q.to(tl.float32) * x[None, :, :]
        scales = tl.load(scales_ptr + places, mask=mask, other=0.0).to(tl.float32)
        sums += products * scales[:, :, None]
    tl.store(out_ptr + rows, tl.sum(tl.sum(sums, axis=2), axis=1), mask=rows < n_rows)


def gemv(x, w4, scales):
    n_rows, n_groups = scales.shape
    out = torch.empty((1, n_rows), dtype=torch.float16, device=x.device)
    _gemv_kernel[(triton.cdiv(n_rows, 8),)](x, w4, scales, out, n_rows, n_groups, BLOCK_N=8, BLOCK_G=8, num_warps=1)
    return out
