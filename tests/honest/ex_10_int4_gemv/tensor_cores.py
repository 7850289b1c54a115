# expect: PROVISIONAL
# expect-gpu: PASSED|TOO_SLOW
# Codes are integers that float16 holds exactly, and products of two float16 are exact in float32: so tensor cores may
# do the multiplying. They want sixteen columns where there is one token; the other fifteen are copies of it.

import torch
import triton
import triton.language as tl


def pack(w):
    n, k = w.shape
    groups = w.reshape(n, -1, 128).to(torch.float64)
    scales = groups.abs().amax(-1).div(7).to(torch.float16)
    q = (groups / scales.double().clamp_min(2.0**-30)[:, :, None]).round().clamp(-7, 7)
    q = torch.where(scales[:, :, None] == 0, 0.0, q).to(torch.int64)
    words = sum(((q + 8)[:, :, 16 * j : 16 * j + 16] << (4 * j)) for j in range(8))
    # As int64 the highest code is no sign yet.
    return words.to(torch.int32).reshape(n, k // 8), scales


@triton.jit
def _gemv_kernel(x_ptr, w4_ptr, scales_ptr, out_ptr, n_rows, n_groups, ROWS: tl.constexpr):
    rows = tl.program_id(axis=0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    words = tl.arange(0, 16)
    columns = tl.arange(0, 16)
    is_row = rows < n_rows
    sums = tl.zeros((ROWS, 16), dtype=tl.float32)
    for group in range(n_groups):
        places = rows * n_groups + group
        w4 = tl.load(w4_ptr + places[:, None] * 16 + words[None, :], mask=is_row[:, None], other=0)
        products = tl.zeros((ROWS, 16), dtype=tl.float32)
        for j in tl.static_range(8):
            x = tl.load(x_ptr + group * 128 + 16 * j + words)
            q = (((w4 >> (4 * j)) & 15) - 8).to(tl.float16)
            products = tl.dot(q, tl.broadcast_to(x[:, None], (16, 16)), products)
        sums += products * tl.load(scales_ptr + places, mask=is_row, other=0.0).to(tl.float32)[:, None]
    out = tl.sum(tl.where(columns[None, :] == 0, sums, 0.0), axis=1)
    tl.store(out_ptr + rows, out, mask=is_row)


def gemv(x, w4, scales):
    n_rows, n_groups = scales.shape
    out = torch.empty((1, n_rows), dtype=torch.float16, device=x.device)
    _gemv_kernel[(triton.cdiv(n_rows, 16),)](x, w4, scales, out, n_rows, n_groups, ROWS=16, num_warps=1)
    return out
