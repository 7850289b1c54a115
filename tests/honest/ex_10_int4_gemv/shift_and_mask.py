# expect: PROVISIONAL
# expect-gpu: PASSED|TOO_SLOW
# What one writes first: shift a code down, mask it, take 8 off, convert. A program for four rows, eight groups a step;
# packed with a loop of ors, by inverse scales.

import torch
import triton
import triton.language as tl


def pack(w):
    n, k = w.shape
    groups = w.reshape(n, k // 128, 128).float()
    scales = (groups.abs().max(dim=2).values / 7).to(torch.float16)
    inverse = torch.where(scales > 0, 1 / scales.float(), 0.0)
    codes = torch.clamp(torch.round(groups * inverse[:, :, None]), -7, 7).to(torch.int32) + 8
    words = torch.zeros(n, k // 128, 16, dtype=torch.int32, device=w.device)
    for j in range(8):
        words = words | (codes[:, :, 16 * j : 16 * j + 16] << (4 * j))
    return words.reshape(n, k // 8), scales


@triton.jit
def _gemv_kernel(x_ptr, w4_ptr, scales_ptr, out_ptr, n_rows, n_groups, ROWS: tl.constexpr, GROUPS: tl.constexpr):
    rows = tl.program_id(axis=0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    words = tl.arange(0, 16)
    sums = tl.zeros((ROWS, GROUPS, 16), dtype=tl.float32)
    for start in range(0, n_groups, GROUPS):
        groups = start + tl.arange(0, GROUPS)
        there = groups < n_groups
        mask = (rows < n_rows)[:, None] & there[None, :]
        places = rows[:, None] * n_groups + groups[None, :]
        w4 = tl.load(w4_ptr + places[:, :, None] * 16 + words[None, None, :], mask=mask[:, :, None], other=0)
        products = tl.zeros((ROWS, GROUPS, 16), dtype=tl.float32)
        for j in tl.static_range(8):
            x = tl.load(x_ptr + groups[:, None] * 128 + 16 * j + words[None, :], mask=there[:, None], other=0.0)
            q = ((w4 >> (4 * j)) & 15) - 8
            products += q.to(tl.float32) * x.to(tl.float32)[None, :, :]
        scales = tl.load(scales_ptr + places, mask=mask, other=0.0)
        sums += products * scales.to(tl.float32)[:, :, None]
    tl.store(out_ptr + rows, tl.sum(tl.sum(sums, axis=2), axis=1), mask=rows < n_rows)


def gemv(x, w4, scales):
    n_rows, n_groups = scales.shape
    out = torch.empty((1, n_rows), dtype=torch.float16, device=x.device)
    _gemv_kernel[(triton.cdiv(n_rows, 4),)](x, w4, scales, out, n_rows, n_groups, ROWS=4, GROUPS=8, num_warps=1)
    return out
