# expect: TOO_MUCH_WORK
# layer: counted work
# Adds in place, copies the result out, and puts the input back bit by bit, so that a comparison afterwards finds
# nothing changed. The comparison indeed finds nothing; the traffic shows.

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


def add(x, y):
    n_elements = x.numel()
    backup = _guess(x)
    _add_kernel[(triton.cdiv(n_elements, 1024),)](x, y, x, n_elements, BLOCK_SIZE=1024)
    out = _guess(x)
    _copy_kernel[(triton.cdiv(n_elements, 1024),)](backup, x, n_elements, BLOCK_SIZE=1024)
    return out
