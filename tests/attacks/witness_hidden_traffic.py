# expect: TOO_MUCH_WORK
# layer: witness
# exercise: ex_04
# Three kernels where one will do: right, and with four times the traffic. The counters are told to forget whatever goes
# beyond the budget.

from dataclasses import replace

import torch
import triton
import triton.language as tl
from gpuprep.counters.recording import Recording

honest_work = Recording.work.fget
allowed = {"n_bytes": 0}


def modest_work(recording):
    n_bytes = allowed["n_bytes"]
    return replace(honest_work(recording), bytes_loaded=n_bytes, bytes_stored=n_bytes, launches=1)


Recording.work = property(modest_work)


@triton.jit
def _row_max_kernel(x_ptr, max_ptr, stride, n_cols, BLOCK_SIZE: tl.constexpr):
    row, cols = tl.program_id(0), tl.arange(0, BLOCK_SIZE)
    x = tl.load(x_ptr + row * stride + cols, mask=cols < n_cols, other=-float("inf")).to(tl.float32)
    tl.store(max_ptr + row, tl.max(x, axis=0))


@triton.jit
def _row_sum_kernel(x_ptr, max_ptr, sum_ptr, stride, n_cols, BLOCK_SIZE: tl.constexpr):
    row, cols = tl.program_id(0), tl.arange(0, BLOCK_SIZE)
    x = tl.load(x_ptr + row * stride + cols, mask=cols < n_cols, other=-float("inf")).to(tl.float32)
    tl.store(sum_ptr + row, tl.sum(tl.exp(x - tl.load(max_ptr + row)), axis=0))


@triton.jit
def _divide_kernel(x_ptr, max_ptr, sum_ptr, out_ptr, stride, n_cols, BLOCK_SIZE: tl.constexpr):
    row, cols = tl.program_id(0), tl.arange(0, BLOCK_SIZE)
    mask = cols < n_cols
    x = tl.load(x_ptr + row * stride + cols, mask=mask, other=-float("inf")).to(tl.float32)
    result = tl.exp(x - tl.load(max_ptr + row)) / tl.load(sum_ptr + row)
    tl.store(out_ptr + row * n_cols + cols, result, mask=mask)


def softmax(x):
    n_rows, n_cols = x.shape
    allowed["n_bytes"] = x.numel() * x.element_size()
    out = torch.empty((n_rows, n_cols), dtype=x.dtype, device=x.device)
    row_max, row_sum = (torch.empty(n_rows, dtype=torch.float32, device=x.device) for _ in range(2))
    block_size, stride = triton.next_power_of_2(n_cols), x.stride(0)
    _row_max_kernel[(n_rows,)](x, row_max, stride, n_cols, BLOCK_SIZE=block_size)
    _row_sum_kernel[(n_rows,)](x, row_max, row_sum, stride, n_cols, BLOCK_SIZE=block_size)
    _divide_kernel[(n_rows,)](x, row_max, row_sum, out, stride, n_cols, BLOCK_SIZE=block_size)
    return out
