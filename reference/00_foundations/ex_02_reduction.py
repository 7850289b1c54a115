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
    # BEGIN PROMPT
    # # TODO 1: add up the elements that belong to this program, in float32.
    # # TODO 2: leave the sum where no other program writes, or where they may all safely add to it.
    # pass
    # END PROMPT
    # BEGIN SOLUTION
    # Each program shrinks one block to one number. Programs run in no particular order and can't wait for each other,
    # so every one of them gets a place of its own to write to: nothing to lock, and the same bits in every run.
    program_id = tl.program_id(axis=0)
    # int64 before the multiplication: element numbers past 2³¹ wrap around in int32.
    offsets = program_id.to(tl.int64) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    # A masked lane still takes part in tl.sum. `other` is what it brings along: zero, which changes no sum. Without it
    # the lane holds whatever was in the register.
    x = tl.load(x_ptr + offsets, mask=offsets < n_elements, other=0.0)
    # Convert before adding. A float16 sum that has reached 2048 can't take in a 1 any more.
    # tl.sum adds up within each thread, then across a warp by shuffles, then across the warps through shared memory:
    # a tree, whose rounding error grows with its depth, where that of a running sum grows with its length.
    tl.store(partials_ptr + program_id, tl.sum(x.to(tl.float32), axis=0))
    # END SOLUTION


# BEGIN SOLUTION
@triton.jit
def _sum_of_partials_kernel(partials_ptr, out_ptr, n_partials, BLOCK_SIZE: tl.constexpr):
    # A single program. The end of the first launch is the one moment when all partial sums are known to be written:
    # kernels on one stream run one after the other, and that is the barrier that we lack inside a kernel.
    # It keeps BLOCK_SIZE running sums, one a lane, and adds these up once at the end: one tree for the whole loop.
    sums = tl.zeros((BLOCK_SIZE,), dtype=tl.float32)
    for start in range(0, n_partials, BLOCK_SIZE):
        offsets = start + tl.arange(0, BLOCK_SIZE)
        sums += tl.load(partials_ptr + offsets, mask=offsets < n_partials, other=0.0)
    # tl.store rounds to the dtype that out_ptr points to: the only rounding to x's dtype in all of this.
    tl.store(out_ptr, tl.sum(sums, axis=0))


# END SOLUTION
def total(x: torch.Tensor) -> torch.Tensor:
    """Return the sum of x [n] as a 0-dimensional tensor of x's dtype."""
    # BEGIN PROMPT
    # # TODO 3: allocate what the kernels write to, and choose a block size.
    # # TODO 4: launch, so that one number comes out however many programs there were. What should n = 0 do?
    # raise NotImplementedError("ex_02: write total()")
    # END PROMPT
    # BEGIN SOLUTION
    n_elements = x.numel()
    # 8192 elements over 8 warps are 32 a thread: eight 16-byte loads that don't wait for each other. A program of a
    # reduction ends with a serial part (shuffles, shared memory, one store) in which it asks for no data, so each one
    # brings many loads, and several programs share a multiprocessor: one adds up while the others load.
    block_size = 8192
    n_partials = triton.cdiv(n_elements, block_size)
    # float32 here too: partials in x's dtype would undo the float32 additions. 4 bytes are written and 4 read again
    # for every block, about one thousandth of what was read from x.
    partials = torch.empty(n_partials, dtype=torch.float32, device=x.device)
    out = torch.empty((), dtype=x.dtype, device=x.device)
    # n = 0 needs no special case: a grid of no programs launches nothing, and the sum of no partials is zero.
    _partial_sums_kernel[(n_partials,)](x, partials, n_elements, BLOCK_SIZE=block_size, num_warps=8)
    # The other way is one launch with `tl.atomic_add(out_ptr, partial)` into a float32 zero. It is as fast, but adds
    # in the order in which programs happen to finish, so two runs may differ in their last bits, and float16 needs
    # another step to be rounded. Two launches give the same bits every time.
    _sum_of_partials_kernel[(1,)](partials, out, n_partials, BLOCK_SIZE=8192, num_warps=8)
    return out
    # END SOLUTION
