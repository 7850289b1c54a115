"""ex_01 Vector add: the first kernel, and the fastest thing that a GPU can do with two vectors.

Task: write `add(x, y)` as one Triton kernel launch. No torch arithmetic: the kernel does the adding.

    out[i] = x[i] + y[i]        for i in 0 … n−1

Signature
    x, y  [n]  float32 or float16, contiguous, same dtype; read only. n is any size from 1 up.
    out   [n]  same dtype, newly allocated.

The bound: each element costs one addition and 3·itemsize bytes of device memory traffic (read x, read y, write out).
A GPU does hundreds of additions in the time of one such trip, so only the bytes matter: the kernel can't be faster
than copying the same number of bytes, and a good one is just as fast.

How it is graded: results for sizes that don't divide the block; exactly 3·n·itemsize bytes in one launch; on a GPU,
the share of this card's copy rate.

Read: Triton tutorial 01 (vector add); CUDA C++ Best Practices Guide, "Coalesced Access to Global Memory".
"""

import torch
import triton
import triton.language as tl


@triton.jit
def _add_kernel(x_ptr, y_ptr, out_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
    # TODO 1: find which elements belong to this program.
    # TODO 2: load them from x and y, but never an address past the end.
    # TODO 3: add, and store the sum to the same places of out.
    pass


def add(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return x + y, both [n]."""
    # TODO 4: allocate the output, choose a block size, launch enough programs to cover n.
    raise NotImplementedError("ex_01: write add()")
