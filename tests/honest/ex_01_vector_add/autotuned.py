# expect: PROVISIONAL
# expect-gpu: PASSED|TOO_SLOW
# The block size is left to the autotuner, once for short vectors and once for long ones.

import torch
import triton
import triton.language as tl


@triton.autotune(
    configs=[triton.Config({"BLOCK_SIZE": size}, num_warps=warps) for size, warps in ((1024, 4), (2048, 4), (4096, 8))],
    key=["IS_LONG"],
)
@triton.jit
def _add_kernel(x_ptr, y_ptr, out_ptr, n_elements, IS_LONG: tl.constexpr, BLOCK_SIZE: tl.constexpr):
    offsets = tl.program_id(axis=0).to(tl.int64) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    mask = offsets < n_elements
    x = tl.load(x_ptr + offsets, mask=mask)
    y = tl.load(y_ptr + offsets, mask=mask)
    tl.store(out_ptr + offsets, x + y, mask=mask)


def add(x, y):
    out = torch.empty_like(x)
    n_elements = x.numel()
    _add_kernel[lambda meta: (triton.cdiv(n_elements, meta["BLOCK_SIZE"]),)](
        x, y, out, n_elements, IS_LONG=n_elements > 2**20
    )
    return out
