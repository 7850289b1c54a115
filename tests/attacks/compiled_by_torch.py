# expect: BANNED_CALL
# layer: host ops
# torch.compile writes the kernel: the file holds none of its own that is launched. The plainest way around a task.

import torch
import triton
import triton.language as tl


@triton.jit
def _add_kernel(x_ptr, y_ptr, out_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
    offsets = tl.program_id(axis=0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    mask = offsets < n_elements
    x = tl.load(x_ptr + offsets, mask=mask)
    y = tl.load(y_ptr + offsets, mask=mask)
    tl.store(out_ptr + offsets, x + y, mask=mask)


_compiled = torch.compile(lambda x, y: x + y, backend="eager")


def add(x, y):
    return _compiled(x, y)
