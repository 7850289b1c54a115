"""ex_20 Fused residual norms: what stands between any two layers of a transformer, forward and backward.

Task: write `rms_norm`, `layer_norm` and their backward passes in Triton, each with the residual add fused into it.

    summed = x + residual, rounded to their dtype; all that follows is a function of summed, row by row
    RMSNorm     x̂ = summed·r          r = 1/√(mean(summed²) + eps)          out = x̂·weight
    LayerNorm   x̂ = (summed − μ)·r    r = 1/√(mean((summed − μ)²) + eps)    out = x̂·weight + bias    μ = mean(summed)

With g = dout·weight, the gradient of summed, so of x and of residual, and those of the parameters are

    RMSNorm     dx = r·(g − x̂·mean(g·x̂)) + dsummed              dweight = Σ_rows dout·x̂
    LayerNorm   dx = r·(g − mean(g) − x̂·mean(g·x̂)) + dsummed    dweight = Σ_rows dout·x̂    dbias = Σ_rows dout

Signature
    x, residual, summed, dout, dsummed  [M, N]  float32, float16 or bfloat16, read only; neighbours in a row are
                   neighbours in memory, but rows may be padded, each tensor's in its own way. M from 1 up, N to 16384.
    weight, bias   [N]     same dtype, contiguous, read only. eps is a float.
    out, summed, dx  [M, N], dweight, dbias  [N]  same dtype, newly allocated; all arithmetic and sums in float32.

The bound: a few operations a value, so memory decides. Forward reads x and residual and writes out and summed; backward
reads dout, dsummed and summed and writes dx: 4·M·N·itemsize bytes each way. The row's statistics are cheaper computed
again than kept. Only dweight and dbias run down the columns, across programs; their partial sums must stay few.

How it is graded: every N up to the limit; large means, tiny rows, outliers; padded rows; each [M, N] tensor read or
written once, forward in one launch; backward without another [M, N] tensor, and with at most one row of float32 partial
sums for every 16 rows. On a GPU, the share of this card's copy rate, and the speed-up over torch.compile.

Read: B. Zhang, R. Sennrich, "Root Mean Square Layer Normalization"; J. L. Ba et al., "Layer Normalization"; Triton
tutorial 05 (layer normalization); N. Higham, "Accuracy and Stability of Numerical Algorithms", on the sample variance.
"""

import torch
import triton
import triton.language as tl


# BEGIN SOLUTION
@triton.jit
def _normalise(summed, mask, n_cols, eps, IS_LAYER_NORM: tl.constexpr):
    """x̂ and r of one row that is in registers; lanes past its end hold 0, before and after."""
    deviation = summed.to(tl.float32)
    if IS_LAYER_NORM:
        # The mean first, then the deviations from it, as the formula says. mean(h²) − μ² needs one pass less, which
        # saves nothing in registers, and cancels: with μ = 1000·σ, float32 has no digit of the variance left.
        # Past the end, 0 − μ is no deviation: the mask has to come again.
        deviation = tl.where(mask, deviation - tl.sum(deviation, axis=0) / n_cols, 0.0)
    r = tl.rsqrt(tl.sum(deviation * deviation, axis=0) / n_cols + eps)
    return deviation * r, r


# END SOLUTION
@triton.jit
def _forward_kernel(
    x_ptr, residual_ptr, weight_ptr, bias_ptr, out_ptr, summed_ptr, x_row_stride, residual_row_stride, n_cols, eps,
    IS_LAYER_NORM: tl.constexpr, BLOCK_SIZE: tl.constexpr,
):  # fmt: skip
    # BEGIN PROMPT
    # # TODO 1: add a row of x and of residual; store the sum, normalise it as it was stored, store the result.
    # pass
    # END PROMPT
    # BEGIN SOLUTION
    # One program holds one row, as in a softmax. int64: row · stride passes 2³¹ long before a matrix fills the card.
    row = tl.program_id(axis=0).to(tl.int64)
    cols = tl.arange(0, BLOCK_SIZE)
    mask = cols < n_cols
    x = tl.load(x_ptr + row * x_row_stride + cols, mask=mask, other=0.0).to(tl.float32)
    residual = tl.load(residual_ptr + row * residual_row_stride + cols, mask=mask, other=0.0).to(tl.float32)
    # All programs load the same weight, so it comes from the L2 cache. Asked for here, it is under way while the row is
    # added up; asked for where it is used, the program would wait a second time.
    weight = tl.load(weight_ptr + cols, mask=mask, other=0.0)
    # Rounded before it is normalised: backward is given the rounded sum, and must see the same function.
    summed = (x + residual).to(summed_ptr.dtype.element_ty)
    tl.store(summed_ptr + row * n_cols + cols, summed, mask=mask)
    normalised, _ = _normalise(summed, mask, n_cols, eps, IS_LAYER_NORM)
    out = normalised * weight.to(tl.float32)
    if IS_LAYER_NORM:
        out += tl.load(bias_ptr + cols, mask=mask, other=0.0).to(tl.float32)
    tl.store(out_ptr + row * n_cols + cols, out, mask=mask)
    # END SOLUTION


@triton.jit
def _backward_kernel(
    dout_ptr, dsummed_ptr, summed_ptr, weight_ptr, dx_ptr, partials_ptr,
    dout_row_stride, dsummed_row_stride, summed_row_stride, n_rows, n_cols, eps,
    IS_LAYER_NORM: tl.constexpr, BLOCK_SIZE: tl.constexpr, N_STAGES: tl.constexpr,
):  # fmt: skip
    # BEGIN PROMPT
    # # TODO 2: for each row that is this program's, compute x̂ again, and from it dx.
    # # TODO 3: add up what these rows give to dweight and dbias. Where, so that no other program is in the way?
    # pass
    # END PROMPT
    # BEGIN SOLUTION
    program, n_programs = tl.program_id(axis=0), tl.num_programs(axis=0)
    cols = tl.arange(0, BLOCK_SIZE)
    mask = cols < n_cols
    weight = tl.load(weight_ptr + cols, mask=mask, other=0.0).to(tl.float32)
    dweight = tl.zeros((BLOCK_SIZE,), tl.float32)
    dbias = tl.zeros((BLOCK_SIZE,), tl.float32)
    # One program a multiprocessor, nearly: while it adds up a row, no other is there to keep the memory busy. With
    # stages, the loads of the rows to come run ahead, into shared memory.
    for index in tl.range(program, n_rows, n_programs, num_stages=N_STAGES):
        row = tl.cast(index, tl.int64)
        dout = tl.load(dout_ptr + row * dout_row_stride + cols, mask=mask, other=0.0).to(tl.float32)
        dsummed = tl.load(dsummed_ptr + row * dsummed_row_stride + cols, mask=mask, other=0.0).to(tl.float32)
        summed = tl.load(summed_ptr + row * summed_row_stride + cols, mask=mask, other=0.0)
        normalised, r = _normalise(summed, mask, n_cols, eps, IS_LAYER_NORM)
        g = dout * weight
        # A change of one value also changes r (and μ), and with it the whole row: these are the means.
        gradient = g - normalised * (tl.sum(g * normalised, axis=0) / n_cols)
        if IS_LAYER_NORM:
            gradient -= tl.sum(g, axis=0) / n_cols
            dbias += dout
        # The other branch of the residual stream joins here, as free as its add was on the way forward.
        tl.store(dx_ptr + row * n_cols + cols, r * gradient + dsummed, mask=mask)
        # Down the columns, too, sums stay in registers for as long as this program has rows.
        dweight += dout * normalised
    place = partials_ptr + program * n_cols + cols
    tl.store(place, dweight, mask=mask)
    if IS_LAYER_NORM:
        tl.store(place + n_programs * n_cols, dbias, mask=mask)
    # END SOLUTION


# BEGIN SOLUTION
@triton.jit
def _column_sums_kernel(partials_ptr, sums_ptr, n_partials, n_cols, ROWS: tl.constexpr, COLS: tl.constexpr):
    """sums[s, j] = Σ_p partials[s, p, j], in float32, rounded at the store. Few bytes, most of them still in L2."""
    rows, cols = tl.arange(0, ROWS), tl.program_id(axis=0) * COLS + tl.arange(0, COLS)
    partials_ptr += tl.program_id(axis=1) * n_partials * n_cols
    total = tl.zeros((ROWS, COLS), tl.float32)
    for first in range(0, n_partials, ROWS):
        mask = (first + rows < n_partials)[:, None] & (cols < n_cols)[None, :]
        total += tl.load(partials_ptr + (first + rows)[:, None] * n_cols + cols[None, :], mask=mask, other=0.0)
    tl.store(sums_ptr + tl.program_id(axis=1) * n_cols + cols, tl.sum(total, axis=0), mask=cols < n_cols)


def _forward(x, residual, weight, bias, eps):
    n_rows, n_cols = x.shape
    out, summed = (torch.empty((n_rows, n_cols), dtype=x.dtype, device=x.device) for _ in range(2))
    block_size = triton.next_power_of_2(n_cols)
    _forward_kernel[(n_rows,)](
        x, residual, weight, bias, out, summed, x.stride(0), residual.stride(0), n_cols, eps,
        IS_LAYER_NORM=bias is not None, BLOCK_SIZE=block_size, num_warps=min(max(block_size // 512, 4), 16),
    )  # fmt: skip
    return out, summed


def _backward(dout, dsummed, summed, weight, eps, is_layer_norm):
    """dx [M, N], and dweight (and dbias) as the rows of a second tensor."""
    n_rows, n_cols = summed.shape
    n_sums, block_size = 1 + is_layer_norm, triton.next_power_of_2(n_cols)
    # Few programs, so that there are few partial sums: as many as the card's registers hold rows at a time, about one
    # of 8192 values a multiprocessor. And never so many that the partial sums would weigh as much as a tensor.
    n_programs, n_stages = triton.cdiv(n_rows, 16), 1
    if summed.is_cuda:
        card = torch.cuda.get_device_properties(summed.device)
        n_programs = min(n_programs, card.multi_processor_count * max(1, 8192 // block_size))
        # Two rows of each of the three tensors on their way, where shared memory has the room.
        n_stages += min(2, card.shared_memory_per_block_optin // (3 * block_size * summed.element_size()))
    dx = torch.empty((n_rows, n_cols), dtype=summed.dtype, device=summed.device)
    partials = torch.empty((n_sums, n_programs, n_cols), dtype=torch.float32, device=summed.device)
    sums = torch.empty((n_sums, n_cols), dtype=weight.dtype, device=summed.device)
    _backward_kernel[(n_programs,)](
        dout, dsummed, summed, weight, dx, partials, dout.stride(0), dsummed.stride(0), summed.stride(0),
        n_rows, n_cols, eps, IS_LAYER_NORM=is_layer_norm, BLOCK_SIZE=block_size, N_STAGES=n_stages,
        num_warps=min(max(block_size // 1024, 4), 16),
    )  # fmt: skip
    _column_sums_kernel[(triton.cdiv(n_cols, 128), n_sums)](
        partials, sums, n_programs, n_cols, ROWS=32, COLS=128, num_warps=8
    )
    return dx, *sums


# END SOLUTION
def rms_norm(x: torch.Tensor, residual: torch.Tensor, weight: torch.Tensor, eps: float):
    """Return out and summed, both [M, N]."""
    # BEGIN PROMPT
    # # TODO 4: allocate, choose a block that holds a row, launch.
    # raise NotImplementedError("ex_20: write rms_norm()")
    # END PROMPT
    # BEGIN SOLUTION
    return _forward(x, residual, weight, None, eps)
    # END SOLUTION


def rms_norm_backward(
    dout: torch.Tensor, dsummed: torch.Tensor, summed: torch.Tensor, weight: torch.Tensor, eps: float
):
    """Return dx [M, N] and dweight [N]."""
    # BEGIN PROMPT
    # # TODO 5: share the rows out among few enough programs; add their partial sums up in a second kernel.
    # raise NotImplementedError("ex_20: write rms_norm_backward()")
    # END PROMPT
    # BEGIN SOLUTION
    return _backward(dout, dsummed, summed, weight, eps, is_layer_norm=False)
    # END SOLUTION


def layer_norm(x: torch.Tensor, residual: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, eps: float):
    """Return out and summed, both [M, N]."""
    # BEGIN PROMPT
    # # TODO 6: the same with a mean and a bias.
    # raise NotImplementedError("ex_20: write layer_norm()")
    # END PROMPT
    # BEGIN SOLUTION
    return _forward(x, residual, weight, bias, eps)
    # END SOLUTION


def layer_norm_backward(
    dout: torch.Tensor, dsummed: torch.Tensor, summed: torch.Tensor, weight: torch.Tensor, eps: float
):
    """Return dx [M, N], dweight [N] and dbias [N]."""
    # BEGIN PROMPT
    # # TODO 7: the same with a mean, and two sums down the columns.
    # raise NotImplementedError("ex_20: write layer_norm_backward()")
    # END PROMPT
    # BEGIN SOLUTION
    return _backward(dout, dsummed, summed, weight, eps, is_layer_norm=True)
    # END SOLUTION
