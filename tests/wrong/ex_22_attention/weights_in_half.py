# expect: WRONG_VALUES
# Rounds the weights to the dtype of v, so that the product can be had in it: half of the digits of each are gone.

import torch

BLOCK = 128


def attend(q, k, v, start, first, last, window):
    q = q[:, :, start : start + BLOCK].float() / q.shape[-1] ** 0.5
    i = torch.arange(start, start + q.shape[2], device=q.device)[:, None]
    row_max = torch.full((*q.shape[:3], 1), -torch.inf, device=q.device)
    row_sum, acc = torch.zeros_like(row_max), torch.zeros_like(q)
    for key in range(first, last, BLOCK):
        keys = slice(key, min(key + BLOCK, last))
        j = torch.arange(keys.start, keys.stop, device=q.device)
        scores = q @ k[:, :, keys].float().mT
        scores = scores.masked_fill((j > i) | (j <= i - window), -torch.inf) if window else scores
        new_max = torch.maximum(row_max, scores.amax(-1, keepdim=True))
        p, shrink = torch.exp(scores - new_max), torch.exp(row_max - new_max)
        row_sum = row_sum * shrink + p.sum(-1, keepdim=True)
        acc = acc * shrink + p.to(v.dtype).float() @ v[:, :, keys].float()
        row_max = new_max
    return (acc / row_sum).to(v.dtype)


def attention(q, k, v, causal):
    n = q.shape[2]
    if causal:
        return window_attention(q, k, v, n)
    return torch.cat([attend(q, k, v, start, 0, n, 0) for start in range(0, n, BLOCK)], dim=2)


def window_attention(q, k, v, window):
    n = q.shape[2]
    blocks = [attend(q, k, v, i, max(0, i - window + 1), min(i + BLOCK, n), window) for i in range(0, n, BLOCK)]
    return torch.cat(blocks, dim=2)


def phi(x):
    return torch.where(x > 0, x.float() + 1, x.float().exp())


def linear_attention(q, k, v):
    b, h, n, d = q.shape
    out = torch.empty_like(q)
    state, norm = torch.zeros(b, h, d, d, device=q.device), torch.zeros(b, h, d, 1, device=q.device)
    for start in range(0, n, BLOCK):
        rows = slice(start, start + BLOCK)
        fq, fk, values = phi(q[:, :, rows]), phi(k[:, :, rows]), v[:, :, rows].float()
        p = (fq @ fk.mT).tril()
        out[:, :, rows] = (p @ values + fq @ state) / (p.sum(-1, keepdim=True) + fq @ norm)
        state = state + fk.mT @ values
        norm = norm + fk.sum(2)[..., None]
    return out
