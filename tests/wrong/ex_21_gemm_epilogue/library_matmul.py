# expect: BANNED_CALL
# cuBLAS multiplies, a kernel of one's own only adds the bias and applies GELU: half of the exercise.

import triton
import triton.language as tl


@triton.jit
def _bias_gelu_kernel(sums_ptr, b_ptr, out_ptr, n_elements, N, BLOCK_SIZE: tl.constexpr):
    offsets = tl.program_id(axis=0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    mask = offsets < n_elements
    h = tl.load(sums_ptr + offsets, mask=mask).to(tl.float32) + tl.load(b_ptr + offsets % N, mask=mask).to(tl.float32)
    tl.store(out_ptr + offsets, 0.5 * h * (1.0 + tl.erf(h * 0.7071067811865476)), mask=mask)


def linear_gelu(x, w, b):
    sums = x @ w.t()
    out = sums.new_empty(sums.shape)
    n_elements = out.numel()
    _bias_gelu_kernel[(triton.cdiv(n_elements, 4096),)](sums, b, out, n_elements, w.shape[0], BLOCK_SIZE=4096)
    return out
