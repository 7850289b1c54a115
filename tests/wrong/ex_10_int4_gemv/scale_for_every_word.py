# expect: TOO_MUCH_WORK
# Flat rows of words, and the scale of each word looked up: sixteen loads of the same two bytes.

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
def _gemv_kernel(x_ptr, w4_ptr, scales_ptr, out_ptr, n_rows, n_words, BLOCK_N: tl.constexpr, BLOCK_W: tl.constexpr):
    rows = tl.program_id(axis=0) * BLOCK_N + tl.arange(0, BLOCK_N)
    sums = tl.zeros((BLOCK_N, BLOCK_W), dtype=tl.float32)
    for start in range(0, n_words, BLOCK_W):
        words = start + tl.arange(0, BLOCK_W)
        mask = (rows < n_rows)[:, None] & (words < n_words)[None, :]
        places = rows[:, None] * n_words + words[None, :]
        w4 = tl.load(w4_ptr + places, mask=mask, other=0)
        scales = tl.load(scales_ptr + places // 16, mask=mask, other=0.0).to(tl.float32)
        for j in tl.static_range(8):
            x_places = words // 16 * 128 + 16 * j + words % 16
            x = tl.load(x_ptr + x_places, mask=words < n_words, other=0.0).to(tl.float32)
            sums += (((w4 >> (4 * j)) & 15) - 8).to(tl.float32) * scales * x[None, :]
    tl.store(out_ptr + rows, tl.sum(sums, axis=1), mask=rows < n_rows)


def gemv(x, w4, scales):
    n_rows, n_words = w4.shape
    out = torch.empty((1, n_rows), dtype=torch.float16, device=x.device)
    _gemv_kernel[(triton.cdiv(n_rows, 8),)](x, w4, scales, out, n_rows, n_words, BLOCK_N=8, BLOCK_W=128)
    return out
