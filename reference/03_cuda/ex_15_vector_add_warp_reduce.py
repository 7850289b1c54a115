"""ex_15 Vectorised add, warp reduce: CUDA C from the ground up, 16 bytes a load, and a sum that stays in registers.

Task: write the two kernels in the `.cu` beside this file and the launchers `add(x, y)` and `total(x)` here; then make
`add` an operator that the rest of PyTorch can call, `torch.ops.gpuprep_ex15.add(x, y)`. No torch arithmetic.

    add:    out[i] = x[i] + y[i]                 for i in 0 … n−1
    total:  out = x[0] + x[1] + … + x[n−1]       (0 for n = 0), added up in float32

Signature
    x, y  [n]  float32, contiguous, read only; n is any size from 0 up. A contiguous tensor may start anywhere in its
               storage: the first address of `x[1:]` is no multiple of 16, which a float4 needs.
    out        float32, newly allocated; [n] for add, 0-dimensional for total.
    gpuprep_ex15::add  the schema (Tensor x, Tensor y) -> Tensor, add as its implementation, and a fake implementation:
               what comes back in shape and dtype, for torch.compile and others that ask without any data.

The bound: one addition for 12 bytes (add) or 4 bytes (total), so memory decides for both. Full sectors are not all: a
warp that asks for 16 bytes a lane needs a quarter of the requests, and has four times as much under way.

How it is graded: sizes around a warp and a block, misaligned starts, values that cancel, the operator and its fake;
16 sectors a load request, each byte once; in total, one partial sum a block, and shared memory only where the sums of
warps meet: at most n/256 requests to it. On a GPU, the share of this card's copy rate, for each of the two.

Read: CUDA C++ Programming Guide, "Warp Shuffle Functions"; J. Luitjens, "CUDA Pro Tip: Increase Performance with
Vectorized Memory Access" and "Faster Parallel Reductions on Kepler"; PyTorch, "Custom C++ and Python Operators".
"""

from pathlib import Path

import torch

from gpuprep.cuda import RawModule

_module = RawModule(code=Path(__file__).with_suffix(".cu").read_text(encoding="utf-8"))


# BEGIN SOLUTION
_THREADS = 256
"""A block: eight warps, and eight blocks fill a multiprocessor's 2048 places for threads."""


def _n_blocks(n_elements: int, per_thread: int, most: int) -> int:
    """Enough blocks for `per_thread` elements a thread, up to `most`. Never none: CUDA refuses an empty grid."""
    return max(1, min(most, -(-n_elements // (per_thread * _THREADS))))


# END SOLUTION
def add(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return x + y, both [n]."""
    # BEGIN PROMPT
    # # TODO 5: allocate the output, choose a grid and a block, launch add_kernel with its arguments.
    # raise NotImplementedError("ex_15: write add()")
    # END PROMPT
    # BEGIN SOLUTION
    out = torch.empty_like(x)
    # One float4 a thread, and a few more of a long vector. With many more blocks than run at a time, no multiprocessor
    # stands idle while the last ones finish.
    grid = (_n_blocks(x.numel(), per_thread=4, most=65536),)
    _module.get_function("add_kernel")(grid, (_THREADS,), (x, y, out, x.numel()))
    return out
    # END SOLUTION


def total(x: torch.Tensor) -> torch.Tensor:
    """Return the sum of x [n] as a 0-dimensional tensor."""
    # BEGIN PROMPT
    # # TODO 6: launch partial_sums_kernel so that one number comes out however many blocks there were.
    # raise NotImplementedError("ex_15: write total()")
    # END PROMPT
    # BEGIN SOLUTION
    # A block ends with shuffles and a barrier, in which it asks for no data, so each one gets more to add up than its
    # threads take at once; and few blocks leave few partial sums.
    n_partials = _n_blocks(x.numel(), per_thread=16, most=4096)
    partials = torch.empty(n_partials, dtype=torch.float32, device=x.device)
    out = torch.empty((), dtype=torch.float32, device=x.device)
    partial_sums = _module.get_function("partial_sums_kernel")
    # The end of the first launch is the one moment when all partial sums are known to be written. Then the same kernel
    # adds them up, in a single block. An atomicAdd a block would save the second launch, and add in another order each
    # time.
    partial_sums((n_partials,), (_THREADS,), (x, partials, x.numel()))
    partial_sums((1,), (_THREADS,), (partials, out, n_partials))
    return out
    # END SOLUTION


# BEGIN PROMPT
# # TODO 7: register add as torch.ops.gpuprep_ex15.add, with a fake implementation.
# END PROMPT
# BEGIN SOLUTION
# An operator is a schema and an implementation for each kind of device. The schema promises that no argument is written
# to and that nothing returned shares memory with one: torch.compile relies on it when it reorders and fuses.
torch.library.define("gpuprep_ex15::add", "(Tensor x, Tensor y) -> Tensor")
torch.library.impl("gpuprep_ex15::add", ("cpu", "cuda"), add)


@torch.library.register_fake("gpuprep_ex15::add")
def _add_fake(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:  # noqa: ARG001
    # Fake tensors have a shape and a dtype, but no memory that a kernel could read.
    return torch.empty_like(x)


# END SOLUTION
