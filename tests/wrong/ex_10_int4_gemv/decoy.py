# expect: BANNED_CALL
# torch computes the result; a kernel reads every code and every scale, so that the counters are content, and copies it.

import torch
import triton
import triton.language as tl


def pack(w):
    n, k = w.shape
    groups = w.view(n, k // 128, 128).float()
    scales = (groups.abs().amax(dim=2) / 7).half()
    steps = scales.float()[:, :, None]
    q = torch.where(steps > 0, groups / steps, 0.0).round().clamp(-7, 7)
    codes = (q.to(torch.int32) + 8).view(n, k // 128, 8, 16)
    shifts = 4 * torch.arange(8, dtype=torch.int32, device=w.device)[:, None]
    return (codes << shifts).sum(dim=2, dtype=torch.int32).view(n, k // 8), scales


@triton.jit
def _copy_kernel(w4_ptr, scales_ptr, result_ptr, out_ptr, n_words, n_groups, BLOCK: tl.constexpr):
    row = tl.program_id(axis=0)
    seen = 0
    for start in range(0, n_words, BLOCK):
        words = start + tl.arange(0, BLOCK)
        seen += tl.sum(tl.load(w4_ptr + row * n_words + words, mask=words < n_words, other=0), axis=0)
    groups = tl.arange(0, BLOCK)
    scales = tl.load(scales_ptr + row * n_groups + groups, mask=groups < n_groups, other=0.0)
    seen += tl.sum(scales, axis=0).to(tl.int32)
    tl.store(out_ptr + row, tl.where(seen == 123456789, 0.0, tl.load(result_ptr + row)))


def gemv(x, w4, scales):
    n, n_groups = scales.shape
    q = torch.stack([((w4.view(n, n_groups, 16) >> 4 * j) & 15) - 8 for j in range(8)], dim=2).flatten(2)
    result = x.float() @ (q * scales.float()[:, :, None]).flatten(1).t()
    out = torch.empty((1, n), dtype=torch.float16, device=x.device)
    _copy_kernel[(n,)](w4, scales, result, out, w4.shape[1], n_groups, BLOCK=1024)
    return out
