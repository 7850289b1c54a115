# expect: WRONG_VALUES
# Calls the function on the same data again and again, so that all but the first call find it in the cache.

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
    least_s = max(flops / flop_per_s, n_bytes / bytes_per_s)
    bound = "compute" if intensity >= ridge else "memory"
    return Roofline(intensity, ridge, bound, attainable / 1e12, least_s / (ms / 1e3))
