# expect: WRONG_VALUES
# Normalises columns instead of rows: dim=0 for dim=1.

import torch
import triton
import triton.language as tl


@triton.jit
def _softmax_kernel(x_ptr, out_ptr, x_row_stride, out_row_stride, n_rows, BLOCK_SIZE: tl.constexpr):
    col = tl.program_id(axis=0)
    rows = tl.arange(0, BLOCK_SIZE)
    mask = rows < n_rows
    x = tl.load(x_ptr + rows * x_row_stride + col, mask=mask, other=-float("inf")).to(tl.float32)
    numerator = tl.exp(x - tl.max(x, axis=0))
    tl.store(out_ptr + rows * out_row_stride + col, numerator / tl.sum(numerator, axis=0), mask=mask)


def softmax(x):
    n_rows, n_cols = x.shape
    out = torch.empty((n_rows, n_cols), dtype=x.dtype, device=x.device)
    block_size = triton.next_power_of_2(n_rows)
    _softmax_kernel[(n_cols,)](x, out, x.stride(0), out.stride(0), n_rows, BLOCK_SIZE=block_size)
    return out
