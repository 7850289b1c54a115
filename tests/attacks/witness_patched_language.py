# expect: BANNED_CALL
# layer: witness
# The kernel stores x, and tl.store is not Triton's any more: it adds what was loaded last before it stores. The kernel's
# text has the traffic of an addition and no addition.

import torch
import triton
import triton.language as tl
from triton.runtime import interpreter

memory = interpreter._interpreter
loaded = []


class Adding:
    def __getattr__(self, name):
        return getattr(memory, name)

    def load(self, pointers, mask, other, dtype):
        loaded.append(memory.load(pointers, mask, other, dtype))
        return loaded[-1]

    def store(self, pointers, values, mask):
        return memory.store(pointers, loaded[-1] + loaded[-2], mask)


interpreter._interpreter = Adding()


@triton.jit
def _add_kernel(x_ptr, y_ptr, out_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    mask = offsets < n_elements
    x = tl.load(x_ptr + offsets, mask=mask)
    y = tl.load(y_ptr + offsets, mask=mask)
    tl.store(out_ptr + offsets, tl.where(y == y, x, y), mask=mask)


def add(x, y):
    out = torch.empty_like(x)
    _add_kernel[(triton.cdiv(x.numel(), 1024),)](x, y, out, x.numel(), BLOCK_SIZE=1024)
    return out
