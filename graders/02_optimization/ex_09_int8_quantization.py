"""Grades ex_09 INT8 post-training quantization."""

import functools
import math

import torch

from gpuprep.grader import (
    ARITHMETIC,
    EDGE_SIZES,
    HOST_OPS,
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

LARGEST = 127
TIE_MARGIN = 0.02
"""In steps: no value of an input lies nearer to the middle between two integers. There, v / s and v · (1 / s) may go
either way, which differ by 3·10⁻⁵ steps at most in float32."""
SPREAD = 8
"""Rows of `outliers` are up to 2^SPREAD times as large as others: with one scale for all, those become 0."""
CANCELLING_K = 2**17
"""Half as many products of 127 · 127 come to almost 2³⁰. An int32 holds that; a float32 drops six bits of it, and
still one where 32 lanes share the sum."""
PAST_QUANTILE = 2**24 + 2**10
"""torch.quantile takes 2²⁴ values at most."""
MORE_ARITHMETIC = (
    "_int_mm aminmax linalg_vector_norm norm median lerp lerp_ addcmul addcmul_ abs_ neg_ round_ floor_ trunc_ "
    "reciprocal_ sqrt_ maximum_ clamp_min_ clamp_max_ nan_to_num"
)


class Int8Quantization(Grader):
    """The driver takes the case's `op` first: `calibrate`, `quantize`, `qlinear`, or `layer`, the last two in a row."""

    function = "qlinear"
    parameters = ("x", "wq", "w_scales")
    allowed_ops = HOST_OPS | ARITHMETIC | {f"aten.{name}" for name in MORE_ARITHMETIC.split()}

    def cases(self, rng):
        larger = 4097 + 2 * rng.randrange(200)

        def case(op, dtype="float32", tier=Tier.CORRECT, devices=("cpu", "cuda"), **rest):
            return Case({"op": op, **rest, "dtype": dtype}, tier=tier, devices=devices)

        def percentile(k, p, dtype="float32", **rest):
            return case("calibrate", dtype, N=3, K=k, method="percentile", percentile=p, **rest)

        def minmax(k, dtype="float32", **rest):
            return case("calibrate", dtype, N=3, K=k, method="minmax", percentile=50.0, **rest)

        def quantize(n, k, dtype="float32", **rest):
            return case("quantize", dtype, N=n, K=k, **rest)

        def qlinear(m, n, k, dtype="float32", distribution="outliers", **rest):
            return case("qlinear", dtype, M=m, N=n, K=k, distribution=distribution, **rest)

        kinds = ("outliers", "heavy", "negative", "offset", "zeros")
        on_card = {"devices": ("cuda",)}
        return [
            *(minmax(k) for k in (1, 33, larger)),
            *(minmax(33, distribution=kind) for kind in ("negative", "zeros")),
            minmax(1025, "float16", layout="transposed"),
            *(percentile(k, 99.9) for k in (31, 1024, larger)),
            *(percentile(1023, p, distribution="heavy") for p in (0.0, 50.0, 99.0, 99.99, 100.0)),
            *(percentile(1025, 99.0, distribution=kind) for kind in ("negative", "offset", "zeros")),
            percentile(1025, 99.9, "float16", distribution="heavy", layout="padded"),
            percentile(PAST_QUANTILE // 3 + 1, 99.99, **on_card),
            *(quantize(33, k) for k in (*EDGE_SIZES[1:], larger)),
            *(quantize(n, 65) for n in (1, 31, 32)),
            # No `offset`: where all is near 127, values that were clipped look like memory that was never written.
            *(quantize(33, 129, distribution=kind) for kind in kinds if kind != "offset"),
            *(quantize(33, 257, "float16", distribution=kind) for kind in ("outliers", "heavy")),
            *(quantize(33, 65, layout=layout) for layout in ("transposed", "padded", "strided")),
            # On a card, a compiler's quotient may be off by a rounding, and a tie is none then.
            quantize(33, 65, distribution="ties", devices=("cpu",)),
            quantize(129, larger, "bfloat16", distribution="outliers", **on_card),
            *(qlinear(m, 24, 40) for m in (17, 1, 3, 16, 31, 33, 1025)),
            *(qlinear(19, n, 72) for n in (8, 1032)),
            *(qlinear(19, 24, k) for k in (8, 1024, larger // 8 * 8)),
            *(qlinear(35, 16, 136, distribution=kind) for kind in (*kinds, "normal")),
            *(qlinear(35, 16, 1032, "float16", kind) for kind in ("outliers", "offset", "zeros")),
            *(qlinear(35, 16, 64, layout=layout) for layout in ("transposed", "padded")),
            qlinear(3, 8, CANCELLING_K, distribution="cancel"),
            qlinear(larger, 1032, 1032, "bfloat16", **on_card),
            qlinear(32, 1024, 1024, tier=Tier.WORK),
            case("layer", "float16", M=32, N=512, K=1024, distribution="outliers", tier=Tier.WORK),
            # The work around the product grows with M·K and M·N, the product itself with M·N·K: large enough for it to
            # weigh more. The number of tiles stays, and so does how well they divide among the multiprocessors.
            *(
                qlinear(m, n, n - 256 * rng.randrange(4), "float16", tier=Tier.SPEED, **on_card)
                for m, n in ((4096, 16384), (2048, 8192))
            ),
        ]

    def inputs(self, case, draw):
        op, k, layout = case["op"], case["K"], case.get("layout", "contiguous")
        if op == "calibrate":
            return op, draw.place(_rows(case, draw, case["N"], k), layout), case["method"], case["percentile"]
        if op == "quantize":
            rows = _rows(case, draw, case["N"], k)
            return op, draw.place(rows if case.get("distribution") == "ties" else _untied(rows), layout)
        x = _rows(case, draw, case["M"], k)
        if op == "layer":
            w = _rows(case, draw, case["N"], k)
            return op, draw.place(_untied(x)), draw.place(_untied(w))
        wq = draw.integers(-LARGEST, LARGEST + 1, case["N"], k, dtype="int8")
        if case.get("distribution") == "cancel":
            # Sums climb as high as they can and come back; what is left are the last few terms.
            x[:, :-16] = x.abs().amax(1, keepdim=True)
            x[:, k // 2 : -16] *= -1
            wq[:, :-16] = LARGEST
        w_scales = draw.integers(1000, 2000, case["N"]).float() * 1e-6
        return op, draw.place(_untied(x), layout), wq, draw.place(w_scales)

    def argument_names(self, case):
        return {
            "calibrate": ("op", "samples", "method", "percentile"),
            "quantize": ("op", "w"),
            "qlinear": ("op", *self.parameters),
            "layer": ("op", "x", "w"),
        }[case["op"]]

    def oracle(self, case, op, *args):
        if op == "calibrate":
            return (_percentile(*args),)
        if op == "quantize":
            wq, scales = _quantized(args[0].double())
            # A single row is contiguous with any distance to the next.
            strides = (case["K"], 1) if case["N"] > 1 else None
            return Expected(wq, "int8", strides=strides), Expected(scales, "float32")
        if op == "qlinear":
            x, wq, w_scales = args
            return (Expected(_scaled_product(*_quantized(x.double()), wq, w_scales.double()), case["dtype"]),)
        # Of a layer, the product before anything was quantized, and as much as half a step in each factor can change.
        # That is loose, since their signs differ: what is lost on average is for `quality` to judge.
        x, w = (arg.double() for arg in args)
        x_steps, w_steps = (_scales(arg) for arg in (x, w))
        bound = torch.outer(x_steps, w.abs().sum(1)) + torch.outer(x.abs().sum(1), w_steps)
        bound = (bound + torch.outer(x_steps, w_steps) * case["K"] / 2) / 2
        return (Expected(x @ w.t(), case["dtype"], scale=bound),)

    def honest(self, case, op, *args, order=None):
        if op == "calibrate":
            samples, method, percentile = args
            magnitudes = _wide(samples).abs().flatten()
            return (_never_zero(magnitudes.quantile(1 if method == "minmax" else percentile / 100) / LARGEST),)
        if op == "quantize":
            return _quantized(args[0])
        x, *weights = args
        wq, w_scales = weights if op == "qlinear" else _quantized(weights[0])
        if order is not None:
            x, wq = x[:, order], wq[:, order]
        return (_scaled_product(*_quantized(x), wq, w_scales).to(x.dtype),)

    def error_model(self, case):
        # The bound of a layer is all there is. Elsewhere: a scale is divided once, or multiplied by an inverse; a sum
        # is rounded when it becomes a float32, and then multiplied by two scales. The sum itself is exact.
        return ErrorModel(roundings=1 / UNIT_ROUNDOFF["float32"] if case["op"] == "layer" else 8)

    def reduction_size(self, case):
        return case["K"] if case["op"] in ("qlinear", "layer") else 0

    def uses_kernels(self, case):
        return False

    def budgets(self, case):
        if case["op"] != "qlinear":
            return ()
        # x, the sums and the output may be float64, or the weights widened a few at a time.
        most = case["N"] * case["K"] // 2
        return (Budget("largest_tensor_bytes", 0, most, "N·K/2: the weights are neither widened nor copied"),)

    def quality(self, case, args, outputs):
        if case["op"] != "layer":
            return {}
        x, w = (arg.double() for arg in args[1:])
        # Each token and each channel counts alike, however small its values are.
        sizes = torch.outer(x.norm(dim=1), w.norm(dim=1))
        exact = x @ w.t()
        signal, noise = (((part / sizes) ** 2).mean() for part in (exact, outputs[0].double() - exact))
        return {"sqnr_db": float(10 * torch.log10(signal / noise))}

    def baselines(self, case):
        def f16(_, x, wq, w_scales):
            return functools.partial(torch.matmul, x, (wq * w_scales[:, None]).to(x.dtype).t())

        return (
            Baseline("f16", "torch.matmul in float16", f16),
            Baseline("eager", "int8 in eager torch", lambda *args: functools.partial(self.honest, case, *args)),
        )

    def traffic(self, case):
        m, n, k = case["M"], case["N"], case["K"]
        return Traffic(bytes=2 * m * k + n * k + 4 * n + 2 * m * n, flops=2 * m * n * k, dtype=case["dtype"])


def _rows(case, draw, n_rows, n_cols):
    kind = case.get("distribution", "normal")
    if kind == "ties":
        # Scales are powers of two, so that m / 127 and m · (1 / 127), v / s and v · (1 / s) are exact.
        values = draw.integers(-LARGEST, LARGEST, n_rows, n_cols) + 0.5
        values[:, 0] = LARGEST
        return values * 2.0 ** draw.integers(-4, 5, n_rows, 1)
    of_draw = kind if kind in ("heavy", "offset") else "normal"
    values = draw.tensor(n_rows, n_cols, dtype=case["dtype"], distribution=of_draw)
    if kind == "outliers":
        values *= 2.0 ** -draw.integers(0, SPREAD + 1, n_rows, 1)
    elif kind == "negative":
        # The largest magnitude is that of a negative value.
        values.clamp_(max=1.0)
    elif kind == "zeros":
        values[draw.permutation(n_rows)[: n_rows if case["op"] == "calibrate" else (n_rows + 1) // 2]] = 0
    return values


def _untied(rows):
    """The same rows with 0 for each value that lies too near to a tie; the largest of a row never does."""
    steps = rows.double() / _scales(rows.double())[:, None]
    return rows.masked_fill(((steps.abs() % 1) - 0.5).abs() < TIE_MARGIN, 0)


def _wide(tensor):
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _never_zero(scales):
    return torch.where(scales == 0, 1.0, scales)


def _scales(rows):
    return _never_zero(_wide(rows).abs().amax(1) / LARGEST)


def _quantized(rows):
    scales = _scales(rows)
    return torch.round(rows / scales[:, None]).to(torch.int8), scales


def _scaled_product(xq, x_scales, wq, w_scales):
    return torch._int_mm(xq, wq.t()) * x_scales[:, None] * w_scales  # noqa: SLF001  it has no public name


def _percentile(samples, method, percentile):
    magnitudes = samples.double().abs().flatten()
    last = len(magnitudes) - 1
    place = last if method == "minmax" else percentile / 100 * last
    below, above = (magnitudes.kthvalue(1 + k).values for k in (math.floor(place), min(math.floor(place) + 1, last)))
    value = _never_zero((below + (above - below) * (place - math.floor(place))) / LARGEST)
    # torch.quantile works out the place in float32, and an error there counts for as much as the neighbours differ.
    return Expected(value, "float32", scale=value + place * (above - below) / LARGEST)


GRADER = Int8Quantization()
