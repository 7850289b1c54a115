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


@triton.jit
def _forward_kernel(
    x_ptr, residual_ptr, weight_ptr, bias_ptr, out_ptr, summed_ptr, x_row_stride, residual_row_stride, n_cols, eps,
    IS_LAYER_NORM: tl.constexpr, BLOCK_SIZE: tl.constexpr,
):  # fmt: skip
    # TODO 1: add a row of x and of residual; store the sum, normalise it as it was stored, store the result.
    pass


@triton.jit
def _backward_kernel(
    dout_ptr, dsummed_ptr, summed_ptr, weight_ptr, dx_ptr, partials_ptr,
    dout_row_stride, dsummed_row_stride, summed_row_stride, n_rows, n_cols, eps,
    IS_LAYER_NORM: tl.constexpr, BLOCK_SIZE: tl.constexpr, N_STAGES: tl.constexpr,
):  # fmt: skip
    # TODO 2: for each row that is this program's, compute x̂ again, and from it dx.
    # TODO 3: add up what these rows give to dweight and dbias. Where, so that no other program is in the way?
    pass


def rms_norm(x: torch.Tensor, residual: torch.Tensor, weight: torch.Tensor, eps: float):
    """Return out and summed, both [M, N]."""
    # TODO 4: allocate, choose a block that holds a row, launch.
    raise NotImplementedError("ex_20: write rms_norm()")


def rms_norm_backward(
    dout: torch.Tensor, dsummed: torch.Tensor, summed: torch.Tensor, weight: torch.Tensor, eps: float
):
    """Return dx [M, N] and dweight [N]."""
    # TODO 5: share the rows out among few enough programs; add their partial sums up in a second kernel.
    raise NotImplementedError("ex_20: write rms_norm_backward()")


def layer_norm(x: torch.Tensor, residual: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, eps: float):
    """Return out and summed, both [M, N]."""
    # TODO 6: the same with a mean and a bias.
    raise NotImplementedError("ex_20: write layer_norm()")


def layer_norm_backward(
    dout: torch.Tensor, dsummed: torch.Tensor, summed: torch.Tensor, weight: torch.Tensor, eps: float
):
    """Return dx [M, N], dweight [N] and dbias [N]."""
    # TODO 7: the same with a mean, and two sums down the columns.
    raise NotImplementedError("ex_20: write layer_norm_backward()")
