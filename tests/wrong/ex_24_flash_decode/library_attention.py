# expect: BANNED_CALL
# One scaled_dot_product_attention a sequence, and a kernel that copies its results. By someone who had it working.

import torch
import triton
import triton.language as tl


@triton.jit
def _copy_kernel(x_ptr, out_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    mask = offsets < n_elements
    tl.store(out_ptr + offsets, tl.load(x_ptr + offsets, mask=mask), mask=mask)


def decode(q, k_pool, v_pool, block_table, lengths):
    rows = []
    for query, table, length in zip(q, block_table, lengths, strict=True):
        used = table[: triton.cdiv(int(length), k_pool.shape[1])].long()
        keys, values = (pool[used].flatten(0, 1)[: int(length)].transpose(0, 1) for pool in (k_pool, v_pool))
        attention = torch.nn.functional.scaled_dot_product_attention
        rows.append(attention(query[None, :, None], keys[None], values[None], enable_gqa=True)[0, :, 0])
    x = torch.stack(rows)
    out = torch.empty_like(x)
    _copy_kernel[(triton.cdiv(x.numel(), 1024),)](x, out, x.numel(), BLOCK_SIZE=1024)
    return out
