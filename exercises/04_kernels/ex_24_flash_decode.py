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
    # TODO 1: find this program's sequence, key head and tokens; leave if there are none.
    # TODO 2: walk along the tokens: look up where they lie, load keys and values once for the whole group of queries.
    # TODO 3: keep a running maximum, sum and accumulator for each query; what must a token that isn't there hold?
    # TODO 4: store what the combine step needs, and nothing that it doesn't.
    pass


def decode(
    q: torch.Tensor, k_pool: torch.Tensor, v_pool: torch.Tensor, block_table: torch.Tensor, lengths: torch.Tensor
) -> torch.Tensor:
    """Return the attention [B, Hq, D] of one query a head over each sequence's keys and values in the pools."""
    # TODO 5: choose a split, from shapes alone; allocate the output and the partial results.
    # TODO 6: launch a program for each key head of each split, then the kernel that combines (yours to add).
    raise NotImplementedError("ex_24: write decode()")
