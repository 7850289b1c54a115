# expect: WRONG_VALUES
# Normalises the float32 sum, and stores the rounded one: backward will differentiate another function.

import torch
import triton
import triton.language as tl


@triton.jit
def _normalise(summed, mask, n_cols, eps, IS_LAYER_NORM: tl.constexpr):
    deviation = summed.to(tl.float32)
    if IS_LAYER_NORM:
        deviation = tl.where(mask, deviation - tl.sum(deviation, axis=0) / n_cols, 0.0)
    r = tl.rsqrt(tl.sum(deviation * deviation, axis=0) / n_cols + eps)
    return deviation * r, r


@triton.jit
def _forward_kernel(
    x_ptr, residual_ptr, weight_ptr, bias_ptr, out_ptr, summed_ptr, x_row_stride, residual_row_stride, n_cols, eps,
    IS_LAYER_NORM: tl.constexpr, BLOCK_SIZE: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(axis=0).to(tl.int64)
    cols = tl.arange(0, BLOCK_SIZE)
    mask = cols < n_cols
    x = tl.load(x_ptr + row * x_row_stride + cols, mask=mask, other=0.0).to(tl.float32)
    residual = tl.load(residual_ptr + row * residual_row_stride + cols, mask=mask, other=0.0).to(tl.float32)
    summed = x + residual
    tl.store(summed_ptr + row * n_cols + cols, summed, mask=mask)
    normalised, _ = _normalise(summed, mask, n_cols, eps, IS_LAYER_NORM)
    out = normalised * tl.load(weight_ptr + cols, mask=mask, other=0.0).to(tl.float32)
    if IS_LAYER_NORM:
        out += tl.load(bias_ptr + cols, mask=mask, other=0.0).to(tl.float32)
    tl.store(out_ptr + row * n_cols + cols, out, mask=mask)


@triton.jit
def _backward_kernel(
    dout_ptr, dsummed_ptr, summed_ptr, weight_ptr, dx_ptr, partials_ptr,
    dout_row_stride, dsummed_row_stride, summed_row_stride, n_rows, n_cols, eps,
    IS_LAYER_NORM: tl.constexpr, BLOCK_SIZE: tl.constexpr,
):  # fmt: skip
    program, n_programs = tl.program_id(axis=0), tl.num_programs(axis=0)
    cols = tl.arange(0, BLOCK_SIZE)
    mask = cols < n_cols
    weight = tl.load(weight_ptr + cols, mask=mask, other=0.0).to(tl.float32)
    dweight = tl.zeros((BLOCK_SIZE,), tl.float32)
    dbias = tl.zeros((BLOCK_SIZE,), tl.float32)
    for index in range(program, n_rows, n_programs):
        row = tl.cast(index, tl.int64)
        dout = tl.load(dout_ptr + row * dout_row_stride + cols, mask=mask, other=0.0).to(tl.float32)
        dsummed = tl.load(dsummed_ptr + row * dsummed_row_stride + cols, mask=mask, other=0.0).to(tl.float32)
        summed = tl.load(summed_ptr + row * summed_row_stride + cols, mask=mask, other=0.0)
        normalised, r = _normalise(summed, mask, n_cols, eps, IS_LAYER_NORM)
        g = dout * weight
        gradient = g - normalised * (tl.sum(g * normalised, axis=0) / n_cols)
        if IS_LAYER_NORM:
            gradient -= tl.sum(g, axis=0) / n_cols
            dbias += dout
        tl.store(dx_ptr + row * n_cols + cols, r * gradient + dsummed, mask=mask)
        dweight += dout * normalised
    place = partials_ptr + program * n_cols + cols
    tl.store(place, dweight, mask=mask)
    if IS_LAYER_NORM:
        tl.store(place + n_programs * n_cols, dbias, mask=mask)


@triton.jit
def _column_sums_kernel(partials_ptr, sums_ptr, n_partials, n_cols, COLS: tl.constexpr):
    cols = tl.program_id(axis=0) * COLS + tl.arange(0, COLS)
    partials_ptr += tl.program_id(axis=1) * n_partials * n_cols
    total = tl.zeros((COLS,), tl.float32)
    for row in range(n_partials):
        total += tl.load(partials_ptr + row * n_cols + cols, mask=cols < n_cols, other=0.0)
    tl.store(sums_ptr + tl.program_id(axis=1) * n_cols + cols, total, mask=cols < n_cols)


def _forward(x, residual, weight, bias, eps):
    n_rows, n_cols = x.shape
    out, summed = (torch.empty((n_rows, n_cols), dtype=x.dtype, device=x.device) for _ in range(2))
    _forward_kernel[(n_rows,)](
        x, residual, weight, bias, out, summed, x.stride(0), residual.stride(0), n_cols, eps,
        IS_LAYER_NORM=bias is not None, BLOCK_SIZE=triton.next_power_of_2(n_cols), num_warps=8,
    )  # fmt: skip
    return out, summed


def _backward(dout, dsummed, summed, weight, eps, is_layer_norm):
    n_rows, n_cols = summed.shape
    n_sums, n_programs = 1 + is_layer_norm, triton.cdiv(n_rows, 16)
    dx = torch.empty((n_rows, n_cols), dtype=summed.dtype, device=summed.device)
    partials = torch.empty((n_sums, n_programs, n_cols), dtype=torch.float32, device=summed.device)
    sums = torch.empty((n_sums, n_cols), dtype=weight.dtype, device=summed.device)
    _backward_kernel[(n_programs,)](
        dout, dsummed, summed, weight, dx, partials, dout.stride(0), dsummed.stride(0), summed.stride(0),
        n_rows, n_cols, eps, IS_LAYER_NORM=is_layer_norm, BLOCK_SIZE=triton.next_power_of_2(n_cols), num_warps=16,
    )  # fmt: skip
    _column_sums_kernel[(triton.cdiv(n_cols, 256), n_sums)](partials, sums, n_programs, n_cols, COLS=256)
    return dx, *sums


def rms_norm(x, residual, weight, eps):
    return _forward(x, residual, weight, None, eps)


def rms_norm_backward(dout, dsummed, summed, weight, eps):
    return _backward(dout, dsummed, summed, weight, eps, is_layer_norm=False)


def layer_norm(x, residual, weight, bias, eps):
    return _forward(x, residual, weight, bias, eps)


def layer_norm_backward(dout, dsummed, summed, weight, eps):
    return _backward(dout, dsummed, summed, weight, eps, is_layer_norm=True)
