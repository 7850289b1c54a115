# expect: BANNED_CALL
# layer: host ops
# The library call happens in another thread: torch's dispatch modes are a thread's own.

import threading

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


def add(x, y):
    found = []
    thread = threading.Thread(target=lambda: found.append(torch.add(x, y)))
    thread.start()
    thread.join()
    return found[0]
