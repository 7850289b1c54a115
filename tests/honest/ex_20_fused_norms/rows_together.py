# expect: PROVISIONAL
# expect-gpu: PASSED|TOO_SLOW
# Blocks with two axes: short rows share a program, forward and backward. Programs take neighbouring rows, and one that
# has fewer brings zeros along.

import torch
import triton
import triton.language as tl


@triton.jit
def _normalised(h, is_there, n_cols, eps, HAS_MEAN: tl.constexpr):
    if HAS_MEAN:
        h = tl.where(is_there, h - (tl.sum(h, axis=1) / n_cols)[:, None], 0.0)
    r = (1.0 / tl.sqrt(tl.sum(h * h, axis=1) / n_cols + eps))[:, None]
    return h * r, r


@triton.jit
def _add_norm_kernel(
    x_ptr, residual_ptr, weight_ptr, bias_ptr, out_ptr, summed_ptr, x_row_stride, residual_row_stride, n_rows, n_cols,
    eps, HAS_MEAN: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    rows = (tl.program_id(axis=0) * ROWS + tl.arange(0, ROWS)).to(tl.int64)[:, None]
    cols = tl.arange(0, COLS)[None, :]
    is_there = (rows < n_rows) & (cols < n_cols)
    x = tl.load(x_ptr + rows * x_row_stride + cols, mask=is_there, other=0.0)
    residual = tl.load(residual_ptr + rows * residual_row_stride + cols, mask=is_there, other=0.0)
    summed = (x.to(tl.float32) + residual.to(tl.float32)).to(x.dtype)
    tl.store(summed_ptr + rows * n_cols + cols, summed, mask=is_there)
    normalised, _ = _normalised(summed.to(tl.float32), is_there, n_cols, eps, HAS_MEAN)
    out = normalised * tl.load(weight_ptr + cols, mask=cols < n_cols, other=0.0).to(tl.float32)
    if HAS_MEAN:
        out += tl.load(bias_ptr + cols, mask=cols < n_cols, other=0.0).to(tl.float32)
    tl.store(out_ptr + rows * n_cols + cols, out, mask=is_there)


@triton.jit
def _gradients_kernel(
    dout_ptr, dsummed_ptr, summed_ptr, weight_ptr, dx_ptr, dweights_ptr, dbiases_ptr,
    dout_row_stride, dsummed_row_stride, summed_row_stride, n_rows, n_cols, eps,
    HAS_MEAN: tl.constexpr, N_TILES: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    cols = tl.arange(0, COLS)[None, :]
    weight = tl.load(weight_ptr + cols, mask=cols < n_cols, other=0.0).to(tl.float32)
    dweight = tl.zeros((ROWS, COLS), tl.float32)
    dbias = tl.zeros((ROWS, COLS), tl.float32)
    for tile in range(N_TILES):
        rows = ((tl.program_id(axis=0) * N_TILES + tile) * ROWS + tl.arange(0, ROWS)).to(tl.int64)[:, None]
        is_there = (rows < n_rows) & (cols < n_cols)
        dout = tl.load(dout_ptr + rows * dout_row_stride + cols, mask=is_there, other=0.0).to(tl.float32)
        summed = tl.load(summed_ptr + rows * summed_row_stride + cols, mask=is_there, other=0.0).to(tl.float32)
        normalised, r = _normalised(summed, is_there, n_cols, eps, HAS_MEAN)
        g = dout * weight
        dx = g - normalised * (tl.sum(g * normalised, axis=1) / n_cols)[:, None]
        if HAS_MEAN:
            dx -= (tl.sum(g, axis=1) / n_cols)[:, None]
            dbias += dout
        dsummed = tl.load(dsummed_ptr + rows * dsummed_row_stride + cols, mask=is_there, other=0.0).to(tl.float32)
        tl.store(dx_ptr + rows * n_cols + cols, r * dx + dsummed, mask=is_there)
        dweight += dout * normalised
    place = tl.program_id(axis=0) * n_cols + tl.arange(0, COLS)
    tl.store(dweights_ptr + place, tl.sum(dweight, axis=0), mask=tl.arange(0, COLS) < n_cols)
    if HAS_MEAN:
        tl.store(dbiases_ptr + place, tl.sum(dbias, axis=0), mask=tl.arange(0, COLS) < n_cols)


@triton.jit
def _total_kernel(parts_ptr, total_ptr, n_parts, n_cols, COLS: tl.constexpr):
    cols = tl.program_id(axis=0) * COLS + tl.arange(0, COLS)
    total = tl.zeros((COLS,), tl.float32)
    for part in range(n_parts):
        total += tl.load(parts_ptr + part * n_cols + cols, mask=cols < n_cols, other=0.0)
    tl.store(total_ptr + cols, total, mask=cols < n_cols)


def _block(n_cols):
    cols = triton.next_power_of_2(n_cols)
    return {"ROWS": max(1, min(4, 4096 // cols)), "COLS": cols}


def _forward(x, residual, weight, bias, eps):
    n_rows, n_cols = x.shape
    out, summed = (torch.empty((n_rows, n_cols), dtype=x.dtype, device=x.device) for _ in range(2))
    block = _block(n_cols)
    _add_norm_kernel[(triton.cdiv(n_rows, block["ROWS"]),)](
        x, residual, weight, bias, out, summed, x.stride(0), residual.stride(0), n_rows, n_cols, eps,
        HAS_MEAN=bias is not None, **block, num_warps=8,
    )  # fmt: skip
    return out, summed


def _backward(dout, dsummed, summed, weight, eps, has_mean):
    n_rows, n_cols = summed.shape
    block = _block(n_cols)
    n_tiles = 64 // block["ROWS"]
    n_programs = triton.cdiv(n_rows, 64)
    dx = torch.empty((n_rows, n_cols), dtype=summed.dtype, device=summed.device)
    parts = [torch.empty((n_programs, n_cols), dtype=torch.float32, device=dx.device) for _ in range(1 + has_mean)]
    _gradients_kernel[(n_programs,)](
        dout, dsummed, summed, weight, dx, parts[0], parts[-1],
        dout.stride(0), dsummed.stride(0), summed.stride(0), n_rows, n_cols, eps,
        HAS_MEAN=has_mean, N_TILES=n_tiles, **block, num_warps=16,
    )  # fmt: skip
    totals = [torch.empty_like(weight) for _ in parts]
    for part, total in zip(parts, totals, strict=True):
        _total_kernel[(triton.cdiv(n_cols, 256),)](part, total, n_programs, n_cols, COLS=256)
    return dx, *totals


def rms_norm(x, residual, weight, eps):
    return _forward(x, residual, weight, None, eps)


def rms_norm_backward(dout, dsummed, summed, weight, eps):
    return _backward(dout, dsummed, summed, weight, eps, has_mean=False)


def layer_norm(x, residual, weight, bias, eps):
    return _forward(x, residual, weight, bias, eps)


def layer_norm_backward(dout, dsummed, summed, weight, eps):
    return _backward(dout, dsummed, summed, weight, eps, has_mean=True)
