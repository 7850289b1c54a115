# expect: PROVISIONAL
# expect-gpu: PASSED|TOO_SLOW
# All query heads of a key head share a tile: row r of it is position r // group of head r % group. Keys and values are
# loaded once for the whole group, through descriptors that the kernel makes for itself.

import math

import torch
import triton
import triton.language as tl

LOG2_E = math.log2(math.e)
LN_2 = tl.constexpr(math.log(2))


@triton.jit
def _flash_kernel(
    q_ptr, k_ptr, v_ptr, out_ptr, lse_ptr, q_strides, k_strides, v_strides, scale, N, Hkv, group_size,
    D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, CAUSAL: tl.constexpr,
):  # fmt: skip
    batch, kv_head = tl.program_id(axis=1) // Hkv, tl.program_id(axis=1) % Hkv
    packed = tl.program_id(axis=0) * BLOCK_M + tl.arange(0, BLOCK_M)
    positions, heads = packed // group_size, kv_head * group_size + packed % group_size
    is_row = positions < N
    dims = tl.arange(0, D)
    q_places = batch * q_strides[0] + heads[:, None] * q_strides[1] + positions[:, None] * q_strides[2]
    q = tl.load(q_ptr + q_places + dims[None, :], mask=is_row[:, None], other=0.0)
    k_base = k_ptr + batch * k_strides[0] + kv_head * k_strides[1]
    v_base = v_ptr + batch * v_strides[0] + kv_head * v_strides[1]
    k_tiles = tl.make_tensor_descriptor(k_base, [N, D], [k_strides[2], 1], [BLOCK_N, D])
    v_tiles = tl.make_tensor_descriptor(v_base, [N, D], [v_strides[2], 1], [BLOCK_N, D])
    acc = tl.zeros((BLOCK_M, D), dtype=tl.float32)
    row_max = tl.full((BLOCK_M,), -float("inf"), dtype=tl.float32)
    row_sum = tl.zeros((BLOCK_M,), dtype=tl.float32)
    last_position = (tl.program_id(axis=0) * BLOCK_M + BLOCK_M - 1) // group_size
    n_visible = min(last_position + 1, N) if CAUSAL else N
    for key in range(0, n_visible, BLOCK_N):
        keys = key + tl.arange(0, BLOCK_N)
        is_visible = keys[None, :] < N
        if CAUSAL:
            is_visible = is_visible & (keys[None, :] <= positions[:, None])
        scores = tl.where(is_visible, tl.dot(q, k_tiles.load([key, 0]).T) * scale, -float("inf"))
        new_max = tl.maximum(row_max, tl.max(scores, axis=1))
        weights = tl.exp2(scores - new_max[:, None])
        correction = tl.exp2(row_max - new_max)
        row_sum = row_sum * correction + tl.sum(weights, axis=1)
        acc = tl.dot(weights.to(q.dtype), v_tiles.load([key, 0]), acc * correction[:, None])
        row_max = new_max
    places = (batch * Hkv * group_size + heads).to(tl.int64) * N + positions
    tl.store(out_ptr + places[:, None] * D + dims[None, :], acc / row_sum[:, None], mask=is_row[:, None])
    tl.store(lse_ptr + places, (row_max + tl.log2(row_sum)) * LN_2, mask=is_row)


def _workspace(size, _alignment, _stream):
    """Where descriptors are kept on a card."""
    return torch.empty(size, dtype=torch.int8, device="cuda")


def flash(q, k, v, causal):
    (B, Hq, N, D), Hkv = q.shape, k.shape[1]
    out = torch.empty((B, Hq, N, D), dtype=q.dtype, device=q.device)
    lse = torch.empty((B, Hq, N), dtype=torch.float32, device=q.device)
    if q.is_cuda:
        triton.set_allocator(_workspace)
    group_size = Hq // Hkv
    _flash_kernel[(triton.cdiv(N * group_size, 64), B * Hkv)](
        q, k, v, out, lse, q.stride()[:3], k.stride()[:3], v.stride()[:3], LOG2_E / math.sqrt(D), N, Hkv, group_size,
        D=D, BLOCK_M=64, BLOCK_N=32, CAUSAL=causal, num_warps=4, num_stages=3,
    )  # fmt: skip
    return out, lse
