# expect: PASSED
# Head by head, with tiles of 64×32, powers of 2 instead of e, and every buffer updated in place. Linear attention goes
# from position to position, as a decoder does.

import math

import torch

ROWS, KEYS = 64, 32


def attend(q, k, v, out, causal, window):
    n, d = q.shape
    for start in range(0, n, ROWS):
        stop = min(start + ROWS, n)
        scaled = q[start:stop].float() * (math.log2(math.e) / math.sqrt(d))
        i = torch.arange(start, stop, device=q.device).unsqueeze(1)
        row_max = torch.full((stop - start, 1), -math.inf, device=q.device)
        row_sum = torch.zeros(stop - start, 1, device=q.device)
        acc = torch.zeros(stop - start, d, device=q.device)
        first, last = max(0, start - window + 1), stop if causal else n
        for key in range(first, last, KEYS):
            j = torch.arange(key, min(key + KEYS, last), device=q.device)
            scores = torch.mm(scaled, k[key : key + len(j)].float().t())
            if causal:
                scores.masked_fill_((j > i).logical_or(j <= i - window), -math.inf)
            new_max = torch.maximum(row_max, scores.amax(1, keepdim=True))
            safe = torch.where(new_max.isinf(), 0.0, new_max)
            scores.sub_(safe).exp2_()
            row_max.sub_(safe).exp2_()
            row_sum.mul_(row_max).add_(scores.sum(1, keepdim=True))
            acc.mul_(row_max).addmm_(scores, v[key : key + len(j)].float())
            row_max = new_max
        out[start:stop] = acc.div_(row_sum)


def each_head(q, k, v, causal, window):
    out = torch.empty_like(q, memory_format=torch.contiguous_format)
    for b in range(q.shape[0]):
        for h in range(q.shape[1]):
            attend(q[b, h], k[b, h], v[b, h], out[b, h], causal, window)
    return out


def attention(q, k, v, causal):
    return each_head(q, k, v, causal, q.shape[2])


def window_attention(q, k, v, window):
    return each_head(q, k, v, True, window)


def linear_attention(q, k, v):
    b, h, n, d = q.shape
    out = torch.empty((b, h, n, d), dtype=q.dtype, device=q.device)
    state, norm = torch.zeros(b, h, d, d, device=q.device), torch.zeros(b, h, d, device=q.device)
    for i in range(n):
        query, key = (torch.where(x[:, :, i] > 0, x[:, :, i].float() + 1, x[:, :, i].float().exp()) for x in (q, k))
        state += key.unsqueeze(-1) * v[:, :, i].float().unsqueeze(-2)
        norm += key
        out[:, :, i] = (query.unsqueeze(-2) @ state).squeeze(-2) / (query * norm).sum(-1, keepdim=True)
    return out
