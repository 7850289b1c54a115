# expect: PROVISIONAL
# expect-gpu: TOO_SLOW
# One program for each sequence and key head, which stores its result itself: as little work as possible, and with few
# sequences nearly all of a card looks on.

import torch
import triton
import triton.language as tl


@triton.jit
def _decode_kernel(
    q_ptr, k_ptr, v_ptr, block_table_ptr, lengths_ptr, out_ptr,
    scale, max_blocks, pool_block_stride, pool_token_stride, pool_head_stride,
    GROUP: tl.constexpr, GROUP_ROWS: tl.constexpr, HEAD_DIM: tl.constexpr,
    BLOCK_SIZE: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    kv_head, sequence = tl.program_id(0), tl.program_id(1)
    length = tl.load(lengths_ptr + sequence)
    rows, dims = tl.arange(0, GROUP_ROWS), tl.arange(0, HEAD_DIM)
    heads = sequence * tl.num_programs(0) * GROUP + kv_head * GROUP + rows
    is_query = rows < GROUP
    q = tl.load(q_ptr + heads[:, None] * HEAD_DIM + dims, mask=is_query[:, None], other=0.0)
    row_max = tl.full((GROUP_ROWS,), -float("inf"), dtype=tl.float32)
    row_sum = tl.zeros((GROUP_ROWS,), dtype=tl.float32)
    accumulator = tl.zeros((GROUP_ROWS, HEAD_DIM), dtype=tl.float32)
    for tile_start in range(0, length, TILE):
        tokens = tile_start + tl.arange(0, TILE)
        is_live = tokens < length
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
    result = accumulator / row_sum[:, None]
    tl.store(out_ptr + heads[:, None] * HEAD_DIM + dims, result, mask=is_query[:, None])


def decode(q, k_pool, v_pool, block_table, lengths):
    n_sequences, n_heads, head_dim = q.shape
    block_size, n_kv_heads = k_pool.shape[1:3]
    max_blocks = block_table.shape[1]
    out = torch.empty_like(q)
    group = n_heads // n_kv_heads
    _decode_kernel[(n_kv_heads, n_sequences)](
        q, k_pool, v_pool, block_table, lengths, out,
        head_dim**-0.5, max_blocks, *k_pool.stride()[:3],
        GROUP=group, GROUP_ROWS=max(16, triton.next_power_of_2(group)), HEAD_DIM=head_dim,
        BLOCK_SIZE=block_size, TILE=64, num_stages=2,
    )  # fmt: skip
    return out
