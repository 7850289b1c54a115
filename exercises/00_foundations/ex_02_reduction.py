"""ex_02 Reduction: many programs, one number. How do programs that can't see each other agree on a sum?

Task: write `total(x)` with at most two Triton kernel launches. No torch sum, mean or einsum.

    out = x[0] + x[1] + … + x[n−1]        (0 for n = 0), added up in float32 whatever the dtype of x

Signature
    x    [n]  float32 or float16, contiguous, read only. n is any size from 0 up.
    out  []   a 0-dimensional tensor of x's dtype, newly allocated. The sum is always representable in that dtype.

The bound: one addition for each element of itemsize bytes, so memory decides. Every element has to be read once:
n·itemsize bytes. The partial sums between the two launches must stay too few to matter.

How it is graded: against a float64 sum, on sizes that don't divide the block, on values that cancel, and with the
programs run in another order; at most 1.05·n·itemsize bytes moved in at most 2 launches (zeroing a scalar is none); on
a GPU, the share of this card's copy rate.

Read: Triton documentation of `tl.sum` and `tl.atomic_add`; M. Harris, "Optimizing Parallel Reduction in CUDA".
"""

import torch
import triton
import triton.language as tl


@triton.jit
def _partial_sums_kernel(x_ptr, partials_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
    # TODO 1: add up the elements that belong to this program, in float32.
    # TODO 2: leave the sum where no other program writes, or where they may all safely add to it.
    pass


def total(x: torch.Tensor) -> torch.Tensor:
    """Return the sum of x [n] as a 0-dimensional tensor of x's dtype."""
    # TODO 3: allocate what the kernels write to, and choose a block size.
    # TODO 4: launch, so that one number comes out however many programs there were. What should n = 0 do?
    raise NotImplementedError("ex_02: write total()")
