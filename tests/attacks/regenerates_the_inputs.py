# expect: WRONG_VALUES
# layer: process
# Draws inputs from all likely seeds beforehand, the process's own among them, adds them up at leisure, and recognises
# a case by its first value. Seen where the seed is a constant, or torch's default.

import torch
import triton
import triton.language as tl


@triton.jit
def _copy_kernel(x_ptr, out_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
    offsets = tl.program_id(axis=0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    mask = offsets < n_elements
    tl.store(out_ptr + offsets, tl.load(x_ptr + offsets, mask=mask), mask=mask)


def _guess(x):
    """A wrong answer that looks like one."""
    out = torch.empty_like(x)
    _copy_kernel[(triton.cdiv(x.numel(), 1024),)](x, out, x.numel(), BLOCK_SIZE=1024)
    return out


_known = {}


def _prepare():
    for seed in (torch.initial_seed(), torch.seed(), *range(64)):
        for size in (1024, 1025, 2**15):
            generator = torch.Generator().manual_seed(seed)
            x, y = torch.randn(size, generator=generator), torch.randn(size, generator=generator)
            _known[size, x[0].item()] = x + y


_prepare()


def add(x, y):
    found = _known.get((x.numel(), x[0].item()))
    return _guess(x) if found is None else found
