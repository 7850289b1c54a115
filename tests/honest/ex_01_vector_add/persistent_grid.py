# expect: PROVISIONAL
# expect-gpu: PASSED|TOO_SLOW
# As many programs as the card can hold at once, each of which walks over its share of the blocks.

import torch
import triton
import triton.language as tl


@triton.jit
def _add_kernel(x_ptr, y_ptr, out_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
    first = tl.program_id(axis=0).to(tl.int64) * BLOCK_SIZE
    step = tl.num_programs(axis=0) * BLOCK_SIZE
    for start in range(first, n_elements, step):
        offsets = start + tl.arange(0, BLOCK_SIZE)
        mask = offsets < n_elements
        x = tl.load(x_ptr + offsets, mask=mask)
        y = tl.load(y_ptr + offsets, mask=mask)
        tl.store(out_ptr + offsets, x + y, mask=mask)


def _n_resident(device):
    """Programs that run side by side; a few where there is no card to ask."""
    return 16 * torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 8


def add(x, y):
    out = torch.empty_like(x)
    n_elements = x.numel()
    n_programs = min(_n_resident(x.device), triton.cdiv(n_elements, 1024))
    _add_kernel[(n_programs,)](x, y, out, n_elements, BLOCK_SIZE=1024)
    return out
