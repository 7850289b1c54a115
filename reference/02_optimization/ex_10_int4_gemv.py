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
    # BEGIN PROMPT
    # # TODO 1: one scale for each group. Divide by what is stored, not by what it was before it was rounded.
    # # TODO 2: codes, then eight of them into each word.
    # raise NotImplementedError("ex_10: write pack()")
    # END PROMPT
    # BEGIN SOLUTION
    n_rows = len(w)
    groups = w.view(n_rows, -1, 128).float()
    scales = (groups.abs().amax(dim=2) / 7).half()
    # The rounded scale: it is what the codes will be multiplied by. Where it is 0, the quotient is NaN or infinite.
    steps = scales.float()[:, :, None]
    q = torch.where(steps > 0, groups / steps, 0.0).round().clamp(-7, 7)
    # [N, G, 8, 16]: code j of word i. Their bits don't overlap, so a sum is an or; the last code reaches the sign bit.
    codes = (q.to(torch.int32) + 8).view(n_rows, -1, 8, 16)
    shifts = 4 * torch.arange(8, dtype=torch.int32, device=w.device)[:, None]
    return (codes << shifts).sum(dim=2, dtype=torch.int32).view(n_rows, -1), scales
    # END SOLUTION


@triton.jit
def _gemv_kernel(x_ptr, w4_ptr, scales_ptr, out_ptr, n_rows, n_groups, BLOCK_N: tl.constexpr, BLOCK_G: tl.constexpr):
    # BEGIN PROMPT
    # # TODO 3: load words and scales of some rows and groups, each once.
    # # TODO 4: turn codes into numbers, multiply them by their elements of x, and add up in float32.
    # # TODO 5: apply the scales; one sum for each row is left.
    # pass
    # END PROMPT
    # BEGIN SOLUTION
    # A program takes a few rows, so that what it does to an element of x serves several weights.
    rows = tl.program_id(axis=0).to(tl.int64) * BLOCK_N + tl.arange(0, BLOCK_N)
    is_row = (rows < n_rows)[:, None]
    n_words = n_groups * 16
    # A sum for each row and each word of a step; they are added up once, at the end, and not by shuffles in the loop.
    sums = tl.zeros((BLOCK_N, BLOCK_G * 16), dtype=tl.float32)
    # Stages: while one step is multiplied, the next ones are on their way from memory to shared memory.
    for start in tl.range(0, n_groups, BLOCK_G, num_stages=3):
        groups = start + tl.arange(0, BLOCK_G)
        words = start * 16 + tl.arange(0, BLOCK_G * 16)
        is_word = words < n_words
        w4 = tl.load(w4_ptr + rows[:, None] * n_words + words[None, :], mask=is_row & is_word[None, :], other=0)
        # Unsigned, so that shifting brings down zeros and not copies of the last code's highest bit.
        codes = w4.to(tl.uint32, bitcast=True)
        x_ptrs = x_ptr + words // 16 * 128 + words % 16
        # Σ (code − 8)·x = Σ code·x − 8·Σ x: the second sum serves all rows, and is where each row's products start. So
        # the subtraction is free. That loads x twice in this text; in the machine, the registers are used again.
        x_sums = tl.zeros((BLOCK_G * 16,), dtype=tl.float32)
        for j in tl.static_range(8):
            x_sums += tl.load(x_ptrs + 16 * j, mask=is_word, other=0.0).to(tl.float32)
        products = tl.zeros((BLOCK_N, BLOCK_G * 16), dtype=tl.float32) - 2.0**-49 * 8 * x_sums[None, :]
        for j in tl.static_range(8):
            # Bits 0-22 of a float under an exponent of zero are a multiple of 2⁻¹⁴⁹. So a code that is masked where it
            # stands is a float already, subnormal: code · 2^(4·j − 149). No shift, no conversion: two instructions a
            # weight, the mask and the multiply-add. Cards multiply subnormal numbers as fast as others, exactly. From
            # bit 23 on is the exponent: the last three codes come down first, all at once.
            code = ((codes >> 16 * (j // 5)) & (15 << 4 * j - 16 * (j // 5))).to(tl.float32, bitcast=True)
            # The power of two goes to x, once for all rows. 2¹⁴⁹ is none of float32's: 2¹⁰⁰ now, 2⁴⁹ with the scale.
            x = tl.load(x_ptrs + 16 * j, mask=is_word, other=0.0).to(tl.float32)
            products += code * (x * 2.0 ** (100 - 4 * j + 16 * (j // 5)))[None, :]
        # Where a group is missing, so is its scale: 0 there takes out what codes of 0 have added.
        scale_mask = is_row & (groups < n_groups)[None, :]
        scales = tl.load(scales_ptr + rows[:, None] * n_groups + groups[None, :], mask=scale_mask, other=0.0)
        # Each scale is loaded once, and spread to its group's words in registers.
        by_word = tl.broadcast_to((scales.to(tl.float32) * 2.0**49)[:, :, None], (BLOCK_N, BLOCK_G, 16))
        sums += products * tl.reshape(by_word, (BLOCK_N, BLOCK_G * 16))
    tl.store(out_ptr + rows, tl.sum(sums, axis=1), mask=rows < n_rows)
    # END SOLUTION


def gemv(x: torch.Tensor, w4: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """Return x [1, K] times the transposed weights, [1, N]."""
    # BEGIN PROMPT
    # # TODO 6: allocate the output, choose what a program works on, launch.
    # raise NotImplementedError("ex_10: write gemv()")
    # END PROMPT
    # BEGIN SOLUTION
    n_rows, n_groups = scales.shape
    out = torch.empty((1, n_rows), dtype=torch.float16, device=x.device)
    # One warp takes 8 rows and 8 groups a step: 16 bytes a lane and row, 512 neighbouring bytes of each row. Thousands
    # of rows are enough such programs to fill a card, so K is not split, and one launch does it.
    grid = (triton.cdiv(n_rows, 8),)
    _gemv_kernel[grid](x, w4, scales, out, n_rows, n_groups, BLOCK_N=8, BLOCK_G=8, num_warps=1)
    return out
    # END SOLUTION
