# expect: PROVISIONAL
# expect-gpu: PASSED|TOO_SLOW
# Float32 products of at most 512 terms are exact: they stay below 2²⁴. Their sums are kept in int32,
# without torch._int_mm, and weights are widened a small block at a time.

import math

import torch


def scale_of(largest):
    scale = largest.float() / 127
    return torch.where(scale == 0, 1.0, scale)


def quantize_rows(rows):
    scales = scale_of(rows.abs().amax(dim=1))
    return torch.round(rows / scales[:, None]).to(torch.int8).contiguous(), scales


def calibrate(samples, method, percentile):
    magnitudes = samples.float().abs().flatten().sort().values
    if method == "minmax":
        return scale_of(magnitudes[-1])
    place = percentile / 100 * (len(magnitudes) - 1)
    below, above = magnitudes[math.floor(place)], magnitudes[math.ceil(place)]
    return scale_of(below + (above - below) * (place - math.floor(place)))


def quantize_per_channel(w):
    return quantize_rows(w)


MOST_TERMS = 512
MOST_CHANNELS = 256


def qlinear(x, wq, w_scales):
    xq, x_scales = quantize_rows(x)
    sums = torch.zeros((len(x), len(wq)), dtype=torch.int32, device=x.device)
    for k in range(0, x.shape[1], MOST_TERMS):
        terms = xq[:, k : k + MOST_TERMS].float()
        for n in range(0, len(wq), MOST_CHANNELS):
            block = wq[n : n + MOST_CHANNELS, k : k + MOST_TERMS].float()
            sums[:, n : n + MOST_CHANNELS] += (terms @ block.t()).to(torch.int32)
    return (sums * x_scales[:, None] * w_scales).to(x.dtype)
