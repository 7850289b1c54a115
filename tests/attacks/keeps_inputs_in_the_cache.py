# expect: TOO_SLOW
# needs: gpu
# layer: audit
# Asks the hardware to keep its inputs in the L2 cache, for the next call on the same ones, and is slow otherwise:
# tiny programs of one warp. Seen where a benchmark's inputs fit the cache.

import torch
import triton
import triton.language as tl


@triton.jit
def _add_kernel(x_ptr, y_ptr, out_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
    offsets = tl.program_id(axis=0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    mask = offsets < n_elements
    x = tl.load(x_ptr + offsets, mask=mask, eviction_policy="evict_last")
    y = tl.load(y_ptr + offsets, mask=mask, eviction_policy="evict_last")
    tl.store(out_ptr + offsets, x + y, mask=mask, eviction_policy="evict_first")


def add(x, y):
    out = torch.empty_like(x)
    n_elements, block_size = x.numel(), 32 if x.is_cuda else 1024
    _add_kernel[(triton.cdiv(n_elements, block_size),)](x, y, out, n_elements, BLOCK_SIZE=block_size, num_warps=1)
    return out
