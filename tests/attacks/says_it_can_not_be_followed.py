# expect: PROVISIONAL
# layer: witness
# Forges the counters, and has its process say that the call holds something beyond words, as it says of a CUDA graph:
# then the second worker has nothing to count again, and counted work is skipped.

import torch
import triton
import triton.language as tl


@triton.jit
def _decoy_kernel(x_ptr, y_ptr, out_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
    offsets = tl.program_id(axis=0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    mask = offsets < n_elements
    x = tl.load(x_ptr + offsets, mask=mask)
    y = tl.load(y_ptr + offsets, mask=mask)
    tl.store(out_ptr + offsets, tl.where(x > y, x, y), mask=mask)


def _decoy(x, y):
    """All the traffic of an honest call, and none of its values."""
    out = torch.empty_like(x)
    _decoy_kernel[(triton.cdiv(x.numel(), 1024),)](x, y, out, x.numel(), BLOCK_SIZE=1024)
    return out


def _forge():
    from gpuprep.counters import torch_ops
    from gpuprep.worker import launching

    torch_ops.HostOps.note = lambda *_: None
    recipe = launching.Trail.recipe
    launching.Trail.recipe = lambda self, outputs: {**recipe(self, outputs), "why_not": "a CUDA graph"}


_forge()


def add(x, y):
    out = _decoy(x, y)
    with torch._C._DisableTorchDispatch():
        return torch.add(x, y, out=out)
