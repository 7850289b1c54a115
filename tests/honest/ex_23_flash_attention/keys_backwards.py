# expect: PROVISIONAL
# expect-gpu: PASSED|TOO_SLOW
# Walks along the keys from the last tile to the first, with natural exponentials; scores and accumulator are
# transposed, with queries as columns.

import math

import torch
import triton
import triton.language as tl


@triton.jit
def _flash_kernel(
    q_ptr, k_ptr, v_ptr, out_ptr, lse_ptr, q_strides, k_strides, v_strides, scale, N, group_size,
    D: tl.constexpr, TILE: tl.constexpr, CAUSAL: tl.constexpr,
):  # fmt: skip
    # The heaviest tiles come first, if causal.
    row = (tl.num_programs(axis=0) - 1 - tl.program_id(axis=0)) * TILE
    head, batch = tl.program_id(axis=1), tl.program_id(axis=2)
    rows, dims = row + tl.arange(0, TILE), tl.arange(0, D)
    q_ptr += batch * q_strides[0] + head * q_strides[1]
    k_ptr += batch * k_strides[0] + head // group_size * k_strides[1]
    v_ptr += batch * v_strides[0] + head // group_size * v_strides[1]
    # [D, TILE], so that queries are columns.
    q = tl.load(q_ptr + rows[None, :] * q_strides[2] + dims[:, None], mask=rows[None, :] < N, other=0.0)
    acc = tl.zeros((D, TILE), dtype=tl.float32)
    # Far below every score, but finite: whole tiles may be hidden from a query when it meets them first.
    col_max = tl.full((TILE,), -1e30, dtype=tl.float32)
    col_sum = tl.zeros((TILE,), dtype=tl.float32)
    n_visible = min(row + TILE, N) if CAUSAL else N
    n_steps = tl.cdiv(n_visible, TILE)
    for step in range(n_steps):
        keys = (n_steps - 1 - step) * TILE + tl.arange(0, TILE)
        k = tl.load(k_ptr + keys[:, None] * k_strides[2] + dims[None, :], mask=keys[:, None] < N, other=0.0)
        is_visible = keys[:, None] < N
        if CAUSAL:
            is_visible = is_visible & (keys[:, None] <= rows[None, :])
        scores = tl.where(is_visible, tl.dot(k, q) * scale, -float("inf"))
        new_max = tl.maximum(col_max, tl.max(scores, axis=0))
        weights = tl.exp(scores - new_max[None, :])
        correction = tl.exp(col_max - new_max)
        col_sum = col_sum * correction + tl.sum(weights, axis=0)
        v = tl.load(v_ptr + keys[None, :] * v_strides[2] + dims[:, None], mask=keys[None, :] < N, other=0.0)
        acc = tl.dot(v, weights.to(v.dtype), acc * correction[None, :])
        col_max = new_max
    first = (batch * tl.num_programs(axis=1) + head).to(tl.int64) * N
    tl.store(out_ptr + (first + rows[None, :]) * D + dims[:, None], acc / col_sum[None, :], mask=rows[None, :] < N)
    tl.store(lse_ptr + first + rows, col_max + tl.log(col_sum), mask=rows < N)


def flash(q, k, v, causal):
    B, Hq, N, D = q.shape
    out = torch.empty((B, Hq, N, D), dtype=q.dtype, device=q.device)
    lse = torch.empty((B, Hq, N), dtype=torch.float32, device=q.device)
    strides = q.stride()[:3], k.stride()[:3], v.stride()[:3]
    _flash_kernel[(triton.cdiv(N, 64), Hq, B)](
        q, k, v, out, lse, *strides, 1 / math.sqrt(D), N, Hq // k.shape[1],
        D=D, TILE=64, CAUSAL=causal, num_warps=4, num_stages=2,
    )  # fmt: skip
    return out, lse
