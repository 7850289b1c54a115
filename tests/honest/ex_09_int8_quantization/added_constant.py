# expect: PROVISIONAL
# expect-gpu: PASSED|TOO_SLOW
# Rounds without round: 1.5 · 2²³ leaves a float32 no room for a fraction, and its lowest byte is the integer.

import math

import torch


def scale_of(largest):
    scale = largest.float() / 127
    return torch.where(scale == 0, 1.0, scale)


NO_FRACTION = 12582912.0


def quantize_rows(rows):
    least, most = rows.aminmax(dim=1)
    scales = scale_of(torch.maximum(most, -least))
    shifted = (rows / scales[:, None]).contiguous() + NO_FRACTION
    return shifted.view(torch.int8).view(*rows.shape, 4)[..., 0].contiguous(), scales


def calibrate(samples, method, percentile):
    magnitudes = samples.float().abs().flatten()
    share = 1.0 if method == "minmax" else percentile / 100
    place = share * (len(magnitudes) - 1)
    # Most percentiles that clip leave few values above them.
    tail = magnitudes.topk(len(magnitudes) - math.floor(place)).values
    above = tail[max(len(tail) - 2, 0)]
    return scale_of(torch.lerp(tail[-1], above, place - math.floor(place)))


def quantize_per_channel(w):
    return quantize_rows(w)


def qlinear(x, wq, w_scales):
    xq, x_scales = quantize_rows(x)
    padded = torch.nn.functional.pad(xq, (0, 0, 0, max(0, 17 - len(xq))))
    sums = torch._int_mm(padded, wq.t())[: len(xq)]
    return (sums * x_scales[:, None] * w_scales).to(x.dtype)
