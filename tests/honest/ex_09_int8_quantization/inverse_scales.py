# expect: PROVISIONAL
# expect-gpu: PASSED|TOO_SLOW
# Multiplies by 127 / m, clamps although nothing is left to clamp, and selects two neighbours instead of sorting.

import math

import torch


def scale_of(largest):
    scale = largest.float() / 127
    return torch.where(scale == 0, 1.0, scale)


def quantize_rows(rows):
    largest = torch.linalg.vector_norm(rows.float(), float("inf"), dim=1)
    inverse = torch.where(largest == 0, 1.0, 127.0 / largest)
    q = (rows.float() * inverse[:, None]).round_().clamp_(-127, 127).to(torch.int8).contiguous()
    return q, scale_of(largest)


def calibrate(samples, method, percentile):
    magnitudes = samples.abs().float().reshape(-1)
    last = magnitudes.numel() - 1
    place = last * (1.0 if method == "minmax" else percentile / 100)
    n = math.floor(place)
    below = torch.kthvalue(magnitudes, n + 1).values
    above = torch.kthvalue(magnitudes, min(n + 1, last) + 1).values
    return scale_of(below * (1 - (place - n)) + above * (place - n))


def quantize_per_channel(w):
    return quantize_rows(w)


def qlinear(x, wq, w_scales):
    n_tokens = x.shape[0]
    rows = torch.zeros((max(n_tokens, 32), x.shape[1]), dtype=torch.int8, device=x.device)
    rows[:n_tokens], x_scales = quantize_rows(x)
    sums = torch._int_mm(rows, wq.t())[:n_tokens].float()
    sums.mul_(w_scales).mul_(x_scales[:, None])
    return sums.to(x.dtype)
