"""ex_09 INT8 post-training quantization: eight bits a weight, and what they cost.

Task: write `calibrate`, which finds a scale from samples, `quantize_per_channel` for weights, and `qlinear`, a linear
layer whose product is one of integers. PyTorch; no torch.ao, no torchao, no torch.quantize_*.

    scale = m / 127          q = round(v / scale), int8, ties to even          v ≈ q · scale
    out[i, j] = (Σ_k xq[i, k] · wq[j, k]) · x_scale[i] · w_scale[j]          the sum exact, in int32

m is the largest magnitude among the values that share a scale, or where that is clipped, a percentile of their
magnitudes. A scale that would be 0 is 1. −128 stays unused, so that −v always becomes −q. Scales, quotients and scaled
sums are float32, whatever dtype came in.

Signatures
    calibrate(samples, method, percentile) -> scale      float32, 0-dimensional; samples of any shape and number.
        "minmax": m is the largest magnitude. "percentile": of all n magnitudes in order, m is the one at place
        percentile / 100 · (n − 1), counted from 0; between two places, on the straight line from one to the next.
    quantize_per_channel(w) -> (wq, scales)      w [N, K], a row for each output channel; wq [N, K] int8,
        contiguous; scales [N] float32, one a row.
    qlinear(x, wq, w_scales) -> out      x [M, K], quantized as it comes, with a scale for each token (a row); wq [N, K]
        and w_scales [N] as above; out [M, N] in x's dtype. M from 1 up; K and N are multiples of 8.
    samples, w and x are float32, float16 or bfloat16, in any layout; inputs are read only.

The bound: tensor cores multiply int8 up to twice as fast as float16, and a weight is one byte instead of two. But x has
to be quantized and the sums scaled: a few operations an element, and in eager PyTorch each one is a trip to memory and
back. Left apart, they cost more time than the integers save.

How it is graded: integers exactly, scales and outputs to a few roundings; rows that differ a hundredfold, rows of
zeros, sums beyond 2²⁴. Counted: with few tokens, qlinear makes no tensor half as large as the weights; and the signal
of a layer over its quantization noise. On a GPU, the speed-up over torch.matmul in float16. There, torch._int_mm takes
17 rows or more, with a multiple of 8 bytes from one to the next; the check holds you to that everywhere.

Read: H. Wu et al., "Integer Quantization for Deep Learning Inference" (2020), sections 3 and 5; T. Dettmers et al.,
"LLM.int8()" (2022), section 2; PyTorch, "Introduction to torch.compile".
"""

import functools
import math

import torch

# BEGIN SOLUTION
LARGEST = 127
LEAST_ROWS = 17
FUSED_FROM = 2**23
"""Elements. Compiling takes seconds for each new shape; small inputs are done before that pays."""


def _scale(largest: torch.Tensor) -> torch.Tensor:
    # float32 first: a float16 has eleven bits, fewer below 6e-5, and a scale is what a whole row is multiplied by.
    scale = largest.float() / LARGEST
    # 0 / 0 is NaN, and what an integer makes of that differs from machine to machine. With any other scale, 0 stays 0.
    return torch.where(scale == 0, 1.0, scale)


def _quantize_rows(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Integers int8 [rows, cols] and scales float32 [rows], for rows of either weights or activations."""
    scales = _scale(rows.abs().amax(dim=1))
    # The scales make the quotient float32. It exceeds ±127 by a rounding at most, so nothing need be clamped; with a
    # scale of other samples, or of a percentile, it would. `.to` alone cuts fractions off: four times the noise, with
    # errors of up to a whole step instead of half of one. A transposed input would make transposed integers, whose
    # rows the card refuses unless their number, too, is a multiple of 8.
    return torch.round(rows / scales[:, None]).to(torch.int8).contiguous(), scales


def _rescale(sums: torch.Tensor, x_scales: torch.Tensor, w_scales: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    # Scaled before they are rounded to the output's dtype: a sum of K products reaches K · 127², which float16 can't
    # hold from K = 5 on.
    return (sums * x_scales[:, None] * w_scales).to(dtype)


@functools.cache
def _compiled(function):
    return torch.compile(function, dynamic=False)


def _fused(function, tensor, *args):
    """The function's result, from a single kernel where the tensor is large and on a card."""
    is_large = tensor.is_cuda and tensor.numel() >= FUSED_FROM
    return (_compiled(function) if is_large else function)(tensor, *args)


# END SOLUTION


def calibrate(samples: torch.Tensor, method: str = "minmax", percentile: float = 99.9) -> torch.Tensor:
    """Return the scale for values like these samples; `percentile` is for the method of that name."""
    # BEGIN PROMPT
    # # TODO 1: find m by either method. What should decide, values or magnitudes?
    # # TODO 2: turn m into a scale that nothing is divided by 0 with.
    # raise NotImplementedError("ex_09: write calibrate()")
    # END PROMPT
    # BEGIN SOLUTION
    magnitudes = samples.float().abs().flatten()
    if method == "minmax":
        return _scale(magnitudes.max())
    # A single outlier stretches the steps of all other values. A percentile clips it: a large error for a few values
    # in a thousand, and smaller ones for the rest. torch.quantile does the same, for up to 2²⁴ values.
    in_order = magnitudes.sort().values
    place = percentile / 100 * (len(in_order) - 1)
    below, above = in_order[math.floor(place)], in_order[math.ceil(place)]
    return _scale(torch.lerp(below, above, place - math.floor(place)))
    # END SOLUTION


def quantize_per_channel(w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return w [N, K] as int8, and its N scales."""
    # BEGIN PROMPT
    # # TODO 3: one scale for each output channel, then integers.
    # raise NotImplementedError("ex_09: write quantize_per_channel()")
    # END PROMPT
    # BEGIN SOLUTION
    # A sum runs along a row, so a row's scale can be taken out of it. One for each column could not.
    return _quantize_rows(w)
    # END SOLUTION


def qlinear(x: torch.Tensor, wq: torch.Tensor, w_scales: torch.Tensor) -> torch.Tensor:
    """Return x [M, K] times the weights' transpose, [M, N] in x's dtype."""
    # BEGIN PROMPT
    # # TODO 4: quantize x, with a scale for each token.
    # # TODO 5: multiply integers by integers, exactly, and without a copy of the weights. Mind M < 17.
    # # TODO 6: scale the sums. Then count the trips to memory, and let torch.compile save some.
    # raise NotImplementedError("ex_09: write qlinear()")
    # END PROMPT
    # BEGIN SOLUTION
    n_tokens = len(x)
    xq, x_scales = _fused(_quantize_rows, x)
    if n_tokens < LEAST_ROWS:
        # Rows of zeros, whose results are dropped. A language model that generates text has one token at a time.
        xq = torch.nn.functional.pad(xq, (0, 0, 0, LEAST_ROWS - n_tokens))
    # wq.t() is a view: with K along the rows of both, the weights lie as tensor cores want to read them.
    sums = torch._int_mm(xq, wq.t())[:n_tokens]  # noqa: SLF001  it has no public name
    return _fused(_rescale, sums, x_scales, w_scales, x.dtype)
    # END SOLUTION
