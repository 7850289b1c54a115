# expect: PROVISIONAL
# expect-gpu: PASSED|TOO_SLOW
# exp2 in place of exp, since that is what the hardware has: the change of base is folded into one multiplication.

import triton
import triton.language as tl

LOG2_E = tl.constexpr(1.4426950408889634)


@triton.jit
def _softmax_kernel(x_ptr, out_ptr, x_row_stride, out_row_stride, n_cols, BLOCK_SIZE: tl.constexpr):
    row = tl.program_id(axis=0).to(tl.int64)
    cols = tl.arange(0, BLOCK_SIZE)
    mask = cols < n_cols
    x = tl.load(x_ptr + row * x_row_stride + cols, mask=mask, other=-float("inf")).to(tl.float32)
    powers = tl.exp2((x - tl.max(x, axis=0)) * LOG2_E)
    tl.store(out_ptr + row * out_row_stride + cols, powers / tl.sum(powers, axis=0), mask=mask)


def softmax(x):
    n_rows, n_cols = x.shape
    out = x.new_empty((n_rows, n_cols))
    block_size = triton.next_power_of_2(n_cols)
    warps = min(max(block_size // 512, 1), 16)
    _softmax_kernel[(n_rows,)](x, out, x.stride(0), out.stride(0), n_cols, BLOCK_SIZE=block_size, num_warps=warps)
    return out
