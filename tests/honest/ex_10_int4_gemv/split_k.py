# expect: PROVISIONAL
# expect-gpu: PASSED|TOO_SLOW
# K split among programs, whose partial sums a second launch adds up: what a matrix of few rows needs to fill a card.
# Codes become floats as the lowest bits of 2^23, which is taken off at once, before anything is multiplied.

import torch
import triton
import triton.language as tl

SPLITS = 4


def pack(w):
    n, k = w.shape
    scales = (w.view(n, -1, 128).float().abs().amax(dim=2) / 7).half()
    steps = scales.float().repeat_interleave(128, dim=1)
    q = torch.where(steps == 0, torch.zeros_like(steps), w.float() / torch.where(steps == 0, 1.0, steps))
    codes = (q.round().clamp(-7, 7) + 8).to(torch.int32).view(n, -1, 8, 16)
    words = codes[:, :, 0]
    for j in range(1, 8):
        words = words + (codes[:, :, j] << (4 * j))
    return words.reshape(n, k // 8), scales


@triton.jit
def _partials_kernel(x_ptr, w4_ptr, scales_ptr, sums_ptr, n_rows, n_groups, ROWS: tl.constexpr, GROUPS: tl.constexpr):
    rows = tl.program_id(axis=0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    words = tl.arange(0, GROUPS * 16)
    is_row = rows < n_rows
    sums = tl.zeros((ROWS,), dtype=tl.float32)
    for start in range(tl.program_id(axis=1) * GROUPS, n_groups, tl.num_programs(axis=1) * GROUPS):
        places = start * 16 + words
        is_word = places < n_groups * 16
        mask = is_row[:, None] & is_word[None, :]
        w4 = tl.load(w4_ptr + rows[:, None] * n_groups * 16 + places[None, :], mask=mask, other=0)
        products = tl.zeros((ROWS, GROUPS * 16), dtype=tl.float32)
        for j in tl.static_range(8):
            x = tl.load(x_ptr + places // 16 * 128 + 16 * j + places % 16, mask=is_word, other=0.0)
            q = (((w4 >> (4 * j)) & 15) | 0x4B000000).to(tl.float32, bitcast=True) - 8388616.0
            products += q * x.to(tl.float32)[None, :]
        groups = start + tl.arange(0, GROUPS)
        mask = is_row[:, None] & (groups < n_groups)[None, :]
        scales = tl.load(scales_ptr + rows[:, None] * n_groups + groups[None, :], mask=mask, other=0.0)
        by_group = tl.sum(tl.reshape(products, (ROWS, GROUPS, 16)), axis=2)
        sums += tl.sum(by_group * scales.to(tl.float32), axis=1)
    tl.store(sums_ptr + tl.program_id(axis=1) * n_rows + rows, sums, mask=is_row)


@triton.jit
def _add_kernel(partials_ptr, out_ptr, n_rows, SPLITS: tl.constexpr, BLOCK_SIZE: tl.constexpr):
    rows = tl.program_id(axis=0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    sums = tl.zeros((BLOCK_SIZE,), dtype=tl.float32)
    for split in tl.static_range(SPLITS):
        sums += tl.load(partials_ptr + split * n_rows + rows, mask=rows < n_rows, other=0.0)
    tl.store(out_ptr + rows, sums, mask=rows < n_rows)


def gemv(x, w4, scales):
    n_rows, n_groups = scales.shape
    partials = torch.empty((SPLITS, n_rows), dtype=torch.float32, device=x.device)
    out = torch.empty((1, n_rows), dtype=torch.float16, device=x.device)
    grid = (triton.cdiv(n_rows, 16), SPLITS)
    _partials_kernel[grid](x, w4, scales, partials, n_rows, n_groups, ROWS=16, GROUPS=8, num_warps=2)
    _add_kernel[(triton.cdiv(n_rows, 256),)](partials, out, n_rows, SPLITS=SPLITS, BLOCK_SIZE=256)
    return out
