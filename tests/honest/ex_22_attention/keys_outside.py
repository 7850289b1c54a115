# expect: PASSED
# The loop over keys outside, the one over queries inside, with maximum, sum and output of all queries in memory. With a
# window, all blocks of queries at once, each with the keys that it sees, gathered. In linear attention, z is one more
# column of S.

import torch
from torch.nn.functional import pad

BLOCK = 128


def attention(q, k, v, causal):
    b, h, n, d = q.shape
    largest = torch.full((b, h, n), -torch.inf, device=q.device)
    total, out = torch.zeros_like(largest), torch.zeros((b, h, n, d), device=q.device)
    for key in range(0, n, BLOCK):
        keys = slice(key, min(key + BLOCK, n))
        keys_f32, values = k[:, :, keys].float(), v[:, :, keys].float()
        for start in range(key if causal else 0, n, BLOCK):
            rows = slice(start, min(start + BLOCK, n))
            scores = torch.einsum("bhid,bhjd->bhij", q[:, :, rows].float(), keys_f32) / d**0.5
            if causal and start == key:
                side = scores.shape[-1]
                scores = scores + torch.full((side, side), -torch.inf, device=q.device).triu(1)
            new = torch.maximum(largest[:, :, rows], scores.amax(-1))
            p, correction = torch.exp(scores - new[..., None]), torch.exp(largest[:, :, rows] - new)
            total[:, :, rows] = total[:, :, rows] * correction + p.sum(-1)
            out[:, :, rows] = out[:, :, rows] * correction[..., None] + torch.einsum("bhij,bhjd->bhid", p, values)
            largest[:, :, rows] = new
    return (out / total[..., None]).to(q.dtype)


def window_attention(q, k, v, window):
    (b, h, n, d), dtype = q.shape, q.dtype
    n_blocks = -(-n // BLOCK)
    window = min(window, n)
    # Each block with the `window` keys before it, which are padding at first: row r sees the keys r + 1 … r + window.
    after = n_blocks * BLOCK - n
    q = pad(q.float() / d**0.5, (0, 0, 0, after)).reshape(b, h, n_blocks, BLOCK, d)
    keys = torch.arange(n_blocks, device=q.device)[:, None] * BLOCK + torch.arange(BLOCK + window, device=q.device)
    k, v = (pad(x.float(), (0, 0, window, after))[:, :, keys] for x in (k, v))
    r, c = torch.arange(BLOCK, device=q.device)[:, None], torch.arange(BLOCK + window, device=q.device)
    hidden = (c <= r) | (c > r + window) | (keys[:, None, :] < window)
    scores = (q @ k.transpose(-2, -1)).masked_fill_(hidden, -torch.inf)
    p = scores.sub_(scores.amax(-1, keepdim=True)).exp_()
    out = (p @ v) / p.sum(-1, keepdim=True)
    return out.reshape(b, h, -1, d)[:, :, :n].to(dtype)


def linear_attention(q, k, v):
    b, h, n, d = q.shape
    out, state = [], torch.zeros(b, h, d, d + 1, device=q.device)
    for start in range(0, n, BLOCK):
        rows = slice(start, start + BLOCK)
        fq, fk = (torch.where(x > 0, x + 1, torch.exp(x)) for x in (q[:, :, rows].float(), k[:, :, rows].float()))
        values = pad(v[:, :, rows].float(), (0, 1), value=1.0)
        result = torch.tril(fq @ fk.transpose(2, 3)) @ values + fq @ state
        state = state + fk.transpose(2, 3) @ values
        out.append((result[..., :d] / result[..., d:]).to(q.dtype))
    return torch.cat(out, dim=2)
