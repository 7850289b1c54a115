# expect: BANNED_CALL
# layer: witness
# The kernel is a real one, with the right traffic, and its sum goes to a scratch buffer that nobody looks at. The output
# comes from torch, and the list of host operations is emptied. By someone who heard that only traffic is counted.

import torch
import triton
import triton.language as tl
from gpuprep.counters.recording import Recording
from gpuprep.counters.torch_ops import HostOps

Recording.stored_into = lambda recording, tensor: tensor.numel()
HostOps.note = lambda *_: None


@triton.jit
def _add_kernel(x_ptr, y_ptr, scratch_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    mask = offsets < n_elements
    x = tl.load(x_ptr + offsets, mask=mask)
    y = tl.load(y_ptr + offsets, mask=mask)
    tl.store(scratch_ptr + offsets, x + y, mask=mask)


def add(x, y):
    n_elements = x.numel()
    scratch = torch.empty_like(x)
    _add_kernel[(triton.cdiv(n_elements, 1024),)](x, y, scratch, n_elements, BLOCK_SIZE=1024)
    return torch.add(x, y)
