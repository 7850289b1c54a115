# expect: PASSED
# Each tile has a softmax of its own; a merge weighs two of them by their maxima and sums, as the splits of flash-decode
# do. Linear attention has all its blocks at once: a cumulative sum of what each adds to the state.

import torch

BLOCK = 64


def partial(q, k, v, hidden=None):
    scores = q @ k.mT
    if hidden is not None:
        scores = scores.masked_fill(hidden, -torch.inf)
    largest = scores.amax(-1, keepdim=True)
    p = torch.exp(scores - largest.masked_fill(largest == -torch.inf, 0))
    return largest, p.sum(-1, keepdim=True), p @ v


def merged(first, second):
    largest = torch.maximum(first[0], second[0])
    base = largest.masked_fill(largest == -torch.inf, 0)
    a, b = torch.exp(first[0] - base), torch.exp(second[0] - base)
    return largest, a * first[1] + b * second[1], a * first[2] + b * second[2]


def attend(q, k, v, causal, window):
    shape, dtype = q.shape, q.dtype
    n, d = shape[2:]
    q, k, v = (x.reshape(-1, n, d).float() for x in (q, k, v))
    out = torch.empty(shape, dtype=dtype, device=q.device)
    flat = out.view(-1, n, d)
    for start in range(0, n, BLOCK):
        rows = slice(start, min(start + BLOCK, n))
        i = torch.arange(rows.start, rows.stop, device=q.device)[:, None]
        found = None
        for key in range(max(0, start - window + 1) // BLOCK * BLOCK, rows.stop if causal else n, BLOCK):
            keys = slice(key, min(key + BLOCK, n))
            j = torch.arange(keys.start, keys.stop, device=q.device)
            hidden = (i < j) | (i - j >= window) if causal else None
            tile = partial(q[:, rows] / d**0.5, k[:, keys], v[:, keys], hidden)
            found = merged(found, tile) if found else tile
        flat[:, rows] = found[2] / found[1]
    return out


def attention(q, k, v, causal):
    return attend(q, k, v, causal, q.shape[2])


def window_attention(q, k, v, window):
    return attend(q, k, v, True, window)


def linear_attention(q, k, v):
    shape, dtype = q.shape, q.dtype
    n, d = shape[2:]
    n_blocks = -(-n // BLOCK)
    # Padded keys must have weight 0, and e^0 is not 0: padding comes after φ.
    q, k, v = (x.reshape(-1, n, d).float() for x in (q, k, v))
    q, k = (torch.where(x > 0, x + 1, x.clamp(max=0).exp()) for x in (q, k))
    pad = (0, 0, 0, n_blocks * BLOCK - n)
    q, k, v = (torch.nn.functional.pad(x, pad).unflatten(1, (n_blocks, BLOCK)) for x in (q, k, v))
    values = torch.cat([v, torch.ones_like(v[..., :1])], dim=-1)
    added = k.mT @ values
    before = added.cumsum(1) - added
    total = (q @ k.mT).tril() @ values + q @ before
    return (total[..., :d] / total[..., d:]).flatten(1, 2)[:, :n].reshape(shape).to(dtype)
