"""Grades ex_10 INT4 group-128 GEMV."""

import functools
import math

import torch

from gpuprep.grader import ARITHMETIC, HOST_OPS, Baseline, Budget, Case, ErrorModel, Expected, Grader, Tier, Traffic

GPU = ("cuda",)
GROUP = 128
CODES = 8
"""In an int32."""
WORDS = GROUP // CODES
"""Of a group: word i holds elements i, i + WORDS, i + 2·WORDS …, the first of them in its lowest bits."""
LARGEST = 7
ZERO = 8
"""The code that stands for 0."""
TIE_MARGIN = 1e-4
"""No weight lies nearer than this many steps to the middle between two integers, where honest float32 divisions fall on
either side: they err by 10⁻⁶ steps. Steps taken from a scale that was not rounded err by 10⁻³."""
MOST_SPLITS = 16
"""Parts that the sum along K may be split into."""
INNER_K_TILES = 8
"""A layout of torch's own int4 weights: of those on offer the fastest for one token."""
CHUNK = 2**24
"""Weights that a CUDA oracle, or a baseline, widens at a time."""


class Int4Gemv(Grader):
    """The driver takes a case's `op` first: `pack` or `gemv`."""

    function = "gemv"
    parameters = ("x", "w4", "scales")

    def cases(self, rng):
        def case(op, n, k, tier=Tier.CORRECT, devices=("cpu", "cuda"), **rest):
            return Case({"op": op, "N": n, "K": k, "dtype": "float16", **rest}, tier=tier, devices=devices)

        pack, gemv = functools.partial(case, "pack"), functools.partial(case, "gemv")
        larger = 35 + rng.randrange(20)
        return [
            *(pack(n, k) for n, k in ((1, 128), (3, 384), (33, 1024), (larger, 128 * 37))),
            *(pack(7, 640, distribution=kind) for kind in ("heavy", "wide", "zeros", "tiny")),
            *(gemv(n, 128) for n in (1, 3, 31, 32, 33, larger)),
            *(gemv(5, k) for k in (384, 1024, 128 * larger)),
            *(gemv(9, 1152, distribution=kind) for kind in ("positive", "heavy", "large")),
            gemv(9, 1152, layout="offset"),
            *(gemv(n, k, devices=GPU) for n, k in ((1025, 8192 + 128 * larger), (8191, 1152), (2, 128 * 1025))),
            gemv(64, 2048, tier=Tier.WORK),
            # A weight matrix of a 70-billion-parameter model, larger than any L2 cache. The second one, four times
            # smaller, is there for `gpuprep bench`: it takes less than the 20 µs that a graded time must have.
            gemv(28672 - 64 * rng.randrange(8), 8192, tier=Tier.SPEED, devices=GPU),
            gemv(8192, 8192, tier=Tier.SPEED, devices=GPU),
        ]

    def inputs(self, case, draw):
        n, k, kind = case["N"], case["K"], case.get("distribution", "normal")
        if case["op"] == "pack":
            return "pack", draw.place(_weights(draw, n, k, kind))
        x = draw.tensor(1, k, dtype="float16", distribution="heavy" if kind == "heavy" else "normal")
        w4 = draw.integers(-(2**31), 2**31, n, k // CODES)
        if kind == "large":
            # Sums over a group pass float16's 65504; scaled, they don't.
            x *= 1000
        elif kind == "positive":
            # Nor is any code below zero's: nothing cancels, and sums are as large as they can be.
            x.abs_()
            w4 |= -0x77777778
        scales = (0.5 + draw.tensor(n, k // GROUP).abs()) / 100
        return "gemv", draw.place(x, case.get("layout", "contiguous")), w4, draw.place(scales.half())

    def argument_names(self, case):
        return ("op", "w") if case["op"] == "pack" else ("op", *self.parameters)

    def oracle(self, case, op, *args):
        if op == "pack":
            w4, scales = _packed(args[0])
            return Expected(w4, "int32"), Expected(scales, "float16", scale=torch.zeros_like(scales))
        x, w4, scales = args
        rows = (w4.split(max(1, CHUNK // case["K"])), scales.split(max(1, CHUNK // case["K"])))
        value, scale = (torch.cat(parts)[None] for parts in zip(*map(functools.partial(_sums, x), *rows), strict=True))
        return (Expected(value, "float16", scale=scale),)

    def honest(self, case, op, *args, order=None):
        if op == "pack":
            return _packed(args[0])
        x, w4, scales = args
        w = _unpacked(w4, scales)
        wide = x.to(w.dtype)
        return ((wide @ w.t() if order is None else wide[:, order] @ w[:, order].t()).to(x.dtype),)

    def error_model(self, case):
        # Relative to Σ|terms|, a running sum of K terms of one sign makes a random walk of errors, √K/4 roundings long;
        # 16 more are for codes that become floats inside larger numbers (16 + code), and what that takes off again.
        # √K for a scale that may be as much smaller than Σ|terms|. Weights or products that were rounded to float16
        # lose a hundred times as much.
        return ErrorModel(roundings=math.sqrt(case["K"]) * (16 + math.sqrt(case["K"]) / 4))

    def reduction_size(self, case):
        return case["K"] if case["op"] == "gemv" else 0

    def allowed_in(self, case):
        # Weights are packed once, so that may be torch's work.
        return HOST_OPS | ARITHMETIC if case["op"] == "pack" else HOST_OPS

    def uses_kernels(self, case):
        return case["op"] == "gemv"

    def budgets(self, case):
        n, n_weights = case["N"], case["N"] * case["K"]
        w4_bytes, scale_bytes = n_weights // 2, 2 * n_weights // GROUP
        return (
            Budget("bytes_loaded", w4_bytes, w4_bytes, "N·K/2: each code once", of="w4"),
            Budget("bytes_loaded", scale_bytes, scale_bytes, "2·N·K/128: each scale once", of="scales"),
            # Not the weights in float16, which are N·K·2.
            Budget("bytes_stored", 2 * n, (2 + 4 * MOST_SPLITS) * n, "2·N for out, 16·4·N for partial sums of K"),
            Budget("launches", 1, 2, "one does it; with K split among programs, a second one adds up"),
        )

    def baselines(self, case):
        def in_chunks(convert, w4, scales):
            size = CHUNK // case["K"]
            return torch.cat([convert(*rows) for rows in zip(w4.split(size), scales.split(size), strict=True)])

        def widened(_, x, w4, scales):
            return x, in_chunks(lambda *rows: _unpacked(*rows).half(), w4, scales)

        def linear(*args):
            return functools.partial(torch.nn.functional.linear, *widened(*args))

        def matmul(*args):
            x, w = widened(*args)
            return functools.partial(torch.matmul, w, x.t())

        def tinygemm(_, x, w4, scales):
            codes = in_chunks(lambda *rows: _codes(rows[0]).byte(), w4, scales)
            packed = torch._convert_weight_to_int4pack(codes[:, ::2] << 4 | codes[:, 1::2], INNER_K_TILES)  # noqa: SLF001
            steps = scales.t().bfloat16()
            steps_and_zeros = torch.stack([steps, torch.zeros_like(steps)], dim=2)
            return functools.partial(torch._weight_int4pack_mm, x.bfloat16(), packed, GROUP, steps_and_zeros)  # noqa: SLF001

        return (
            Baseline("f16", "F.linear in float16", linear),
            Baseline("f16", "torch.matmul in float16", matmul),
            Baseline("int4", "torch's own int4 (tinygemm) in bfloat16", tinygemm),
        )

    def traffic(self, case):
        n, k = case["N"], case["K"]
        return Traffic(bytes=n * k // 2 + 2 * n * k // GROUP + 2 * k + 2 * n, flops=2 * n * k, dtype="float16")


def _weights(draw, n, k, kind):
    if kind == "tiny":
        # Multiples of the smallest float16. A group's largest is ten of them, its scale one, so seven is the limit.
        w = draw.integers(-10, 11, n, k)
        w[:, ::GROUP] = 10
        return (w * 2.0**-24).half()
    w = draw.tensor(n, k, dtype="float16", distribution="normal" if kind == "zeros" else kind)
    groups = w.view(n, -1, GROUP)
    if kind == "zeros":
        groups[:, ::2] = 0
    steps = groups.double() / _packed(w)[1].double()[:, :, None]
    groups[((steps.abs() % 1) - 0.5).abs() < TIE_MARGIN] = 0
    return w


def _packed(w):
    n, k = w.shape
    groups = w.double().view(n, -1, GROUP)
    scales = (groups.abs().amax(2) / LARGEST).half()
    steps = scales.double()[:, :, None]
    q = torch.where(steps > 0, groups / steps, 0.0).round().clamp(-LARGEST, LARGEST)
    codes = (q.long() + ZERO).view(n, -1, CODES, WORDS)
    words = (codes << 4 * torch.arange(CODES, device=w.device)[:, None]).sum(2)
    # The highest bit is the sign.
    words = torch.where(words < 2**31, words, words - 2**32)
    return words.view(n, k // CODES).int(), scales


def _codes(w4):
    shifts = 4 * torch.arange(CODES, device=w4.device, dtype=torch.int32)[:, None]
    return (w4.view(len(w4), -1, 1, WORDS) >> shifts & 15).flatten(1)


def _unpacked(w4, scales):
    groups = _codes(w4).view(*scales.shape, GROUP) - ZERO
    return (groups * scales.to(torch.promote_types(scales.dtype, torch.float32))[:, :, None]).flatten(1)


def _sums(x, w4, scales):
    """Σ terms and √(Σ terms²) of each row, in float64: few passes over few bytes, since audits do this often.

    The root is about as large as a sum of terms of either sign, where Σ|terms| is √K times larger: next to that, a sum
    of the wrong terms would look like one that lost a few bits.
    """
    # In the order of a row of bytes: word by word, in each byte two codes, whose elements lie WORDS apart.
    x = x.double().view(-1, CODES // 2, 2, WORDS).permute(2, 0, 3, 1).flatten(2)
    pairs = w4.view(torch.uint8).view(len(w4), -1, GROUP // 2)
    sums = squares = 0.0
    for elements, codes in zip(x, (pairs & 15, pairs >> 4), strict=True):
        q = (codes.view(torch.int8) - ZERO).double()
        sums = sums + torch.einsum("ngk,gk->ng", q, elements)
        squares = squares + torch.einsum("ngk,gk->ng", q.square_(), elements.square())
    scales = scales.double()
    return (sums * scales).sum(1), (squares * scales.square()).sum(1).sqrt()


GRADER = Int4Gemv()
