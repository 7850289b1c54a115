"""ex_10 INT4 group-128 GEMV: a quarter of the bytes, unpacked in registers, by as few instructions as you can find.

Task: write `pack(w)`, which quantizes weights and packs them, eight to an int32, and `gemv(x, w4, scales)`, which
multiplies one token by them: at most two Triton launches, no torch arithmetic. `pack` may be plain PyTorch.

    s[n, g] = max |w[n, k]| / 7 over group g, rounded to float16      128 neighbours in a row of w are a group
    q[n, k] = w[n, k] / s[n, g], rounded to an integer (ties to even), no further from 0 than 7; 0 where s is 0
    out[n]  = Σ_g s[n, g] · Σ_(k in g) q[n, k] · x[k]                 in float32, rounded once

Signatures
    pack(w) -> (w4, scales)       w [N, K] float16, contiguous, finite; K is a multiple of 128.
    gemv(x, w4, scales) -> out    x [1, K] float16; out [1, N] float16, newly allocated. All are contiguous, read only.
    scales  [N, K/128]  float16
    w4      [N, K/8]    int32, 16 words a group. Word i of a group holds its elements i, i + 16, i + 32 … i + 112, the
                        first in bits 0-3, the last in bits 28-31, each as the code q + 8. (So code 8 is a zero; code 0
                        is −8, which pack never writes, and gemv may meet.)

The bound: each weight is used once, for two operations. A group takes 64 bytes and 2 for its scale, 4.125 bits a weight
in place of 16: memory could deliver them 3.9 times as fast. But then they arrive so fast that a card has time for about
four instructions on each, and a shift, a mask, a subtraction, a conversion and a multiplication are five.

How it is graded: packed words bit for bit; groups of zeros, of tiny weights; N and K around tiles; sums that float16
can't hold. Counted: each code and each scale read once, nothing stored but out (and partial sums, if you split K among
programs: 16 at most). On a GPU, the speed-up over F.linear in float16.

Read: E. Frantar et al., "MARLIN: Mixed-Precision Auto-Regressive Parallel Inference on Large Language Models" (2024);
Y. J. Kim et al., "Who Says Elephants Can't Run" (2022), section 3 on int4 conversion; J. Lin et al., "AWQ" (2023).
"""

import torch
import triton
import triton.language as tl


def pack(w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the codes of w [N, K], int32 [N, K/8], and the scales of its groups, float16 [N, K/128]."""
    # TODO 1: one scale for each group. Divide by what is stored, not by what it was before it was rounded.
    # TODO 2: codes, then eight of them into each word.
    raise NotImplementedError("ex_10: write pack()")


@triton.jit
def _gemv_kernel(x_ptr, w4_ptr, scales_ptr, out_ptr, n_rows, n_groups, BLOCK_N: tl.constexpr, BLOCK_G: tl.constexpr):
    # TODO 3: load words and scales of some rows and groups, each once.
    # TODO 4: turn codes into numbers, multiply them by their elements of x, and add up in float32.
    # TODO 5: apply the scales; one sum for each row is left.
    pass


def gemv(x: torch.Tensor, w4: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """Return x [1, K] times the transposed weights, [1, N]."""
    # TODO 6: allocate the output, choose what a program works on, launch.
    raise NotImplementedError("ex_10: write gemv()")
