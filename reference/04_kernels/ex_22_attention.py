"""ex_22 Attention from scratch: a softmax over scores that are never all there at once.

Task: write `attention(q, k, v, causal)`, `window_attention(q, k, v, window)` and `linear_attention(q, k, v)`, block by
block, of torch's products, exp, maxima and sums. No torch.softmax, no scaled_dot_product_attention.

    attention   out_i = Σ_j e^(s_ij − m_i)·v_j / Σ_j e^(s_ij − m_i)     s_ij = q_i·k_j / √D     m_i = max_j s_ij
                over all keys j; where `causal`, over those with j ≤ i
    window      the same over the last `window` keys: i − window < j ≤ i
    linear      out_i = φ(q_i)ᵀ·S_i / φ(q_i)ᵀ·z_i      S_i = Σ_(j≤i) φ(k_j)·v_jᵀ [D, D]      z_i = Σ_(j≤i) φ(k_j) [D]
                φ(x) = elu(x) + 1: x + 1 where x > 0, e^x elsewhere. Never 0, so the denominator needs no epsilon

Signature
    q, k, v  [B, H, N, D]  float32, float16 or bfloat16, all alike; read only, with any strides: heads are often views
                           of one projection [B, N, H, D]. Every size from 1 up.
    causal   bool          window  int from 1 up, also more than N
    out      [B, H, N, D]  same dtype, newly allocated; computed in float32 inside, scores and weights too

The bound: N² scores a head, for 4·N·D numbers that come and go: past N = 4·D the scores outweigh all the rest. So cut
both axes into blocks of at most 128, and see one tile of scores at a time. A softmax can be had in pieces: keep of each
query the maximum m so far, the sum l and the weighted values o, and correct the last two when the maximum grows.

    m' = max(m, max_j s_j)      l' = l·e^(m − m') + Σ_j e^(s_j − m')      o' = o·e^(m − m') + Σ_j e^(s_j − m')·v_j

Linear attention keeps no scores of the past at all: S and z, of one size for any N, are what is left of it.

How it is graded: N = 1 and around a block, strided views, scores that grow from block to block, that pass ±10³, that
are all far below 0; φ of very negative numbers. With a window, a block of keys that no query of a block sees is not to
be touched: there may be NaN in it. Counted: the largest tensor of yours, and the most that all of them hold at one
time. For attention the largest is q in float32, or a tile of 128×128 scores a head; the other two may have N rows of
scores for one block of keys.

Read: M. Milakov, N. Gimelshein, "Online normalizer calculation for softmax"; M. Rabe, C. Staats, "Self-attention Does
Not Need O(n²) Memory"; A. Katharopoulos et al., "Transformers are RNNs" (linear attention).
"""

import torch

# BEGIN SOLUTION
BLOCK = 128
"""Queries and keys of a tile."""
# END SOLUTION


def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool) -> torch.Tensor:
    """Return softmax(q·kᵀ / √D)·v of each head, [B, H, N, D]."""
    # BEGIN PROMPT
    # # TODO 1: for a block of queries, go through the keys block by block with a running maximum, sum and output.
    # # TODO 2: causal: leave out the blocks that no query sees, and mask inside the one that only some see in full.
    # raise NotImplementedError("ex_22: write attention()")
    # END PROMPT
    # BEGIN SOLUTION
    out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    n = q.shape[2]
    for start in range(0, n, BLOCK):
        rows = range(start, min(start + BLOCK, n))
        # Keys past the last query of the block aren't masked, they are left out: half of all the work.
        keys = range(rows.stop if causal else n)
        # Assignment rounds to out's dtype: once, at the very end.
        out[:, :, start : rows.stop] = _attend(q, k, v, rows, keys, window=n if causal else None)
    return out
    # END SOLUTION


# BEGIN SOLUTION
def _attend(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, rows: range, keys: range, window: int | None
) -> torch.Tensor:
    """Return the attention of some queries to some keys, float32 [B, H, len(rows), D].

    Args:
        q, k, v: all of them.
        rows: the queries.
        keys: the keys that at least one of these queries sees; each query must see one of the first BLOCK.
        window: how many keys a query sees, itself the last; None where it sees all of them.
    """
    # √D is divided out of q once, rather than out of every score.
    q = q[:, :, rows.start : rows.stop].float() * q.shape[-1] ** -0.5
    positions = torch.arange(rows.start, rows.stop, device=q.device)[:, None]
    # Not 0: scores may all lie far below it, and exp(s − 0) would be 0 for every one of them.
    row_max = torch.full((*q.shape[:3], 1), -torch.inf, device=q.device)
    row_sum = torch.zeros_like(row_max)
    acc = torch.zeros_like(q)
    for start in range(keys.start, keys.stop, BLOCK):
        stop = min(start + BLOCK, keys.stop)
        # Converted a block at a time: copies of all of k and v would be the largest tensors here.
        scores = q @ k[:, :, start:stop].float().transpose(-2, -1)
        if window is not None:
            others = torch.arange(start, stop, device=q.device)
            scores.masked_fill_((others > positions) | (others <= positions - window), -torch.inf)
        # Finite from the first tile on, since every row sees a key there. Else −inf − (−inf) would make NaN of it.
        new_max = torch.maximum(row_max, scores.amax(dim=-1, keepdim=True))
        weights = torch.exp(scores - new_max)
        # All that was summed up so far was taken off the old maximum. 0 in the first round, 1 where it hasn't grown.
        correction = torch.exp(row_max - new_max)
        row_sum = row_sum * correction + weights.sum(dim=-1, keepdim=True)
        acc = acc * correction + weights @ v[:, :, start:stop].float()
        row_max = new_max
    # One division a row at the end, instead of one a tile.
    return acc / row_sum


# END SOLUTION
def window_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, window: int) -> torch.Tensor:
    """Return causal attention to the last `window` keys of each query, [B, H, N, D]."""
    # BEGIN PROMPT
    # # TODO 3: which keys does a block of queries see? What does a tile do to a row that sees none of its keys?
    # raise NotImplementedError("ex_22: write window_attention()")
    # END PROMPT
    # BEGIN SOLUTION
    out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    n = q.shape[2]
    for start in range(0, n, BLOCK):
        rows = range(start, min(start + BLOCK, n))
        # From the first query's first key on. In blocks counted from key 0, the first tile might hold nothing for the
        # last query; like this there is always something, as a tile has no fewer keys than queries.
        keys = range(max(0, start - window + 1), rows.stop)
        out[:, :, start : rows.stop] = _attend(q, k, v, rows, keys, window)
    return out
    # END SOLUTION


def linear_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Return causal attention with weights φ(q_i)·φ(k_j), [B, H, N, D]."""
    # BEGIN PROMPT
    # # TODO 4: carry S and z from block to block; inside a block, some keys come after a query.
    # raise NotImplementedError("ex_22: write linear_attention()")
    # END PROMPT
    # BEGIN SOLUTION
    out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    batch, heads, n, d = q.shape
    state = torch.zeros((batch, heads, d, d), device=q.device)
    norm = torch.zeros((batch, heads, d, 1), device=q.device)
    for start in range(0, n, BLOCK):
        rows = slice(start, start + BLOCK)
        phi_q, phi_k, values = _phi(q[:, :, rows]), _phi(k[:, :, rows]), v[:, :, rows].float()
        # This block's keys one by one, all before it at once: (φ(q)·φ(k)ᵀ)·v is φ(q)·(φ(k)ᵀ·v), and that has one size.
        weights = (phi_q @ phi_k.transpose(-2, -1)).tril()
        total = weights.sum(dim=-1, keepdim=True) + phi_q @ norm
        out[:, :, rows] = (weights @ values + phi_q @ state) / total
        state += phi_k.transpose(-2, -1) @ values
        norm += phi_k.sum(dim=2).unsqueeze(-1)
    return out


def _phi(x: torch.Tensor) -> torch.Tensor:
    # elu(x) + 1 as it stands is (e^x − 1) + 1, in which a small e^x is lost: at x = −20 nothing is left of it.
    x = x.float()
    return torch.where(x > 0, x + 1, torch.exp(x))
    # END SOLUTION
