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


def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool) -> torch.Tensor:
    """Return softmax(q·kᵀ / √D)·v of each head, [B, H, N, D]."""
    # TODO 1: for a block of queries, go through the keys block by block with a running maximum, sum and output.
    # TODO 2: causal: leave out the blocks that no query sees, and mask inside the one that only some see in full.
    raise NotImplementedError("ex_22: write attention()")


def window_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, window: int) -> torch.Tensor:
    """Return causal attention to the last `window` keys of each query, [B, H, N, D]."""
    # TODO 3: which keys does a block of queries see? What does a tile do to a row that sees none of its keys?
    raise NotImplementedError("ex_22: write window_attention()")


def linear_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Return causal attention with weights φ(q_i)·φ(k_j), [B, H, N, D]."""
    # TODO 4: carry S and z from block to block; inside a block, some keys come after a query.
    raise NotImplementedError("ex_22: write linear_attention()")
