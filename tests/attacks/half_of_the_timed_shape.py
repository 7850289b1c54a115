# expect: WRONG_VALUES
# needs: gpu
# layer: audit
# Right for every size that is compared, and half done for the one that is timed. Seen wherever correctness and speed
# are looked at on different inputs.

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


def _launch(x, y, out, n_elements):
    _add_kernel[(triton.cdiv(n_elements, 1024),)](x, y, out, n_elements, BLOCK_SIZE=1024)
    return out


def _is_timed(x):
    """The grader's own cases are small; what is timed is not."""
    return x.is_cuda and x.numel() > 2**24


def add(x, y):
    n_elements = x.numel()
    return _launch(x, y, torch.empty_like(x), n_elements // 2 if _is_timed(x) else n_elements)
