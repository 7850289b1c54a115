# expect: RACE|WRONG_VALUES
# K split among programs, each of which loads the sum so far, adds its own and stores it: whoever is last wins.

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
def _gemv_kernel(x_ptr, w4_ptr, scales_ptr, out_ptr, n_rows, n_groups, BLOCK_N: tl.constexpr, BLOCK_G: tl.constexpr):
    rows = tl.program_id(axis=0) * BLOCK_N + tl.arange(0, BLOCK_N)
    groups = tl.program_id(axis=1) * BLOCK_G + tl.arange(0, BLOCK_G)
    words = tl.arange(0, 16)
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
    mine = tl.sum(tl.sum(products * scales[:, :, None], axis=2), axis=1)
    before = tl.load(out_ptr + rows, mask=rows < n_rows, other=0.0).to(tl.float32)
    tl.store(out_ptr + rows, before + mine, mask=rows < n_rows)


def gemv(x, w4, scales):
    n_rows, n_groups = scales.shape
    out = torch.zeros((1, n_rows), dtype=torch.float16, device=x.device)
    grid = (triton.cdiv(n_rows, 8), triton.cdiv(n_groups, 8))
    _gemv_kernel[grid](x, w4, scales, out, n_rows, n_groups, BLOCK_N=8, BLOCK_G=8, num_warps=1)
    return out
