# expect: PROVISIONAL
# expect-gpu: PASSED|TOO_SLOW
# A fixed number of programs, forward too, so that weight and bias are loaded once for each of them. Backward takes runs
# of neighbouring rows.

import torch
import triton
import triton.language as tl

PROGRAMS = 264
"""Two for each multiprocessor of a large card."""


@triton.jit
def _statistics(h, mask, n_cols, eps, HAS_MEAN: tl.constexpr):
    mean = tl.sum(h, axis=0) / n_cols if HAS_MEAN else 0.0
    deviation = tl.where(mask, h - mean, 0.0)
    return mean, 1.0 / tl.sqrt(tl.sum(deviation * deviation, axis=0) / n_cols + eps)


@triton.jit
def _forward_kernel(
    x_ptr, residual_ptr, weight_ptr, bias_ptr, out_ptr, summed_ptr, x_row_stride, residual_row_stride, n_rows, n_cols,
    eps, HAS_MEAN: tl.constexpr, BLOCK_SIZE: tl.constexpr,
):  # fmt: skip
    cols = tl.arange(0, BLOCK_SIZE)
    mask = cols < n_cols
    weight = tl.load(weight_ptr + cols, mask=mask, other=0.0)
    if HAS_MEAN:
        bias = tl.load(bias_ptr + cols, mask=mask, other=0.0)
    for index in range(tl.program_id(axis=0), n_rows, tl.num_programs(axis=0)):
        row = tl.cast(index, tl.int64)
        x = tl.load(x_ptr + row * x_row_stride + cols, mask=mask, other=0.0).to(tl.float32)
        residual = tl.load(residual_ptr + row * residual_row_stride + cols, mask=mask, other=0.0).to(tl.float32)
        summed = (x + residual).to(summed_ptr.dtype.element_ty)
        tl.store(summed_ptr + row * n_cols + cols, summed, mask=mask)
        mean, r = _statistics(summed.to(tl.float32), mask, n_cols, eps, HAS_MEAN)
        out = (summed.to(tl.float32) - mean) * r * weight.to(tl.float32)
        if HAS_MEAN:
            out += bias.to(tl.float32)
        tl.store(out_ptr + row * n_cols + cols, out, mask=mask)


@triton.jit
def _backward_kernel(
    dout_ptr, dsummed_ptr, summed_ptr, weight_ptr, dx_ptr, parts_ptr,
    dout_row_stride, dsummed_row_stride, summed_row_stride, n_rows, n_cols, eps,
    HAS_MEAN: tl.constexpr, BLOCK_SIZE: tl.constexpr,
):  # fmt: skip
    program, n_programs = tl.program_id(axis=0), tl.num_programs(axis=0)
    cols = tl.arange(0, BLOCK_SIZE)
    mask = cols < n_cols
    weight = tl.load(weight_ptr + cols, mask=mask, other=0.0).to(tl.float32)
    dweight = tl.zeros((BLOCK_SIZE,), tl.float32)
    dbias = tl.zeros((BLOCK_SIZE,), tl.float32)
    n_each = tl.cdiv(n_rows, n_programs)
    for index in range(program * n_each, tl.minimum(program * n_each + n_each, n_rows)):
        row = tl.cast(index, tl.int64)
        dout = tl.load(dout_ptr + row * dout_row_stride + cols, mask=mask, other=0.0).to(tl.float32)
        h = tl.load(summed_ptr + row * summed_row_stride + cols, mask=mask, other=0.0).to(tl.float32)
        dsummed = tl.load(dsummed_ptr + row * dsummed_row_stride + cols, mask=mask, other=0.0).to(tl.float32)
        mean, r = _statistics(h, mask, n_cols, eps, HAS_MEAN)
        normalised = tl.where(mask, h - mean, 0.0) * r
        g = dout * weight
        shift = tl.sum(g, axis=0) / n_cols if HAS_MEAN else 0.0
        dx = r * (g - shift - normalised * (tl.sum(g * normalised, axis=0) / n_cols)) + dsummed
        tl.store(dx_ptr + row * n_cols + cols, dx, mask=mask)
        dweight += dout * normalised
        dbias += dout
    tl.store(parts_ptr + program * n_cols + cols, dweight, mask=mask)
    if HAS_MEAN:
        tl.store(parts_ptr + (n_programs + program) * n_cols + cols, dbias, mask=mask)


@triton.jit
def _total_kernel(parts_ptr, totals_ptr, n_parts, n_cols, ROWS: tl.constexpr, COLS: tl.constexpr):
    which = tl.program_id(axis=1)
    rows = tl.arange(0, ROWS)[:, None]
    cols = tl.program_id(axis=0) * COLS + tl.arange(0, COLS)[None, :]
    total = tl.zeros((ROWS, COLS), tl.float32)
    for first in range(0, n_parts, ROWS):
        mask = (first + rows < n_parts) & (cols < n_cols)
        total += tl.load(parts_ptr + (which * n_parts + first + rows) * n_cols + cols, mask=mask, other=0.0)
    total = tl.sum(total, axis=0)[None, :]
    tl.store(totals_ptr + which * n_cols + cols, total, mask=cols < n_cols)


def _forward(x, residual, weight, bias, eps):
    n_rows, n_cols = x.shape
    out, summed = (torch.empty((n_rows, n_cols), dtype=x.dtype, device=x.device) for _ in range(2))
    # RMSNorm has no bias: any tensor will do where none is used.
    _forward_kernel[(min(n_rows, 4 * PROGRAMS),)](
        x, residual, weight, weight if bias is None else bias, out, summed, x.stride(0), residual.stride(0),
        n_rows, n_cols, eps, HAS_MEAN=bias is not None, BLOCK_SIZE=triton.next_power_of_2(n_cols), num_warps=8,
    )  # fmt: skip
    return out, summed


def _backward(dout, dsummed, summed, weight, eps, has_mean):
    n_rows, n_cols = summed.shape
    n_programs = min(triton.cdiv(n_rows, 16), PROGRAMS)
    dx = torch.empty((n_rows, n_cols), dtype=summed.dtype, device=summed.device)
    parts = torch.empty((1 + has_mean, n_programs, n_cols), dtype=torch.float32, device=summed.device)
    totals = torch.empty((1 + has_mean, n_cols), dtype=weight.dtype, device=weight.device)
    _backward_kernel[(n_programs,)](
        dout, dsummed, summed, weight, dx, parts, dout.stride(0), dsummed.stride(0), summed.stride(0),
        n_rows, n_cols, eps, HAS_MEAN=has_mean, BLOCK_SIZE=triton.next_power_of_2(n_cols), num_warps=16,
    )  # fmt: skip
    _total_kernel[(triton.cdiv(n_cols, 128), 1 + has_mean)](parts, totals, n_programs, n_cols, ROWS=16, COLS=128)
    return dx, *totals


def rms_norm(x, residual, weight, eps):
    return _forward(x, residual, weight, None, eps)


def rms_norm_backward(dout, dsummed, summed, weight, eps):
    return _backward(dout, dsummed, summed, weight, eps, has_mean=False)


def layer_norm(x, residual, weight, bias, eps):
    return _forward(x, residual, weight, bias, eps)


def layer_norm_backward(dout, dsummed, summed, weight, eps):
    return _backward(dout, dsummed, summed, weight, eps, has_mean=True)
