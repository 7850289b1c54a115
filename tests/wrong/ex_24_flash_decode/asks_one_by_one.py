# expect: PROVISIONAL
# expect-gpu: BANNED_CALL|TOO_SLOW
# Reads the lengths on the host, one number at a time: nothing that computes, but a trip to the device for each of them.

import torch
import triton
import triton.language as tl


@triton.jit
def _decode_kernel(
    q_ptr, k_ptr, v_ptr, block_table_ptr, lengths_ptr, partial_ptr, lse_ptr,
    scale, n_splits, max_blocks, pool_block_stride, pool_token_stride, pool_head_stride,
    GROUP: tl.constexpr, GROUP_ROWS: tl.constexpr, HEAD_DIM: tl.constexpr,
    BLOCK_SIZE: tl.constexpr, SPLIT: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    kv_head, split, sequence = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    length = tl.load(lengths_ptr + sequence)
    start = split * SPLIT
    if start >= length:
        return
    end = min(start + SPLIT, length)
    rows, dims = tl.arange(0, GROUP_ROWS), tl.arange(0, HEAD_DIM)
    heads = sequence * tl.num_programs(0) * GROUP + kv_head * GROUP + rows
    is_query = rows < GROUP
    q = tl.load(q_ptr + heads[:, None] * HEAD_DIM + dims, mask=is_query[:, None], other=0.0)
    row_max = tl.full((GROUP_ROWS,), -float("inf"), dtype=tl.float32)
    row_sum = tl.zeros((GROUP_ROWS,), dtype=tl.float32)
    accumulator = tl.zeros((GROUP_ROWS, HEAD_DIM), dtype=tl.float32)
    for tile_start in range(start, end, TILE):
        tokens = tile_start + tl.arange(0, TILE)
        is_live = tokens < end
        blocks = tl.load(block_table_ptr + sequence * max_blocks + tokens // BLOCK_SIZE, mask=is_live, other=0)
        slots = blocks.to(tl.int64) * pool_block_stride + tokens % BLOCK_SIZE * pool_token_stride
        places = (slots + kv_head * pool_head_stride)[:, None] + dims
        k = tl.load(k_ptr + places, mask=is_live[:, None], other=0.0)
        v = tl.load(v_ptr + places, mask=is_live[:, None], other=0.0)
        scores = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
        scores = tl.where(is_live, scores, -float("inf"))
        new_max = tl.maximum(row_max, tl.max(scores, axis=1))
        powers = tl.exp(scores - new_max[:, None])
        correction = tl.exp(row_max - new_max)
        row_sum = row_sum * correction + tl.sum(powers, axis=1)
        accumulator = accumulator * correction[:, None]
        accumulator = tl.dot(powers.to(v.dtype), v, accumulator, input_precision="ieee")
        row_max = new_max
    places = heads * n_splits + split
    tl.store(partial_ptr + places[:, None] * HEAD_DIM + dims, accumulator / row_sum[:, None], mask=is_query[:, None])
    tl.store(lse_ptr + places, row_max + tl.log(row_sum), mask=is_query)


@triton.jit
def _combine_kernel(
    partial_ptr, lse_ptr, lengths_ptr, out_ptr, n_splits,
    HEAD_DIM: tl.constexpr, SPLIT: tl.constexpr, N_SPLITS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(1) * tl.num_programs(0) + tl.program_id(0)
    n_live = tl.cdiv(tl.load(lengths_ptr + tl.program_id(1)), SPLIT)
    splits, dims = tl.arange(0, N_SPLITS), tl.arange(0, HEAD_DIM)
    is_live = splits < n_live
    lse = tl.load(lse_ptr + row * n_splits + splits, mask=is_live, other=-float("inf"))
    places = (row * n_splits + splits)[:, None] * HEAD_DIM + dims
    partial = tl.load(partial_ptr + places, mask=is_live[:, None], other=0.0)
    weights = tl.exp(lse - tl.max(lse, axis=0))
    result = tl.sum(weights[:, None] * partial, axis=0) / tl.sum(weights, axis=0)
    tl.store(out_ptr + row * HEAD_DIM + dims, result)


def decode(q, k_pool, v_pool, block_table, lengths):
    n_sequences, n_heads, head_dim = q.shape
    block_size, n_kv_heads = k_pool.shape[1:3]
    max_blocks = block_table.shape[1]
    split = 512
    n_splits = triton.cdiv(max(int(n) for n in lengths), split)
    out = torch.empty_like(q)
    partial = torch.empty((n_sequences, n_heads, n_splits, head_dim), dtype=torch.float32, device=q.device)
    lse = torch.empty((n_sequences, n_heads, n_splits), dtype=torch.float32, device=q.device)
    group = n_heads // n_kv_heads
    _decode_kernel[(n_kv_heads, n_splits, n_sequences)](
        q, k_pool, v_pool, block_table, lengths, partial, lse,
        head_dim**-0.5, n_splits, max_blocks, *k_pool.stride()[:3],
        GROUP=group, GROUP_ROWS=max(16, triton.next_power_of_2(group)), HEAD_DIM=head_dim,
        BLOCK_SIZE=block_size, SPLIT=split, TILE=64, num_stages=2,
    )  # fmt: skip
    _combine_kernel[(n_heads, n_sequences)](
        partial, lse, lengths, out, n_splits,
        HEAD_DIM=head_dim, SPLIT=split, N_SPLITS=triton.next_power_of_2(n_splits),
    )  # fmt: skip
    return out
