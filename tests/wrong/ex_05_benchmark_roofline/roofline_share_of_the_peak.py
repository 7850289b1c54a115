# expect: WRONG_VALUES
# The share of the card's peak, whatever the kernel's intensity: every memory-bound kernel looks hopeless.

import math
import statistics
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


def one_ms(fn, device):
    start, end = device.Event(enable_timing=True), device.Event(enable_timing=True)
    device.flush_cache()
    device.spin(0.5)
    start.record()
    fn()
    end.record()
    end.synchronize()
    return start.elapsed_time(end)


def bench(fn, device):
    fn()
    device.synchronize()
    warm_until = device.clock() + 0.15
    while device.clock() < warm_until:
        fn()
        device.synchronize()
    return statistics.median(one_ms(fn, device) for _ in range(60))


def roofline(flops, n_bytes, ms, ceilings):
    flop_per_s, bytes_per_s = ceilings.tflop_per_s * 1e12, ceilings.gb_per_s * 1e9
    intensity = flops / n_bytes if n_bytes else math.inf
    ridge = flop_per_s / bytes_per_s
    attainable = min(flop_per_s, intensity * bytes_per_s)
    least_s = flops / flop_per_s
    bound = "compute" if intensity >= ridge else "memory"
    return Roofline(intensity, ridge, bound, attainable / 1e12, least_s / (ms / 1e3))
