# expect: COMPILE_FAILED|RAISED
# needs: gpu
# layer: judge
# A kernel in Python that the interpreter runs and no compiler takes. Without a card it is provisional at best; a card
# says the rest.

import torch
import triton
import triton.language as tl


@triton.jit
def _add_kernel(x_ptr, y_ptr, out_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
    offsets = {"all": tl.program_id(axis=0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)}["all"]
    mask = offsets < n_elements
    x = tl.load(x_ptr + offsets, mask=mask)
    y = tl.load(y_ptr + offsets, mask=mask)
    tl.store(out_ptr + offsets, x + y, mask=mask)


def _launch(x, y, out, n_elements):
    _add_kernel[(triton.cdiv(n_elements, 1024),)](x, y, out, n_elements, BLOCK_SIZE=1024)
    return out


def _honest(x, y):
    return _launch(x, y, torch.empty_like(x), x.numel())


def add(x, y):
    return _honest(x, y)
