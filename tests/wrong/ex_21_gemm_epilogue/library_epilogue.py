# expect: BANNED_CALL
# cuBLASLt's own fused epilogue through a private door, and a kernel that copies its result so that one is launched.

import torch
import triton
import triton.language as tl


@triton.jit
def _copy_kernel(source_ptr, out_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
    offsets = tl.program_id(axis=0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    mask = offsets < n_elements
    tl.store(out_ptr + offsets, tl.load(source_ptr + offsets, mask=mask), mask=mask)


def linear_gelu(x, w, b):
    result = torch._addmm_activation(b, x, w.t(), use_gelu=True)
    out = torch.empty_like(result)
    _copy_kernel[(triton.cdiv(out.numel(), 4096),)](result, out, out.numel(), BLOCK_SIZE=4096)
    return out
