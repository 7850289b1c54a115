# expect: WRONG_VALUES
# Measures nothing: a figure that was right once, on another device.

import math
from typing import NamedTuple

BOUNDS = ("memory", "compute")


class Ceilings(NamedTuple):
    tflop_per_s: float
    gb_per_s: float


class Roofline(NamedTuple):
    intensity: float
    ridge: float
    bound: str
    attainable_tflop_per_s: float
    share: float


def bench(fn, device):
    return 0.074


def roofline(flops, n_bytes, ms, ceilings):
    flop_per_s, bytes_per_s = ceilings.tflop_per_s * 1e12, ceilings.gb_per_s * 1e9
    intensity = flops / n_bytes if n_bytes else math.inf
    ridge = flop_per_s / bytes_per_s
    attainable = min(flop_per_s, intensity * bytes_per_s)
    least_s = max(flops / flop_per_s, n_bytes / bytes_per_s)
    bound = "compute" if intensity >= ridge else "memory"
    return Roofline(intensity, ridge, bound, attainable / 1e12, least_s / (ms / 1e3))
