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


def add(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return x + y, both [n]."""
    # TODO 5: allocate the output, choose a grid and a block, launch add_kernel with its arguments.
    raise NotImplementedError("ex_15: write add()")


def total(x: torch.Tensor) -> torch.Tensor:
    """Return the sum of x [n] as a 0-dimensional tensor."""
    # TODO 6: launch partial_sums_kernel so that one number comes out however many blocks there were.
    raise NotImplementedError("ex_15: write total()")


# TODO 7: register add as torch.ops.gpuprep_ex15.add, with a fake implementation.
