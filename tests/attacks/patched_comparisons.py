# expect: WRONG_VALUES
# layer: process
# Makes torch's comparisons say yes. Seen in every benchmark that compares in the process that runs the submission.

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


for _owner, _name in [
    (torch, "allclose"),
    (torch, "equal"),
    (torch, "isclose"),
    (torch.testing, "assert_close"),
    (torch.Tensor, "allclose"),
    (torch.Tensor, "equal"),
]:
    setattr(_owner, _name, lambda *args, **kwargs: True)


def add(x, y):
    return _guess(x)
