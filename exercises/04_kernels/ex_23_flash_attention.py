"""ex_23 Flash attention forward: scores that never see memory, with grouped-query heads.

Task: write `flash(q, k, v, causal)` as one Triton kernel launch. No scaled_dot_product_attention, matmul or softmax.

    s[i, j] = q[i] · k[j] / √D      for all j; where causal, for j ≤ i only, and the other keys don't exist
    lse[i]  = log Σ_j exp(s[i, j])
    out[i]  = Σ_j exp(s[i, j] − lse[i]) · v[j]

Signature
    q       [B, Hq, N, D]   float16 or bfloat16, read only. D is 64 or 128, N any size from 1 up.
    k, v    [B, Hkv, N, D]  same dtype, read only. Hq is a multiple of Hkv; query head h reads key head h // (Hq / Hkv).
    causal                  a bool.
    out     [B, Hq, N, D]   same dtype, newly allocated. Products and the sum of exp are added up in float32.
    lse     [B, Hq, N]      float32, newly allocated: the natural logarithm, as a backward pass takes it.
    q, k and v may each be strided: a projection returns [B, N, H, D], and this is its transpose(1, 2). D is always
    contiguous; addresses and the other strides are multiples of 16 bytes, as tensor descriptors demand.

The bound: 4·N²·D operations a head (half of them if causal) on 4·N·D values, so arithmetic decides, as long as the N²
scores stay on the chip. Keys and values pass by in tiles; the softmax is kept online, a running maximum and a running
sum for each query. Tensor cores then wait for all that is no product (exp, masks, rescaling, loads): overlap it.

How it is graded: N around a tile; grouped heads; views; scores of thousands, far below 0, or growing along the keys.
q and out once, k and v once for every 64 queries; causal: no tile of 128 × 128 above the diagonal is loaded or
multiplied; no tensor larger than out. On a GPU, bfloat16, full and causal: the speed-up over torch's best attention.

Read: T. Dao, "FlashAttention-2", section 3; J. Shah et al., "FlashAttention-3", section 3; M. Milakov, N. Gimelshein,
"Online normalizer calculation for softmax"; Triton tutorial 06 (fused attention).
"""

import math

import torch
import triton
import triton.language as tl

LOG2_E = math.log2(math.e)
"""exp(x) = 2^(x·log₂e), and 2ˣ is what the hardware has: the factor goes into the scale, which is there anyway."""


@triton.jit
def _flash_kernel(
    D: tl.constexpr, TILE: tl.constexpr, CAUSAL: tl.constexpr,
):  # fmt: skip
    # TODO 1: find this program's batch, query head and tile of queries, and its key head; load the queries.
    # TODO 2: walk along the keys that these queries may see; keep a maximum, a sum and an accumulator for each query.
    # TODO 3: spend no time on masks in tiles that need none.
    # TODO 4: store the tile of out, and lse.
    pass


def flash(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Return softmax(q kᵀ/√D) v, like q [B, Hq, N, D], and the logarithms of the softmax's sums [B, Hq, N]."""
    # TODO 5: allocate the outputs, choose tile sizes, launch a program for each tile of queries of each head.
    raise NotImplementedError("ex_23: write flash()")
