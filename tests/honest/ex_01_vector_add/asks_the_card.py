# expect: SKIPPED
# expect-gpu: PASSED|TOO_SLOW
# A persistent grid that needs a card to be planned: it asks for the number of multiprocessors each time.

import torch
import triton
import triton.language as tl


@triton.jit
def _add_kernel(x_ptr, y_ptr, out_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
    n_blocks = tl.cdiv(n_elements, BLOCK_SIZE)
    for block in range(tl.program_id(axis=0), n_blocks, tl.num_programs(axis=0)):
        offsets = block.to(tl.int64) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
        mask = offsets < n_elements
        x = tl.load(x_ptr + offsets, mask=mask)
        y = tl.load(y_ptr + offsets, mask=mask)
        tl.store(out_ptr + offsets, x + y, mask=mask)


def add(x, y):
    out = torch.empty_like(x)
    card = torch.cuda.get_device_properties(torch.cuda.current_device())
    _add_kernel[(16 * card.multi_processor_count,)](x, y, out, x.numel(), BLOCK_SIZE=2048)
    return out
