"""ex_24 Flash-decode over a paged KV cache: one query a sequence, tens of thousands of keys, and a card to fill.

Task: write `decode(q, k_pool, v_pool, block_table, lengths)` in Triton, with at most two launches. It is the attention
of one generated token: each sequence b has one query a head, and lengths[b] keys and values in memory, in blocks that
lie anywhere in a pool. No torch arithmetic, no scaled_dot_product_attention.

    out[b, h] = Σ_t p_t · V[b, t, g]        p = softmax over t < lengths[b] of (q[b, h] · K[b, t, g]) / √D
    K[b, t, g] = k_pool[block_table[b, t // block_size], t % block_size, g]        V alike; g = h // (Hq // Hkv)

Signature
    q               [B, Hq, D]  float32, float16 or bfloat16, contiguous, read only, as all of these. D is 64 or 128.
    k_pool, v_pool  [n_blocks, block_size, Hkv, D]  q's dtype. Neighbours along D are neighbours in memory; the other
                    strides are the tensor's own, and the same for both. Hkv divides Hq. block_size is any from 1 up.
    block_table     [B, max_blocks]  int32, contiguous.
    lengths         [B]  int32, from 1 to max_blocks · block_size.
    out             [B, Hq, D]  q's dtype, newly allocated; sums and exponentials in float32.

What no token of b uses holds garbage: the table's entries after b's last block are no block numbers, and blocks and
slots without a live token hold NaN, as recycled memory may (0 · NaN is NaN). The host must not read lengths or table,
since it would wait for the device: the grid comes from shapes alone, and programs without tokens leave at once.

The bound: 4·Hq·D operations a token on 2·Hkv·D values: memory decides, and what must move is every live key and value,
2·Σ lengths·Hkv·D·itemsize bytes. For that, query heads that share a key must share its load, and there must be enough
programs: one for each sequence and key head leaves most of a card idle, and the longest sequence decides. So cut the
sequences into splits of equally many tokens, keep (max, sum, accumulator) of each, and combine them in a second launch.

How it is graded: ragged lengths, any group Hq // Hkv and block_size, scores that overflow exp; every live key and value
loaded exactly once, at most 2 launches, no more memory than out and float32 partial results of D + 2 values for each
query head and 128 slots of the table; on a GPU, the share of this card's copy rate, for many sequences and for few.

Read: T. Dao et al., "Flash-Decoding for long-context inference"; W. Kwon et al., "PagedAttention" (arXiv 2309.06180).
"""

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
    # BEGIN PROMPT
    # # TODO 1: find this program's sequence, key head and tokens; leave if there are none.
    # # TODO 2: walk along the tokens: look up where they lie, load keys and values once for the whole group of queries.
    # # TODO 3: keep a running maximum, sum and accumulator for each query; what must a token that isn't there hold?
    # # TODO 4: store what the combine step needs, and nothing that it doesn't.
    # pass
    # END PROMPT
    # BEGIN SOLUTION
    # Neighbouring ids are neighbouring key heads: at one time, they read the same rows of the pool, each its own part.
    # int64 where a number is multiplied by strides: pools of more than 2³¹ values are common.
    kv_head, split, sequence = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
    # The grid has room for the longest sequence that fits the table. Leaving costs next to nothing, and the splits that
    # stay are equally long, whichever sequence they belong to: that is what balances ragged lengths.
    length = tl.load(lengths_ptr + sequence)
    start = split * SPLIT
    if start >= length:
        return
    end = min(start + SPLIT, length)

    # tl.dot wants 16 rows at least, and a group is often smaller. The other rows are zeros that are multiplied along:
    # the tensor cores have the time, since they wait for memory anyway.
    rows, dims = tl.arange(0, GROUP_ROWS), tl.arange(0, HEAD_DIM)
    heads = (sequence * tl.num_programs(0) + kv_head) * GROUP + rows
    is_query = rows < GROUP
    q = tl.load(q_ptr + heads[:, None] * HEAD_DIM + dims, mask=is_query[:, None], other=0.0)

    row_max = tl.full((GROUP_ROWS,), -float("inf"), dtype=tl.float32)
    row_sum = tl.zeros((GROUP_ROWS,), dtype=tl.float32)
    accumulator = tl.zeros((GROUP_ROWS, HEAD_DIM), dtype=tl.float32)
    for tile_start in range(start, end, TILE):
        tokens = tile_start + tl.arange(0, TILE)
        is_live = tokens < end
        # Each token looks up its own block, so a tile may span several or lie within one. Neighbours ask for the same
        # entry of the table, which is then in the L1 cache.
        blocks = tl.load(block_table_ptr + sequence * max_blocks + tokens // BLOCK_SIZE, mask=is_live, other=0)
        slots = blocks.to(tl.int64) * pool_block_stride + tokens % BLOCK_SIZE * pool_token_stride
        places = (slots + kv_head * pool_head_stride)[:, None] + dims
        # Dead slots are never touched: they may hold NaN, which no weight of 0 makes harmless.
        k = tl.load(k_ptr + places, mask=is_live[:, None], other=0.0)
        v = tl.load(v_ptr + places, mask=is_live[:, None], other=0.0)

        scores = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
        scores = tl.where(is_live, scores, -float("inf"))
        # The first token of a tile is always live, so the maximum is finite, and −inf − −inf can't happen.
        new_max = tl.maximum(row_max, tl.max(scores, axis=1))
        weights = tl.exp(scores - new_max[:, None])
        correction = tl.exp(row_max - new_max)
        row_sum = row_sum * correction + tl.sum(weights, axis=1)
        accumulator = accumulator * correction[:, None]
        accumulator = tl.dot(weights.to(v.dtype), v, accumulator, input_precision="ieee")
        row_max = new_max

    # A normalised result, and one number that says how much it weighs: the logarithm of the sum, maximum included.
    places = heads * n_splits + split
    tl.store(partial_ptr + places[:, None] * HEAD_DIM + dims, accumulator / row_sum[:, None], mask=is_query[:, None])
    tl.store(lse_ptr + places, row_max + tl.log(row_sum), mask=is_query)
    # END SOLUTION


# BEGIN SOLUTION
@triton.jit
def _combine_kernel(
    partial_ptr, lse_ptr, lengths_ptr, out_ptr, n_splits,
    HEAD_DIM: tl.constexpr, SPLIT: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    # One program for each query head. It is the same recurrence as above, with splits for tokens.
    head, sequence = tl.program_id(0), tl.program_id(1).to(tl.int64)
    row = sequence * tl.num_programs(0) + head
    dims = tl.arange(0, HEAD_DIM)
    # Nobody wrote anything of the splits past the sequence's end.
    n_live = tl.cdiv(tl.load(lengths_ptr + sequence), SPLIT)
    lse_max = tl.full((), -float("inf"), dtype=tl.float32)
    total = tl.zeros((), dtype=tl.float32)
    accumulator = tl.zeros((HEAD_DIM,), dtype=tl.float32)
    for tile_start in range(0, n_live, TILE):
        splits = tile_start + tl.arange(0, TILE)
        is_live = splits < n_live
        places = row * n_splits + splits
        lse = tl.load(lse_ptr + places, mask=is_live, other=-float("inf"))
        partial = tl.load(partial_ptr + places[:, None] * HEAD_DIM + dims, mask=is_live[:, None], other=0.0)
        new_max = tl.maximum(lse_max, tl.max(lse, axis=0))
        weights = tl.exp(lse - new_max)
        correction = tl.exp(lse_max - new_max)
        total = total * correction + tl.sum(weights, axis=0)
        accumulator = accumulator * correction + tl.sum(weights[:, None] * partial, axis=0)
        lse_max = new_max
    tl.store(out_ptr + row * HEAD_DIM + dims, accumulator / total)


# END SOLUTION
def decode(
    q: torch.Tensor, k_pool: torch.Tensor, v_pool: torch.Tensor, block_table: torch.Tensor, lengths: torch.Tensor
) -> torch.Tensor:
    """Return the attention [B, Hq, D] of one query a head over each sequence's keys and values in the pools."""
    # BEGIN PROMPT
    # # TODO 5: choose a split, from shapes alone; allocate the output and the partial results.
    # # TODO 6: launch a program for each key head of each split, then the kernel that combines (yours to add).
    # raise NotImplementedError("ex_24: write decode()")
    # END PROMPT
    # BEGIN SOLUTION
    n_sequences, n_heads, head_dim = q.shape
    block_size, n_kv_heads = k_pool.shape[1:3]
    max_blocks = block_table.shape[1]
    # Long enough that partial results are a few hundredths of the traffic at most, short enough that there are many
    # programs, and that the last ones to finish don't keep the card waiting.
    split = 512
    n_splits = triton.cdiv(max_blocks * block_size, split)
    out = torch.empty_like(q)
    partial = torch.empty((n_sequences, n_heads, n_splits, head_dim), dtype=torch.float32, device=q.device)
    lse = torch.empty((n_sequences, n_heads, n_splits), dtype=torch.float32, device=q.device)
    group = n_heads // n_kv_heads
    _decode_kernel[(n_kv_heads, n_splits, n_sequences)](
        q, k_pool, v_pool, block_table, lengths, partial, lse,
        head_dim**-0.5, n_splits, max_blocks, *k_pool.stride()[:3],
        GROUP=group, GROUP_ROWS=max(16, triton.next_power_of_2(group)), HEAD_DIM=head_dim,
        BLOCK_SIZE=block_size, SPLIT=split, TILE=64, num_warps=4, num_stages=2,
    )  # fmt: skip
    _combine_kernel[(n_heads, n_sequences)](
        partial, lse, lengths, out, n_splits, HEAD_DIM=head_dim, SPLIT=split, TILE=64, num_warps=4
    )
    return out
    # END SOLUTION
