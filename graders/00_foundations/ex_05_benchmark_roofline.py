"""Grades ex_05 benchmark and roofline: a timing loop among traps, and what its figure is worth."""

import torch

from gpuprep.grader import HOST_OPS, UNIT_ROUNDOFF, Case, ErrorModel, Expected, Grader

WITHIN = 0.05
"""Of the true time. An honest median is off by less than half of it, the mildest trap by more than its whole."""
TRAPS = ("first_call", "cold_clocks", "launch_gap", "warm_cache", "outliers", "coarse_clock")
DEVICES_NS = ((50_000, 100_000), (200_000, 500_000), (1_000_000, 3_000_000))
"""Shortest and longest call of each of a case's devices. Less than 50 µs is a matter of the clock's ticks."""
MEANS = {
    "none": "No trap is set here, so it is the loop itself: something beside the call lies between the marks, nobody "
    "waits for the device, or the number is not one of milliseconds.",
    "first_call": "The first call compiles: is it among the samples? Where the other cases are wrong as well, it is "
    "something else: what lies between the marks beside the call?",
    "cold_clocks": "The device is slower for up to 100 ms after the first call, and much of what was measured is from "
    "that time: warm up until the clock has moved by more, not for a number of calls.",
    "launch_gap": "The device came to the first mark, had nothing to do, and waited until the host had queued the "
    "call; that is in your time. It must be busy before the mark for longer than queueing takes.",
    "warm_cache": "Too short: the call found in the cache what the last one had read. Too long: the flush lies between "
    "the marks and is timed as well.",
    "outliers": "One call in eight takes ten times as long. A mean goes up with it, and the shortest is luck.",
    "coarse_clock": "The host's clock moves in steps of 16 ms, and a call is shorter: only the device can tell.",
}
"""What a wrong time means where at most one trap is set."""
N_KERNELS = 3
"""A call launches so many."""

KERNELS = {"memory_bound": (0.01, 0.9), "compute_bound": (1.1, 100.0)}
"""By kind: the least and the most of a kernel's intensity, as a share of the ridge's."""
N_ROWS = 6


class BenchmarkRoofline(Grader):
    function = "bench"
    parameters = ("fn", "device")
    # The driver turns figures into Python's numbers; what is worked out from those is nobody's kernel.
    allowed_ops = HOST_OPS | {"Tensor.tolist"}

    def cases(self, rng):
        return [
            *(_case("bench", traps=traps) for traps in ("none", *TRAPS, "+".join(TRAPS))),
            *(_case("roofline", kernels=kind) for kind in (*KERNELS, "at_the_ridge", "no_flops", "no_bytes")),
        ]

    def inputs(self, case, draw):
        if case["op"] == "roofline":
            return "roofline", draw.place(_kernels(case["kernels"], draw))
        kernels_ns = [draw.integers(low // N_KERNELS, high // N_KERNELS, N_KERNELS) for low, high in DEVICES_NS]
        return "bench", case["traps"], draw.place(torch.stack(kernels_ns)), draw.integers(0, 2**31 - 1, len(DEVICES_NS))

    def argument_names(self, case):
        return ("op", "kernels") if case["op"] == "roofline" else ("op", "traps", "kernels_ns", "schedules")

    def output_names(self, case):
        # In the driver's order, which is not that of Roofline.
        figures = ("intensity", "ridge", "attainable_tflop_per_s", "share", "bound (1 is compute)")
        return figures if case["op"] == "roofline" else ("the time",)

    def oracle(self, case, op, *args):
        if op == "bench":
            return (Expected(self.honest(case, op, *args)[0], "float64", means=_means(case["traps"])),)
        *figures, bounds = self.honest(case, op, *args)
        return *(Expected(figure, "float64") for figure in figures), Expected(bounds, "int64")

    def honest(self, case, op, *args, order=None):
        if op == "bench":
            _, kernels_ns, _ = args
            return (kernels_ns.double().sum(1) * 1e-6,)
        flops, n_bytes, ms, tflop_per_s, gb_per_s = args[0].double().T
        intensity, ridge = flops / n_bytes, 1e3 * tflop_per_s / gb_per_s
        attainable = torch.minimum(tflop_per_s, intensity * gb_per_s * 1e-3)
        least_ms = 1e3 * torch.maximum(flops / (tflop_per_s * 1e12), n_bytes / (gb_per_s * 1e9))
        return intensity, ridge, attainable, least_ms / ms, (intensity >= ridge).long()

    def error_model(self, case):
        # What float32 arithmetic would be allowed; Python's floats are far better.
        return ErrorModel(roundings=8 if case["op"] == "roofline" else WITHIN / UNIT_ROUNDOFF["float32"])

    def uses_kernels(self, case):
        return False


def _case(op, **kind):
    # The device is a stand-in, so a card adds nothing.
    return Case({"op": op, **kind}, devices=("cpu",))


def _means(traps):
    together = "Each trap by itself is got around, all of them together are not: what one needs undoes another's."
    return MEANS.get(traps, together)


def _kernels(kind, draw):
    """float32 [rows, 5]: FLOPs, bytes, ms, TFLOP/s, GB/s."""
    share = draw.integers(1000, 9000, N_ROWS).double() / 1e4
    gb_per_s = draw.integers(300, 8000, N_ROWS).double()
    tflop_per_s = gb_per_s * draw.integers(20, 400, N_ROWS) / 1e3
    n_bytes = draw.integers(10**6, 10**9, N_ROWS).double()
    if kind == "at_the_ridge":
        # Powers of two, so that both sides of the comparison are exact in any order of its operations; 125 brings
        # tera and giga to one power of ten.
        gb_per_s = 125 * 2.0 ** draw.integers(1, 6, N_ROWS)
        tflop_per_s = 2.0 ** draw.integers(3, 9, N_ROWS)
        n_bytes = 2.0 ** draw.integers(20, 30, N_ROWS)
    flops = n_bytes * 1e3 * tflop_per_s / gb_per_s
    if kind in KERNELS:
        least, most = KERNELS[kind]
        flops = flops * (least + (most - least) * share)
    elif kind == "no_flops":
        flops = torch.zeros_like(flops)
    elif kind == "no_bytes":
        n_bytes = torch.zeros_like(n_bytes)
    least_ms = 1e3 * torch.maximum(flops / (tflop_per_s * 1e12), n_bytes / (gb_per_s * 1e9))
    return torch.stack([flops, n_bytes, least_ms / share.flip(0), tflop_per_s, gb_per_s], dim=1).float()


GRADER = BenchmarkRoofline()
