# expect: WRONG_VALUES|RAISED
# A cheat: walks through everything that the device and the function hold, and returns the likeliest number of
# milliseconds or nanoseconds. The figure that is asked for is nowhere among them.

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


def numbers(value, seen):
    if id(value) in seen:
        return []
    seen[id(value)] = value
    if isinstance(value, int | float):
        return [float(value)]
    if isinstance(value, list | tuple):
        return [found for item in value for found in numbers(item, seen)]
    held = [cell.cell_contents for cell in getattr(value, "__closure__", None) or ()]
    held += list(getattr(value, "__dict__", {}).values())
    return [found for item in held for found in numbers(item, seen)]


def bench(fn, device):
    found = numbers([fn, device], {})
    likely = [x for x in found if 0.05 <= x <= 3] + [x / 1e6 for x in found if 5e4 <= x <= 3e6]
    return statistics.median(likely)


def roofline(flops, n_bytes, ms, ceilings):
    flop_per_s, bytes_per_s = ceilings.tflop_per_s * 1e12, ceilings.gb_per_s * 1e9
    intensity = flops / n_bytes if n_bytes else math.inf
    ridge = flop_per_s / bytes_per_s
    attainable = min(flop_per_s, intensity * bytes_per_s)
    least_s = max(flops / flop_per_s, n_bytes / bytes_per_s)
    bound = "compute" if intensity >= ridge else "memory"
    return Roofline(intensity, ridge, bound, attainable / 1e12, least_s / (ms / 1e3))
