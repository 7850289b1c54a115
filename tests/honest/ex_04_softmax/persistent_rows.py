# expect: PROVISIONAL
# expect-gpu: PASSED|TOO_SLOW
# A few programs for every multiprocessor, each of which goes from row to row until none is left.

import torch
import triton
import triton.language as tl


@triton.jit
def _softmax_kernel(x_ptr, out_ptr, n_rows, n_cols, x_row_stride, out_row_stride, BLOCK_SIZE: tl.constexpr):
    cols = tl.arange(0, BLOCK_SIZE)
    mask = cols < n_cols
    for row in range(tl.program_id(axis=0), n_rows, tl.num_programs(axis=0)):
        places = tl.cast(row, tl.int64) * x_row_stride + cols
        x = tl.load(x_ptr + places, mask=mask, other=-float("inf")).to(tl.float32)
        numerator = tl.exp(x - tl.max(x, axis=0))
        places = tl.cast(row, tl.int64) * out_row_stride + cols
        tl.store(out_ptr + places, numerator / tl.sum(numerator, axis=0), mask=mask)


def softmax(x):
    n_rows, n_cols = x.shape
    out = torch.empty((n_rows, n_cols), dtype=x.dtype, device=x.device)
    block_size = triton.next_power_of_2(n_cols)
    n_most = 8 * torch.cuda.get_device_properties(x.device).multi_processor_count if x.is_cuda else 5
    _softmax_kernel[(min(n_rows, n_most),)](
        x, out, n_rows, n_cols, x.stride(0), out.stride(0), BLOCK_SIZE=block_size, num_warps=8
    )
    return out
