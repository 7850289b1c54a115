# expect: PROVISIONAL
# expect-gpu: PASSED|TOO_SLOW
# Kernels of its own for each of the four, and atomics instead of partial sums: every program adds what its rows give to
# one float32 row, in whatever order they come; a last kernel rounds it.

import torch
import triton
import triton.language as tl


@triton.jit
def _rms_norm_kernel(
    x_ptr, residual_ptr, weight_ptr, out_ptr, summed_ptr, x_row_stride, residual_row_stride, n_cols, eps,
    BLOCK_SIZE: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(axis=0).to(tl.int64)
    cols = tl.arange(0, BLOCK_SIZE)
    mask = cols < n_cols
    # Added in the dtype of the data: one rounding, the same as of a float32 sum.
    summed = tl.load(x_ptr + row * x_row_stride + cols, mask=mask) + tl.load(
        residual_ptr + row * residual_row_stride + cols, mask=mask
    )
    tl.store(summed_ptr + row * n_cols + cols, summed, mask=mask)
    h = tl.where(mask, summed.to(tl.float32), 0.0)
    weight = tl.load(weight_ptr + cols, mask=mask).to(tl.float32)
    tl.store(out_ptr + row * n_cols + cols, h * weight / tl.sqrt(tl.sum(h * h, axis=0) / n_cols + eps), mask=mask)


@triton.jit
def _layer_norm_kernel(
    x_ptr, residual_ptr, weight_ptr, bias_ptr, out_ptr, summed_ptr, x_row_stride, residual_row_stride, n_cols, eps,
    BLOCK_SIZE: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(axis=0).to(tl.int64)
    cols = tl.arange(0, BLOCK_SIZE)
    mask = cols < n_cols
    summed = tl.load(x_ptr + row * x_row_stride + cols, mask=mask) + tl.load(
        residual_ptr + row * residual_row_stride + cols, mask=mask
    )
    tl.store(summed_ptr + row * n_cols + cols, summed, mask=mask)
    h = tl.where(mask, summed.to(tl.float32), 0.0)
    h = tl.where(mask, h - tl.sum(h, axis=0) / n_cols, 0.0)
    weight = tl.load(weight_ptr + cols, mask=mask).to(tl.float32)
    bias = tl.load(bias_ptr + cols, mask=mask).to(tl.float32)
    out = h * weight / tl.sqrt(tl.sum(h * h, axis=0) / n_cols + eps) + bias
    tl.store(out_ptr + row * n_cols + cols, out, mask=mask)


@triton.jit
def _rms_norm_backward_kernel(
    dout_ptr, dsummed_ptr, summed_ptr, weight_ptr, dx_ptr, sums_ptr,
    dout_row_stride, dsummed_row_stride, summed_row_stride, n_rows, n_cols, eps,
    N_ROWS: tl.constexpr, BLOCK_SIZE: tl.constexpr,
):  # fmt: skip
    cols = tl.arange(0, BLOCK_SIZE)
    mask = cols < n_cols
    weight = tl.load(weight_ptr + cols, mask=mask, other=0.0).to(tl.float32)
    dweight = tl.zeros((BLOCK_SIZE,), tl.float32)
    first = tl.program_id(axis=0) * N_ROWS
    for index in range(first, tl.minimum(first + N_ROWS, n_rows)):
        row = tl.cast(index, tl.int64)
        dout = tl.load(dout_ptr + row * dout_row_stride + cols, mask=mask, other=0.0).to(tl.float32)
        h = tl.load(summed_ptr + row * summed_row_stride + cols, mask=mask, other=0.0).to(tl.float32)
        r = 1.0 / tl.sqrt(tl.sum(h * h, axis=0) / n_cols + eps)
        g = dout * weight
        dx = r * g - h * (r * r * r * tl.sum(g * h, axis=0) / n_cols)
        dx += tl.load(dsummed_ptr + row * dsummed_row_stride + cols, mask=mask, other=0.0).to(tl.float32)
        tl.store(dx_ptr + row * n_cols + cols, dx, mask=mask)
        dweight += dout * (h * r)
    tl.atomic_add(sums_ptr + cols, dweight, mask=mask)


@triton.jit
def _layer_norm_backward_kernel(
    dout_ptr, dsummed_ptr, summed_ptr, weight_ptr, dx_ptr, sums_ptr,
    dout_row_stride, dsummed_row_stride, summed_row_stride, n_rows, n_cols, eps,
    N_ROWS: tl.constexpr, BLOCK_SIZE: tl.constexpr,
):  # fmt: skip
    cols = tl.arange(0, BLOCK_SIZE)
    mask = cols < n_cols
    weight = tl.load(weight_ptr + cols, mask=mask, other=0.0).to(tl.float32)
    dweight = tl.zeros((BLOCK_SIZE,), tl.float32)
    dbias = tl.zeros((BLOCK_SIZE,), tl.float32)
    first = tl.program_id(axis=0) * N_ROWS
    for index in range(first, tl.minimum(first + N_ROWS, n_rows)):
        row = tl.cast(index, tl.int64)
        dout = tl.load(dout_ptr + row * dout_row_stride + cols, mask=mask, other=0.0).to(tl.float32)
        h = tl.load(summed_ptr + row * summed_row_stride + cols, mask=mask, other=0.0).to(tl.float32)
        h = tl.where(mask, h - tl.sum(h, axis=0) / n_cols, 0.0)
        r = 1.0 / tl.sqrt(tl.sum(h * h, axis=0) / n_cols + eps)
        g = dout * weight
        dx = r * (g - tl.sum(g, axis=0) / n_cols) - h * (r * r * r * tl.sum(g * h, axis=0) / n_cols)
        dx += tl.load(dsummed_ptr + row * dsummed_row_stride + cols, mask=mask, other=0.0).to(tl.float32)
        tl.store(dx_ptr + row * n_cols + cols, dx, mask=mask)
        dweight += dout * (h * r)
        dbias += dout
    tl.atomic_add(sums_ptr + cols, dweight, mask=mask)
    tl.atomic_add(sums_ptr + n_cols + cols, dbias, mask=mask)


@triton.jit
def _round_kernel(sums_ptr, out_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
    offsets = tl.program_id(axis=0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    mask = offsets < n_elements
    tl.store(out_ptr + offsets, tl.load(sums_ptr + offsets, mask=mask), mask=mask)


def rms_norm(x, residual, weight, eps):
    n_rows, n_cols = x.shape
    out = torch.empty((n_rows, n_cols), dtype=x.dtype, device=x.device)
    summed = torch.empty_like(out)
    _rms_norm_kernel[(n_rows,)](
        x, residual, weight, out, summed, x.stride(0), residual.stride(0), n_cols, eps,
        BLOCK_SIZE=triton.next_power_of_2(n_cols), num_warps=8,
    )  # fmt: skip
    return out, summed


def layer_norm(x, residual, weight, bias, eps):
    n_rows, n_cols = x.shape
    out = torch.empty((n_rows, n_cols), dtype=x.dtype, device=x.device)
    summed = torch.empty_like(out)
    _layer_norm_kernel[(n_rows,)](
        x, residual, weight, bias, out, summed, x.stride(0), residual.stride(0), n_cols, eps,
        BLOCK_SIZE=triton.next_power_of_2(n_cols), num_warps=8,
    )  # fmt: skip
    return out, summed


def _backward(kernel, n_sums, dout, dsummed, summed, weight, eps):
    n_rows, n_cols = summed.shape
    dx = torch.empty((n_rows, n_cols), dtype=summed.dtype, device=summed.device)
    sums = torch.zeros((n_sums, n_cols), dtype=torch.float32, device=summed.device)
    kernel[(triton.cdiv(n_rows, 32),)](
        dout, dsummed, summed, weight, dx, sums, dout.stride(0), dsummed.stride(0), summed.stride(0),
        n_rows, n_cols, eps, N_ROWS=32, BLOCK_SIZE=triton.next_power_of_2(n_cols), num_warps=16,
    )  # fmt: skip
    rounded = torch.empty((n_sums, n_cols), dtype=weight.dtype, device=weight.device)
    _round_kernel[(triton.cdiv(rounded.numel(), 1024),)](sums, rounded, rounded.numel(), BLOCK_SIZE=1024)
    return dx, rounded


def rms_norm_backward(dout, dsummed, summed, weight, eps):
    dx, sums = _backward(_rms_norm_backward_kernel, 1, dout, dsummed, summed, weight, eps)
    return dx, sums[0]


def layer_norm_backward(dout, dsummed, summed, weight, eps):
    dx, sums = _backward(_layer_norm_backward_kernel, 2, dout, dsummed, summed, weight, eps)
    return dx, sums[0], sums[1]
