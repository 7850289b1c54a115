"""Grades ex_21 GEMM epilogue and autotuning."""

import functools
import math

from gpuprep.grader import (
    EDGE_SIZES,
    ITEMSIZE,
    UNIT_ROUNDOFF,
    Baseline,
    Budget,
    Case,
    ErrorModel,
    Expected,
    Grader,
    Tier,
    Traffic,
)

GPU = ("cuda",)
TILE = 64
"""Side of the square tile whose loads are the most that a work case allows."""
STEEPEST = 1.13
"""The largest slope of GELU, at √2."""
MOST_CURVED = 0.8
"""The largest second derivative of GELU, at 0."""


class GemmEpilogue(Grader):
    function = "linear_gelu"
    parameters = ("x", "w", "b")
    tuning_limit_s = 60.0

    def cases(self, rng):
        def case(m, n, k, dtype="float32", **rest):
            return Case({"M": m, "N": n, "K": k, "dtype": dtype, **rest})

        def on_gpu(m, n, k, dtype="bfloat16", tier=Tier.CORRECT):
            return Case({"M": m, "N": n, "K": k, "dtype": dtype}, tier=tier, devices=GPU)

        larger = 2049 + 2 * rng.randrange(100)
        return [
            # First sizes that any tile divides, then ragged ones: what tuning chose for the former must not be reused.
            case(128, 128, 64),
            # The other axes stay below 16, one tile of any size: every program costs milliseconds in the interpreter.
            *(case(m, 13, 35) for m in EDGE_SIZES),
            *(case(11, n, 35) for n in (1, 3, 31, 32, 33, 1025)),
            *(case(11, 13, k) for k in (1, 3, 31, 33, 1025)),
            case(33, 29, larger, "float16"),
            *(case(37, 41, 147, layout=layout) for layout in ("padded", "offset")),
            case(65, 33, 147, "float16", layout="padded"),
            *(case(11, 29, 257, distribution=kind) for kind in ("offset", "heavy")),
            # Products that cancel against the bias: rounded before the bias is added, they are gone.
            *(case(33, 31, 65, dtype, distribution="cancelling") for dtype in ("float32", "float16")),
            # The interpreter gets bfloat16 products wrong, and has no time for sizes that the largest tiles are for.
            on_gpu(193, 257, 1025),
            on_gpu(larger, 2177, 333, "float16"),
            on_gpu(2048, 2304, 512),
            on_gpu(4096 + rng.randrange(1, 64), 4099, 4104),
            Case({"M": 256, "N": 128, "K": 128, "dtype": "float16"}, tier=Tier.WORK),
            Case({"M": 128, "N": 128, "K": 256, "dtype": "float32"}, tier=Tier.WORK),
            # Only K is jittered: the number of tiles, and so how well they divide among the multiprocessors, stays.
            on_gpu(4096, 4096, 4096 - 64 * rng.randrange(4), tier=Tier.SPEED),
        ]

    def inputs(self, case, draw):
        m, n, k, dtype = case["M"], case["N"], case["K"], case["dtype"]
        kind = case.get("distribution", "normal")
        how = {"dtype": dtype, "distribution": "normal" if kind == "cancelling" else kind}
        x = draw.tensor(m, k, layout=case.get("layout", "contiguous"), **how)
        w, b = draw.tensor(n, k, dtype=dtype), draw.tensor(n, **how)
        # Sums of about 1, where GELU bends, whatever K is; and no bias so small that it could be missing.
        w *= k**-0.5
        b += 0.5 * b.sign()
        if kind == "cancelling":
            x[:, 0] = 1.0
            for start, large in ((0, 64.0), (1, -64.0)):
                w[start::2, 0] = large
                b[start::2] -= large
        return x, w, b

    def oracle(self, case, x, w, b):
        import torch

        x, w, b = x.double(), w.double(), b.double()
        h = torch.addmm(b, x, w.t())
        density = torch.exp(-0.5 * h * h) * (2 * math.pi) ** -0.5
        normal = torch.special.ndtr(h)
        # What the sum loses reaches the output times GELU's slope there. The sum may lie a little elsewhere, where the
        # slope differs; it never is above STEEPEST. And GELU itself costs a few roundings of its argument.
        terms = torch.addmm(b.abs(), x.abs_(), w.abs_().t())
        loss = self.error_model(case).roundings * UNIT_ROUNDOFF["float32"] * terms
        slope = density.mul_(h).add_(normal).abs_().add_(loss.mul_(MOST_CURVED)).clamp_max_(STEEPEST)
        return (Expected(normal.mul_(h), case["dtype"], scale=slope.mul_(terms).add_(h.abs_())),)

    def honest(self, case, x, w, b, order=None):
        import torch

        # In float32 up to the one rounding at the end, as a fused kernel does it: torch's own linear in a shorter dtype
        # rounds the sums before GELU sees them.
        x, w = (x, w) if order is None else (x[:, order], w[:, order])
        out = torch.nn.functional.gelu(torch.nn.functional.linear(x.float(), w.float(), b.float()))
        return (out.to(x.dtype),)

    def error_model(self, case):
        # Each sum runs over K with one rounding a step: about √K/4 effective ones where all terms have one sign, √K at
        # the worst of all outputs. Twice that, since tensor cores cut off what they don't round. 16 more for the bias,
        # GELU and short sums: 1 + erf cancels where h is negative, and costs torch itself 6 roundings of h.
        return ErrorModel(roundings=16 + 2 * math.sqrt(case["K"]))

    def reduction_size(self, case):
        return case["K"]

    def budgets(self, case):
        m, n, k, itemsize = case["M"], case["N"], case["K"], ITEMSIZE[case["dtype"]]
        least = (m * k + k * n + n) * itemsize
        most = (math.ceil(n / TILE) * m * k + math.ceil(m / TILE) * (k * n + n)) * itemsize
        out_bytes = m * n * itemsize
        return (
            Budget("launches", 1, 1, "one kernel does it"),
            # The room is the choice of a tile: any from 64×64 up fits, and one of 256×128 loads everything once.
            Budget("bytes_loaded", least, most, "(⌈N/64⌉·M·K + ⌈M/64⌉·(K·N + N))·itemsize: 64×64 tiles"),
            Budget("bytes_stored", out_bytes, out_bytes, "M·N·itemsize: every output once"),
            # Half as much again for odds and ends, such as tensors of scales or of tile numbers; no second [M, N].
            Budget("peak_bytes", 0, 1.5 * out_bytes, "1.5·M·N·itemsize: the output and no other [M, N]"),
            Budget("largest_tensor_bytes", 0, out_bytes, "M·N·itemsize: the output, in the inputs' dtype"),
        )

    def traffic(self, case):
        m, n, k, itemsize = case["M"], case["N"], case["K"], ITEMSIZE[case["dtype"]]
        return Traffic(bytes=(m * k + k * n + n + m * n) * itemsize, flops=2 * m * n * k, dtype=case["dtype"])

    def baselines(self, case):
        return (
            Baseline("unfused", "F.gelu(F.linear(x, w, b))", lambda *args: functools.partial(_unfused, *args)),
            Baseline("compiled", "torch.compile of it", _compiled),
        )


def _unfused(x, w, b):
    import torch

    return torch.nn.functional.gelu(torch.nn.functional.linear(x, w, b))


def _compiled(*args):
    import torch

    compiled = torch.compile(_unfused, dynamic=False)
    compiled(*args)
    return functools.partial(compiled, *args)


GRADER = GemmEpilogue()
