# expect: BANNED_CALL
# Unpacks with torch and multiplies with F.linear: what pack may do, gemv may not.

import torch


def pack(w):
    n, k = w.shape
    groups = w.view(n, k // 128, 128).float()
    scales = (groups.abs().amax(dim=2) / 7).half()
    steps = scales.float()[:, :, None]
    q = torch.where(steps > 0, groups / steps, 0.0).round().clamp(-7, 7)
    codes = (q.to(torch.int32) + 8).view(n, k // 128, 8, 16)
    shifts = 4 * torch.arange(8, dtype=torch.int32, device=w.device)[:, None]
    return (codes << shifts).sum(dim=2, dtype=torch.int32).view(n, k // 8), scales


def gemv(x, w4, scales):
    n, n_groups = scales.shape
    q = torch.stack([((w4.view(n, n_groups, 16) >> 4 * j) & 15) - 8 for j in range(8)], dim=2).flatten(2)
    w = (q * scales.float()[:, :, None]).flatten(1)
    return torch.nn.functional.linear(x.float(), w).half()
