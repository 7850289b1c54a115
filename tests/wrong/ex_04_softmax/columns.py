# expect: WRONG_VALUES
# Normalises columns instead of rows, a block of them a program: dim=0 for dim=1.

import torch
import triton
import triton.language as tl


@triton.jit
def _softmax_kernel(
    x_ptr, out_ptr, x_row_stride, out_row_stride, n_rows, n_cols, BLOCK_ROWS: tl.constexpr, BLOCK_COLS: tl.constexpr
):
    rows = tl.arange(0, BLOCK_ROWS)[:, None]
    cols = tl.program_id(axis=0) * BLOCK_COLS + tl.arange(0, BLOCK_COLS)[None, :]
    mask = (rows < n_rows) & (cols < n_cols)
    x = tl.load(x_ptr + rows * x_row_stride + cols, mask=mask, other=-1e30).to(tl.float32)
    numerator = tl.exp(x - tl.max(x, axis=0)[None, :])
    result = numerator / tl.sum(numerator, axis=0)[None, :]
    tl.store(out_ptr + rows * out_row_stride + cols, result, mask=mask)


def softmax(x):
    n_rows, n_cols = x.shape
    out = torch.empty((n_rows, n_cols), dtype=x.dtype, device=x.device)
    _softmax_kernel[(triton.cdiv(n_cols, 512),)](
        x, out, x.stride(0), out.stride(0), n_rows, n_cols,
        BLOCK_ROWS=triton.next_power_of_2(n_rows), BLOCK_COLS=512,
    )
    return out
