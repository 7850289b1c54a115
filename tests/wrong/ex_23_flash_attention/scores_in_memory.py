# expect: TOO_MUCH_WORK
# Three steps, as the formula has them: scores to memory, softmax there, then the product with v. Right, and N² values
# go to memory and back several times.

import math

import torch
import triton
import triton.language as tl


@triton.jit
def _scores_kernel(
    q_ptr, k_ptr, scores_ptr, q_strides, k_strides, scale, N, group_size,
    D: tl.constexpr, TILE: tl.constexpr, CAUSAL: tl.constexpr,
):  # fmt: skip
    head, batch = tl.program_id(axis=1), tl.program_id(axis=2)
    rows = tl.program_id(axis=0) * TILE + tl.arange(0, TILE)
    dims = tl.arange(0, D)
    q_ptr += batch * q_strides[0] + head * q_strides[1]
    k_ptr += batch * k_strides[0] + head // group_size * k_strides[1]
    scores_ptr += (batch * tl.num_programs(axis=1) + head).to(tl.int64) * N * N
    q = tl.load(q_ptr + rows[:, None] * q_strides[2] + dims[None, :], mask=rows[:, None] < N, other=0.0)
    for key in range(0, N, TILE):
        keys = key + tl.arange(0, TILE)
        k = tl.load(k_ptr + keys[:, None] * k_strides[2] + dims[None, :], mask=keys[:, None] < N, other=0.0)
        scores = tl.dot(q, k.T) * scale
        if CAUSAL:
            scores = tl.where(keys[None, :] <= rows[:, None], scores, -float("inf"))
        mask = (rows[:, None] < N) & (keys[None, :] < N)
        tl.store(scores_ptr + rows[:, None] * N + keys[None, :], scores, mask=mask)


@triton.jit
def _values_kernel(
    scores_ptr, v_ptr, out_ptr, lse_ptr, v_strides, N, group_size,
    D: tl.constexpr, TILE: tl.constexpr, N_PADDED: tl.constexpr,
):  # fmt: skip
    head, batch = tl.program_id(axis=1), tl.program_id(axis=2)
    rows = tl.program_id(axis=0) * TILE + tl.arange(0, TILE)
    keys, dims = tl.arange(0, N_PADDED), tl.arange(0, D)
    v_ptr += batch * v_strides[0] + head // group_size * v_strides[1]
    first = (batch * tl.num_programs(axis=1) + head).to(tl.int64) * N
    mask = (rows[:, None] < N) & (keys[None, :] < N)
    scores = tl.load(scores_ptr + (first + rows[:, None]) * N + keys[None, :], mask=mask, other=-float("inf"))
    row_max = tl.max(tl.where(rows[:, None] < N, scores, 0.0), axis=1)
    weights = tl.exp(scores - row_max[:, None])
    row_sum = tl.sum(weights, axis=1)
    v = tl.load(v_ptr + keys[:, None] * v_strides[2] + dims[None, :], mask=keys[:, None] < N, other=0.0)
    out = tl.dot(weights.to(v.dtype), v) / row_sum[:, None]
    tl.store(out_ptr + (first + rows[:, None]) * D + dims[None, :], out, mask=rows[:, None] < N)
    tl.store(lse_ptr + first + rows, row_max + tl.log(row_sum), mask=rows < N)


def flash(q, k, v, causal):
    B, Hq, N, D = q.shape
    group_size = Hq // k.shape[1]
    out = torch.empty((B, Hq, N, D), dtype=q.dtype, device=q.device)
    lse = torch.empty((B, Hq, N), dtype=torch.float32, device=q.device)
    scores = torch.empty((B, Hq, N, N), dtype=torch.float32, device=q.device)
    grid = (triton.cdiv(N, 64), Hq, B)
    _scores_kernel[grid](
        q, k, scores, q.stride()[:3], k.stride()[:3], 1 / math.sqrt(D), N, group_size, D=D, TILE=64, CAUSAL=causal
    )
    padded = max(16, triton.next_power_of_2(N))
    _values_kernel[grid](scores, v, out, lse, v.stride()[:3], N, group_size, D=D, TILE=64, N_PADDED=padded)
    return out, lse
