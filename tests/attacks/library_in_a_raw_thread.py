# expect: BANNED_CALL
# layer: counted work
# A library call in a thread that was started from below the threading module, where no hook is.

import _thread

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
    found, done = [], _thread.allocate_lock()
    done.acquire()

    def work():
        found.append(torch.add(x, y))
        done.release()

    _thread.start_new_thread(work, ())
    done.acquire()
    return found[0]
