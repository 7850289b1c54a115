# expect: BANNED_CALL
# torch's own attention, and a kernel that has only to copy its result.

import torch
import triton
import triton.language as tl


@triton.jit
def _copy_kernel(x_ptr, out_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
    offsets = tl.program_id(axis=0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    mask = offsets < n_elements
    tl.store(out_ptr + offsets, tl.load(x_ptr + offsets, mask=mask), mask=mask)


def _copied(x):
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    _copy_kernel[(triton.cdiv(x.numel(), 4096),)](x, out, x.numel(), BLOCK_SIZE=4096)
    return out


def flash(q, k, v, causal):
    out = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=True)
    group_size = q.shape[1] // k.shape[1]
    scores = q.float() @ k.repeat_interleave(group_size, dim=1).float().mT * q.shape[3] ** -0.5
    if causal:
        scores = scores + torch.full(scores.shape[2:], -float("inf")).triu(1).to(q.device)
    return _copied(out.contiguous()), _copied(scores.logsumexp(dim=3))
