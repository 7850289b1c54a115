"""Grades ex_22 attention from scratch: online softmax, a sliding window, linear attention."""

import math

import torch

from gpuprep.grader import ARITHMETIC, HOST_OPS, ITEMSIZE, Budget, Case, ErrorModel, Expected, Grader, Tier

BLOCK = 128
"""The most queries, and keys, that the task allows in a tile."""
FLOAT = ITEMSIZE["float32"]
LEVELS = {"growing": (0, 20), "falling": (0, -20), "steep": (0, 1000), "far_below": (-2e4, -2e4)}
"""Mean score of the first key and of the last: gentle slopes leave weight on many blocks, exp overflows from 88 on, and
not only masks are large negative numbers."""
VANISHING = -15.0
"""e^−15 has three bits left beside 1 in float32, and is less than any epsilon that people add to a denominator."""

OF_SCORES = 1 / 8
"""What an error of a score counts, beside the others."""


class Attention(Grader):
    """The driver takes a case's `op`, and the first row that is judged, before the arguments."""

    function = "attention"
    parameters = ("q", "k", "v", "causal")
    # What a block of a softmax is made of in place, a look for masked rows, and elu for φ.
    allowed_ops = HOST_OPS | ARITHMETIC | {"aten.exp2_", "aten.baddbmm_", "aten.addmm_", "aten.isinf", "aten.elu"}

    def cases(self, rng):
        larger = 301 + 2 * rng.randrange(50)

        def case(op, n=larger, d=16, dtype="float32", b=1, h=1, tier=Tier.CORRECT, **rest):
            return Case({"op": op, "B": b, "H": h, "N": n, "D": d, "dtype": dtype, **rest}, tier)

        full, causal = ({"op": "attention", "causal": causal} for causal in (False, True))
        window, linear = {"op": "window_attention", "window": 100}, {"op": "linear_attention"}
        return [
            *(case(n=n, **op) for op in (full, causal, window, linear) for n in (1, 2, 127, 128, 129, 130, larger)),
            *(case("window_attention", window=width) for width in (1, 2, 127, 128, 129, 1000)),
            *(case(n=130, d=d, **op) for op, sizes in ((causal, (1, 33, 128)), (linear, (33, 128))) for d in sizes),
            *(case(n=33, b=2, h=3, **op) for op in (full, causal, window, linear)),
            *(case(n=130, dtype=dtype, **op) for op in (full, window, linear) for dtype in ("float16", "bfloat16")),
            *(case(n=130, b=2, h=3, layout="heads_inside", **op) for op in (full, window, linear)),
            *(case(n=130, layout=kind, **causal) for kind in ("padded", "transposed", "strided")),
            *(case(distribution=kind, **full) for kind in ("large", *LEVELS)),
            *(case(distribution=kind, **op) for op in (causal, window) for kind in ("steep", "far_below")),
            *(case(dtype="float16", distribution="large", **op) for op in (causal, window)),
            *(case(dtype=dtype, distribution="vanishing", **linear) for dtype in ("float32", "float16")),
            # The first block of keys is NaN. The first row that counts may share a block with queries up to 127 before
            # it, these see keys up to 99 before them, and such a key shares a block with others up to 127 before it.
            case(n=5 * BLOCK, distribution="unseen_nan", first_row=4 * BLOCK, **window),
            *(
                case(n=2048, dtype="float16", tier=Tier.WORK, **op)
                for op in (full, causal, {**window, "window": 64}, linear)
            ),
        ]

    def inputs(self, case, draw):
        n, d, kind = case["N"], case["D"], case.get("distribution")
        q, k, v = (draw.tensor(case["B"], case["H"], n, d) for _ in range(3))
        if kind == "large":
            q, k = q * 30, k * 30
        elif kind == "vanishing":
            q, k = q + VANISHING, k + VANISHING
        elif kind == "unseen_nan":
            k[:, :, :BLOCK], v[:, :, :BLOCK] = math.nan, math.nan
        elif kind:
            # A direction that all queries have, and keys more or less of.
            direction = draw.integers(0, 2, d) * 2.0 - 1
            q, k = q / 8 + direction, k + direction * torch.linspace(*LEVELS[kind], n)[:, None] / math.sqrt(d)
        tensors = (_placed(x.to(getattr(torch, case["dtype"])), case.get("layout"), draw) for x in (q, k, v))
        others = (case[name] for name in ("causal", "window") if name in case.params)
        return case.op, case.get("first_row", 0), *tensors, *others

    def argument_names(self, case):
        return "op", "first_row", "q", "k", "v", "causal" if case.op == "attention" else "window"

    def oracle(self, case, op, first_row, q, k, v, *_):
        # What is unseen may be NaN, and 0·NaN is no 0.
        k, v = k.double().nan_to_num(), v.double().nan_to_num()
        starts = range(first_row, case["N"], BLOCK)
        blocks = [_exact(case, start, q[:, :, start : start + BLOCK].double(), k, v) for start in starts]
        value, scale = (torch.cat(parts, dim=2) for parts in zip(*blocks, strict=True))
        return (Expected(value, case["dtype"], scale=scale),)

    def honest(self, case, op, first_row, q, k, v, *_, order=None):
        order = torch.arange(case["N"]) if order is None else order
        wide = torch.promote_types(q.dtype, torch.float32)
        k, v = (x[:, :, order].to(wide).nan_to_num() for x in (k, v))
        return ((_weights(case, first_row, q[:, :, first_row:].to(wide), k, order) @ v).to(q.dtype),)

    def error_model(self, case):
        # A product, exp, corrections, and sums that may go from one position to the next: running sums of N terms, off
        # by up to √N roundings. OF_SCORES times as many of each term of q·k, a few: these sums are short, and lose in
        # either direction. TF32 and float16 lose thousands.
        return ErrorModel(roundings=32 + math.sqrt(case["N"]))

    def reduction_size(self, case):
        return case["N"]

    def uses_kernels(self, case):
        return False

    def budgets(self, case):
        column = case["B"] * case["H"] * case["N"] * FLOAT
        if case.op == "attention":
            # One block of keys for all queries would be no less than all keys for one block of queries, and these need
            # no online softmax. D is so small that a tile of positions is no larger than q.
            largest, peak = case["D"] * column, 12 * case["D"] * column
            why = "B·H·N·D·4: q in float32, or a tile of 128×128 positions in int64"
            why_peak = "12·B·H·N·D·4: q, k, v and out in float32, and some tiles"
            # Each score costs D products, and each value D more. A causal tile that some queries see is computed whole.
            seen = 1 if not case["causal"] else (1 + BLOCK / case["N"]) / 2
            flops, why_flops = 4 * seen * case["N"], "4·B·H·N²·D, of tiles that a query sees"
        elif case.op == "window_attention":
            # All blocks of queries may be computed at once, each with its own keys.
            largest, peak = (n * (BLOCK + case["window"]) * column for n in (2, 8))
            why = "2·B·H·N·(128 + window)·4: positions in int64, of N rows of scores"
            why_peak = "8·B·H·N·(128 + window)·4: a few steps from N rows of scores to weights"
            flops, why_flops = (
                4 * (2 * BLOCK + case["window"]),
                "4·B·H·N·(256 + window)·D: what 128 queries see, in tiles",
            )
        else:
            largest, peak = BLOCK * column, 6 * BLOCK * column
            why = "B·H·N·128·4: N rows of weights for a block of keys"
            why_peak = "6·B·H·N·128·4: N rows of weights, S of each block, φ(q), φ(k), v and out"
            flops, why_flops = (
                4 * (BLOCK + 2 * case["D"]),
                "4·B·H·N·(128 + 2·D)·D: a block's own keys, S, and z as one more column",
            )
        return (
            Budget("largest_tensor_bytes", 0, largest, why),
            Budget("peak_bytes", 0, peak, why_peak),
            Budget("dot_flops", 0, flops * column * case["D"] / FLOAT, why_flops),
        )


def _placed(values, layout, draw):
    if layout == "heads_inside":
        # [B, N, H, D] in memory, as a projection leaves them.
        return draw.place(values.transpose(1, 2)).transpose(1, 2)
    return draw.place(values, layout or "contiguous")


def _exact(case, first, q, k, v):
    """The values of some queries, and the terms that they are made of."""
    weights = _weights(case, first, q, k, torch.arange(case["N"]))
    value, scale = weights @ v, weights @ v.abs()
    if case.op != "linear_attention":
        # An error of a score is a relative one of its weight, and grows with the terms of q·k; through the sum it
        # reaches the weights of all other keys.
        terms = weights * (q.abs() @ k.abs().transpose(-2, -1)) / math.sqrt(case["D"])
        scale = scale + OF_SCORES * (terms @ v.abs() + terms.sum(-1, keepdim=True) * scale)
    return value, scale


def _weights(case, first, q, k, keys):
    """What each value is multiplied by, [B, H, queries, keys]. The queries come from row `first` on."""
    distance = torch.arange(first, first + q.shape[2])[:, None] - keys
    is_full = case.op == "attention" and not case["causal"]
    seen = is_full | ((distance >= 0) & (distance < case.get("window", case["N"])))
    if case.op == "linear_attention":
        q, k = (torch.where(x > 0, x + 1, x.exp()) for x in (q, k))
        weights = (q @ k.transpose(-2, -1)) * seen
        return weights / weights.sum(-1, keepdim=True)
    scores = (q @ k.transpose(-2, -1)) / math.sqrt(case["D"])
    return scores.masked_fill(~seen, -math.inf).softmax(-1)


GRADER = Attention()
