# expect: PROVISIONAL
# expect-gpu: PASSED|TOO_SLOW
# Pointers and masks, no descriptors; a tile of 128 queries, tiles of 64 keys, one loop with every mask in it.

import math

import torch
import triton
import triton.language as tl

LOG2_E = math.log2(math.e)
LN_2 = tl.constexpr(math.log(2))


@triton.jit
def _flash_kernel(
    q_ptr, k_ptr, v_ptr, out_ptr, lse_ptr, q_strides, k_strides, v_strides, scale, N, group_size,
    D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, CAUSAL: tl.constexpr,
):  # fmt: skip
    row, head, batch = tl.program_id(axis=0) * BLOCK_M, tl.program_id(axis=1), tl.program_id(axis=2)
    kv_head = head // group_size
    rows, dims = row + tl.arange(0, BLOCK_M), tl.arange(0, D)
    q_ptr += batch * q_strides[0] + head * q_strides[1]
    k_ptr += batch * k_strides[0] + kv_head * k_strides[1]
    v_ptr += batch * v_strides[0] + kv_head * v_strides[1]
    q = tl.load(q_ptr + rows[:, None] * q_strides[2] + dims[None, :], mask=rows[:, None] < N, other=0.0)
    acc = tl.zeros((BLOCK_M, D), dtype=tl.float32)
    row_max = tl.full((BLOCK_M,), -float("inf"), dtype=tl.float32)
    row_sum = tl.zeros((BLOCK_M,), dtype=tl.float32)
    for key in range(0, min(row + BLOCK_M, N) if CAUSAL else N, BLOCK_N):
        keys = key + tl.arange(0, BLOCK_N)
        k = tl.load(k_ptr + keys[:, None] * k_strides[2] + dims[None, :], mask=keys[:, None] < N, other=0.0)
        v = tl.load(v_ptr + keys[:, None] * v_strides[2] + dims[None, :], mask=keys[:, None] < N, other=0.0)
        is_visible = keys[None, :] < N
        if CAUSAL:
            is_visible = is_visible & (keys[None, :] <= rows[:, None])
        scores = tl.where(is_visible, tl.dot(q, k.T) * scale, -float("inf"))
        new_max = tl.maximum(row_max, tl.max(scores, axis=1))
        weights = tl.exp2(scores - new_max[:, None])
        correction = tl.exp2(row_max - new_max)
        row_sum = row_sum * correction + tl.sum(weights, axis=1)
        acc = tl.dot(weights.to(v.dtype), v, acc * correction[:, None])
        row_max = new_max
    first = (batch * tl.num_programs(axis=1) + head).to(tl.int64) * N
    out = acc / row_sum[:, None]
    tl.store(out_ptr + (first + rows[:, None]) * D + dims[None, :], out, mask=rows[:, None] < N)
    tl.store(lse_ptr + first + rows, (row_max + tl.log2(row_sum)) * LN_2, mask=rows < N)


def flash(q, k, v, causal):
    B, Hq, N, D = q.shape
    out = torch.empty((B, Hq, N, D), dtype=q.dtype, device=q.device)
    lse = torch.empty((B, Hq, N), dtype=torch.float32, device=q.device)
    strides = q.stride()[:3], k.stride()[:3], v.stride()[:3]
    _flash_kernel[(triton.cdiv(N, 128), Hq, B)](
        q, k, v, out, lse, *strides, LOG2_E / math.sqrt(D), N, Hq // k.shape[1],
        D=D, BLOCK_M=128, BLOCK_N=64, CAUSAL=causal, num_warps=8, num_stages=3,
    )  # fmt: skip
    return out, lse
