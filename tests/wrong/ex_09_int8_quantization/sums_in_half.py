# expect: WRONG_VALUES
# Integers, but added up as float16, where anything from 65520 on is infinity.

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


def qlinear(x, wq, w_scales):
    xq, x_scales = quantize_rows(x)
    padded = torch.nn.functional.pad(xq, (0, 0, 0, max(0, 17 - len(xq))))
    sums = (padded.half() @ wq.half().t()).float()[: len(xq)]
    return (sums * x_scales[:, None] * w_scales).to(x.dtype)
