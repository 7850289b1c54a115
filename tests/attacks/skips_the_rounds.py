# expect: WRONG_VALUES
# needs: gpu
# layer: audit
# Answers each audited round at once, as if it had been served: the clock stops early, and whatever is in the output
# slots may pass.

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


def _honest(x, y):
    return _launch(x, y, torch.empty_like(x), x.numel())


def _patch():
    from gpuprep.worker import stopwatch

    stopwatch.Rounds.queue = stopwatch.Rounds.finish = lambda rounds, *args: None


if torch.cuda.is_available():
    _patch()


def add(x, y):
    return _honest(x, y)
