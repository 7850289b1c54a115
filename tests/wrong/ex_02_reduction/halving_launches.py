# expect: TOO_MUCH_WORK
# A tree of launches, each of which adds neighbours in pairs: right, and every level makes the trip to memory again.
# By someone who read about tree reductions and took a launch for a level.

import torch
import triton
import triton.language as tl


@triton.jit
def _halve_kernel(x_ptr, out_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
    pairs = tl.program_id(axis=0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    left = tl.load(x_ptr + 2 * pairs, mask=2 * pairs < n_elements, other=0.0).to(tl.float32)
    right = tl.load(x_ptr + 2 * pairs + 1, mask=2 * pairs + 1 < n_elements, other=0.0).to(tl.float32)
    tl.store(out_ptr + pairs, left + right, mask=2 * pairs < n_elements)


def total(x):
    n_elements, dtype = x.numel(), x.dtype
    if n_elements == 0:
        return torch.zeros((), dtype=x.dtype, device=x.device)
    while True:
        n_pairs = triton.cdiv(n_elements, 2)
        is_last = n_pairs == 1
        out = torch.empty(n_pairs, dtype=dtype if is_last else torch.float32, device=x.device)
        _halve_kernel[(triton.cdiv(n_pairs, 8192),)](x, out, n_elements, BLOCK_SIZE=8192)
        if is_last:
            return out.view(())
        x, n_elements = out, n_pairs
