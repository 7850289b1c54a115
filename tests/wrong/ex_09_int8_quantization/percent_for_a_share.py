# expect: RAISED
# torch.quantile takes a share, and was given a percentage.

import torch


def scale_of(largest):
    scale = largest.float() / 127
    return torch.where(scale == 0, 1.0, scale)


def quantize_rows(rows):
    scales = scale_of(rows.abs().amax(dim=1))
    return torch.round(rows / scales[:, None]).to(torch.int8).contiguous(), scales


def calibrate(samples, method, percentile):
    magnitudes = samples.float().abs().flatten()
    if method == "minmax":
        return scale_of(magnitudes.max())
    return scale_of(torch.quantile(magnitudes, percentile))


def quantize_per_channel(w):
    return quantize_rows(w)


def qlinear(x, wq, w_scales):
    xq, x_scales = quantize_rows(x)
    padded = torch.nn.functional.pad(xq, (0, 0, 0, max(0, 17 - len(xq))))
    sums = torch._int_mm(padded, wq.t())[: len(xq)]
    return (sums * x_scales[:, None] * w_scales).to(x.dtype)
