# expect: PROVISIONAL
# expect-gpu: PASSED|TOO_SLOW
# Both products the other way round, with tokens and dimensions as rows: the group's few queries are columns, of which
# tensor cores need fewer. A tile is walked block by block of the pool, whose number one load brings.

import torch
import triton
import triton.language as tl


@triton.jit
def _decode_kernel(
    q_ptr, k_ptr, v_ptr, table_ptr, lengths_ptr, partial_ptr, scale, n_splits, max_blocks,
    block_stride, token_stride, head_stride, GROUP: tl.constexpr, COLUMNS: tl.constexpr, D: tl.constexpr,
    BLOCK_SIZE: tl.constexpr, ROWS: tl.constexpr, BLOCKS_PER_SPLIT: tl.constexpr,
):  # fmt: skip
    split, kv_head, sequence = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    length = tl.load(lengths_ptr + sequence)
    first = split * BLOCKS_PER_SPLIT
    last = min(first + BLOCKS_PER_SPLIT, tl.cdiv(length, BLOCK_SIZE))
    if first >= last:
        return
    columns, dims, slots = tl.arange(0, COLUMNS), tl.arange(0, D), tl.arange(0, ROWS)
    heads = (sequence * tl.num_programs(1) + kv_head) * GROUP + columns
    has_query = columns < GROUP
    queries = tl.load(q_ptr + heads[None, :] * D + dims[:, None], mask=has_query[None, :], other=0.0)
    # Lowest finite value rather than −inf: rows are several blocks' worth of slots at times, none of them live.
    highest = tl.full((COLUMNS,), -1e30, dtype=tl.float32)
    total = tl.zeros((COLUMNS,), dtype=tl.float32)
    weighted = tl.zeros((D, COLUMNS), dtype=tl.float32)
    for block in range(first, last):
        is_live = (slots < BLOCK_SIZE) & (block * BLOCK_SIZE + slots < length)
        at = tl.load(table_ptr + sequence * max_blocks + block).to(tl.int64) * block_stride + kv_head * head_stride
        places = at + slots[:, None] * token_stride + dims[None, :]
        keys = tl.load(k_ptr + places, mask=is_live[:, None], other=0.0)
        scores = tl.dot(keys, queries, input_precision="ieee") * scale
        scores = tl.where(is_live[:, None], scores, -float("inf"))
        new_highest = tl.maximum(highest, tl.max(scores, axis=0))
        powers = tl.exp2(scores - new_highest[None, :])
        correction = tl.exp2(highest - new_highest)
        values = tl.load(v_ptr + places, mask=is_live[:, None], other=0.0)
        total = total * correction + tl.sum(powers, axis=0)
        weighted *= correction[None, :]
        weighted += tl.dot(tl.trans(values), powers.to(values.dtype), input_precision="ieee")
        highest = new_highest
    # D + 2 numbers a head and split, in one row: what is left to divide, what to divide it by, and the maximum.
    rows = (heads * n_splits + split) * (D + 2)
    tl.store(partial_ptr + rows[None, :] + dims[:, None], weighted, mask=has_query[None, :])
    tl.store(partial_ptr + rows + D, total, mask=has_query)
    tl.store(partial_ptr + rows + D + 1, highest, mask=has_query)


@triton.jit
def _combine_kernel(partial_ptr, lengths_ptr, out_ptr, n_splits, SPLIT: tl.constexpr, D: tl.constexpr):
    row = tl.program_id(0) * tl.num_programs(1) + tl.program_id(1)
    n_live = tl.cdiv(tl.load(lengths_ptr + tl.program_id(0)), SPLIT)
    row_ptr = partial_ptr + row * n_splits * (D + 2)
    dims = tl.arange(0, D)
    result = tl.zeros((D,), dtype=tl.float32)
    total = tl.full((), 0.0, dtype=tl.float32)
    highest = tl.full((), -1e30, dtype=tl.float32)
    for split in range(n_live):
        split_ptr = row_ptr + split * (D + 2)
        new_highest = tl.maximum(highest, tl.load(split_ptr + D + 1))
        correction, weight = tl.exp2(highest - new_highest), tl.exp2(tl.load(split_ptr + D + 1) - new_highest)
        result = result * correction + weight * tl.load(split_ptr + dims)
        total = total * correction + weight * tl.load(split_ptr + D)
        highest = new_highest
    tl.store(out_ptr + row * D + dims, result / total)


def decode(q, k_pool, v_pool, block_table, lengths):
    n_sequences, n_heads, d = q.shape
    block_size, n_kv_heads = k_pool.shape[1:3]
    max_blocks = block_table.shape[1]
    blocks_per_split = triton.cdiv(512, block_size)
    n_splits = triton.cdiv(max_blocks, blocks_per_split)
    partial = torch.empty((n_sequences, n_heads, n_splits, d + 2), dtype=torch.float32, device=q.device)
    out = torch.empty_like(q)
    group = n_heads // n_kv_heads
    _decode_kernel[(n_splits, n_kv_heads, n_sequences)](
        q, k_pool, v_pool, block_table, lengths, partial, 1.4426950408889634 / d**0.5, n_splits, max_blocks,
        *k_pool.stride()[:3], GROUP=group, COLUMNS=max(16, triton.next_power_of_2(group)), D=d, BLOCK_SIZE=block_size,
        ROWS=max(16, triton.next_power_of_2(block_size)), BLOCKS_PER_SPLIT=blocks_per_split, num_warps=2, num_stages=4,
    )  # fmt: skip
    _combine_kernel[(n_sequences, n_heads)](
        partial, lengths, out, n_splits, SPLIT=blocks_per_split * block_size, D=d, num_warps=1
    )
    return out
