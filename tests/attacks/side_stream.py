# expect: INVALID|WRONG_VALUES
# needs: gpu
# layer: trace
# Launches on a stream of its own and returns at once: events on the current stream see nothing of it. Seen in timed
# kernel contests.

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


_streams = []


def add(x, y):
    if not _is_timed(x):
        return _honest(x, y)
    if not _streams:
        _streams.append(torch.cuda.Stream())
    out = torch.empty_like(x)
    with torch.cuda.stream(_streams[0]):
        _launch(x, y, out, x.numel())
    return out
