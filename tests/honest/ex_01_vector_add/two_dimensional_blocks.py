# expect: PROVISIONAL
# expect-gpu: PASSED|TOO_SLOW
# Each program takes several rows of a block at once: offsets, masks and values have two axes.

import torch
import triton
import triton.language as tl


@triton.jit
def _add_kernel(x_ptr, y_ptr, out_ptr, n_elements, N_ROWS: tl.constexpr, N_COLS: tl.constexpr):
    first = tl.program_id(axis=0).to(tl.int64) * (N_ROWS * N_COLS)
    offsets = first + tl.arange(0, N_ROWS)[:, None] * N_COLS + tl.arange(0, N_COLS)[None, :]
    mask = offsets < n_elements
    x = tl.load(x_ptr + offsets, mask=mask)
    y = tl.load(y_ptr + offsets, mask=mask)
    tl.store(out_ptr + offsets, x + y, mask=mask)


def add(x, y):
    out = torch.empty_like(x)
    n_elements = x.numel()
    _add_kernel[(triton.cdiv(n_elements, 4 * 256),)](x, y, out, n_elements, N_ROWS=4, N_COLS=256)
    return out
