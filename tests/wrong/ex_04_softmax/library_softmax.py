# expect: BANNED_CALL
# A kernel that copies, and torch.softmax before it: every element goes through the kernel, none is computed there.

import torch
import triton
import triton.language as tl


@triton.jit
def _softmax_kernel(x_ptr, out_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
    offsets = tl.program_id(axis=0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    mask = offsets < n_elements
    tl.store(out_ptr + offsets, tl.load(x_ptr + offsets, mask=mask), mask=mask)


def softmax(x):
    x = torch.nn.functional.softmax(x, dim=-1)
    out = torch.empty_like(x)
    _softmax_kernel[(triton.cdiv(x.numel(), 4096),)](x, out, x.numel(), BLOCK_SIZE=4096)
    return out
