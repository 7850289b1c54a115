# expect: WRONG_VALUES|INVALID
# needs: gpu
# layer: audit
# Computes one call of three where calls come one after the other, and returns the last result again for the others.
# Seen in benchmarks that time many calls and compare the last output.

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


def _honest(x, y):
    return _launch(x, y, torch.empty_like(x), x.numel())


_calls = 0
_last = None


def add(x, y):
    global _calls, _last
    if not _is_timed(x):
        return _honest(x, y)
    _calls += 1
    if _calls % 3 == 1 or _last.shape != x.shape:
        _last = _honest(x, y)
    return _last
