"""Grades ex_23 flash attention forward."""

import math
from functools import partial

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from gpuprep.grader import ITEMSIZE, UNIT_ROUNDOFF, Baseline, Budget, Case, ErrorModel, Expected, Grader, Tier, Traffic

SMALL_TILE, LARGE_TILE = 64, 128
"""Queries of the smallest tile that a work case has room for, and the side of the largest."""
PADDING = 8
"""Elements between the rows of a padded tensor: 16 bytes, so that rows stay aligned."""
BACKENDS = {
    "FlashAttention-2": SDPBackend.FLASH_ATTENTION,
    "cuDNN attention": SDPBackend.CUDNN_ATTENTION,
    "memory-efficient attention": SDPBackend.EFFICIENT_ATTENTION,
}
"""Torch's own attention where it keeps scores out of memory, by what people call it."""


class FlashAttention(Grader):
    """A case's `op`, `full` or `causal`, becomes the last argument."""

    function = "flash"
    parameters = ("q", "k", "v", "causal")

    def cases(self, rng):
        def case(op, n, heads=(1, 2, 2), d=64, tier=Tier.CORRECT, dtype="float16", **rest):
            sizes = dict(zip(("B", "Hq", "Hkv"), heads, strict=True))
            # The interpreter gets products of bfloat16 wrong.
            devices = ("cuda",) if dtype == "bfloat16" else ("cpu", "cuda")
            return Case({"op": op, **sizes, "N": n, "D": d, "dtype": dtype, **rest}, tier=tier, devices=devices)

        larger, timed = 201 + 2 * rng.randrange(40), 4096 - 128 * rng.randrange(3)
        both = ("full", "causal")
        return [
            *(case(op, n) for op in both for n in (1, 127, 129)),
            *(case(op, n, (1, 1, 1), 128) for op, n in (("full", 63), ("causal", 129), ("causal", larger))),
            case("full", larger, (1, 1, 1)),
            # Three query heads a key head, and two key heads: head // 3, head % 3 and head % 2 all differ.
            case("full", 33, (2, 6, 2)),
            case("causal", 65, (1, 3, 1)),
            *(case("causal", 67, (2, 2, 1), layout=layout) for layout in ("transposed", "padded", "packed")),
            *(case("full", 147, (1, 1, 1), 128, distribution=kind) for kind in ("large", "negative", "offset")),
            *(case("causal", 147, (1, 1, 1), distribution=kind) for kind in ("large", "growing")),
            *(case(op, 1025 + larger, (2, 4, 2), 128, dtype="bfloat16") for op in both),
            case("causal", 1024 + larger, (2, 6, 2), dtype="bfloat16", layout="transposed"),
            case("full", 512, (1, 2, 1), tier=Tier.WORK, layout="transposed"),
            case("causal", 512, (1, 2, 1), tier=Tier.WORK),
            *(case(op, timed, (b, 16, 16), 128, Tier.SPEED, "bfloat16") for op in both for b in (4, 1)),
        ]

    def inputs(self, case, draw):
        batch, n, d, layout = case["B"], case["N"], case["D"], case.get("layout")
        heads = [case["Hq"], case["Hkv"], case["Hkv"]]
        # What a projection returns has the heads inside, beside D; packed, those of q, k and v all in one tensor.
        is_inside = layout in ("transposed", "packed")
        made = []
        for n_heads in [sum(heads)] if layout == "packed" else heads:
            shape = (batch, n, n_heads) if is_inside else (batch, n_heads, n)
            tensor = draw.tensor(*shape, d + PADDING * (layout == "padded"), dtype=case["dtype"])[..., :d]
            made.append(tensor.transpose(1, 2) if is_inside else tensor)
        q, k, v = made[0].split(heads, dim=1) if layout == "packed" else made
        match case.get("distribution"):
            case "large":
                q.mul_(30.0)
                k.mul_(30.0)
            case "negative":
                # No score is near 0: a maximum that starts there is never replaced, and every exp underflows.
                q.abs_().mul_(30.0)
                k.abs_().neg_()
            case "growing":
                # From 0 to about 100 along the keys: the maximum of one tile is nothing to the next.
                q.mul_(0.1).add_(1.0)
                k.mul_(0.1).add_(1.0).mul_(torch.linspace(0.0, 12.0, n, device=k.device)[:, None])
            case "offset":
                v.add_(100.0)
        return q, k, v, case["op"] == "causal"

    def oracle(self, case, q, k, v, causal):
        group, scale = case["Hq"] // case["Hkv"], case["D"] ** -0.5
        value, magnitude = (torch.empty(q.shape, dtype=torch.float64, device=q.device) for _ in range(2))
        lse = value.new_empty(q.shape[:3])
        underflow = torch.finfo(q.dtype).smallest_normal * torch.finfo(q.dtype).eps / 2
        # One head at a time: the scores of all of them would not fit a card.
        for batch, head in [(batch, head) for batch in range(case["B"]) for head in range(case["Hq"])]:
            keys, values = (tensor[batch, head // group].double() for tensor in (k, v))
            scores = (q[batch, head].double() * scale) @ keys.T
            if causal:
                scores.masked_fill_(torch.ones_like(scores, dtype=torch.bool).triu_(1), -math.inf)
            lse[batch, head] = scores.logsumexp(1)
            weights = scores.sub_(lse[batch, head, :, None]).exp_()
            sums = weights @ torch.cat((values, values.abs()), dim=1)
            value[batch, head], magnitude[batch, head] = sums.chunk(2, dim=1)
            # Below half a step between subnormal numbers, nothing is left of a rounded weight.
            magnitude[batch, head] += weights.clamp_(max=underflow) @ values.abs() / UNIT_ROUNDOFF[case["dtype"]]
        # No score of a row is larger than this, nor are its terms' absolute values together (Cauchy and Schwarz).
        longest = k.double().norm(dim=3).amax(2).repeat_interleave(group, dim=1)[..., None]
        exponent = 1 + q.double().norm(dim=3) * longest * scale
        # exp turns an absolute error of a score into a relative one of its weight. Of a float32 score that is a random
        # walk of √D roundings, twice that for what tensor cores cut off, and a few for the scale, exp and its sum.
        roundings = 8 + 2 * math.sqrt(case["D"])
        lost = roundings * UNIT_ROUNDOFF["float32"] / UNIT_ROUNDOFF[case["dtype"]] * exponent
        scale = magnitude * (1 + lost[..., None])
        return Expected(value, case["dtype"], scale=scale), Expected(lse, "float32", scale=lost)

    def honest(self, case, q, k, v, causal, order=None):
        queries = torch.arange(case["N"], device=q.device)
        order = queries if order is None else order
        k, v = (tensor[:, :, order].repeat_interleave(case["Hq"] // case["Hkv"], dim=1).float() for tensor in (k, v))
        scores = q.float() @ k.mT * case["D"] ** -0.5
        if causal:
            scores.masked_fill_(order > queries[:, None], -math.inf)
        weights = (scores - scores.amax(3, keepdim=True)).exp()
        out = weights.to(q.dtype).float() @ v / weights.sum(3, keepdim=True)
        return out.to(q.dtype), scores.logsumexp(3)

    def error_model(self, case):
        # Weights are rounded to v's dtype before they meet it. All else is float32, and in the oracle's scales.
        return ErrorModel(roundings=1, accumulate=case["dtype"])

    def reduction_size(self, case):
        return case["N"]

    def budgets(self, case):
        n, heads, row = case["N"], case["B"] * case["Hq"], case["D"] * ITEMSIZE[case["dtype"]]
        # The most is for 64 queries a tile, and 128 keys. Nothing is too little: kernels may have loaded copies.
        ends = range(SMALL_TILE, n + 1, SMALL_TILE)
        n_keys, why = n * len(ends), "all N keys, for every 64 queries of every head"
        if case["op"] == "causal":
            n_keys = sum(math.ceil(end / LARGE_TILE) * LARGE_TILE for end in ends)
            why = "keys up to the diagonal in tiles of 128, for every 64 queries of every head"
        return (
            Budget("largest_tensor_bytes", 0, heads * n * row, "B·Hq·N·D·itemsize: out, and no N·N scores"),
            Budget("launches", 1, 1, "one kernel does it, strides and grouped heads as they are"),
            Budget("bytes_loaded", 0, heads * n * row, "B·Hq·N·D·itemsize: q once", of="q"),
            *(Budget("bytes_loaded", 0, heads * n_keys * row, why, of=name) for name in ("k", "v")),
            Budget("dot_flops", 0, 4 * heads * n_keys * SMALL_TILE * case["D"], f"4·D a score: {why}"),
            Budget("bytes_stored", heads * n * (row + 4), heads * n * (row + 4), "out and lse once"),
        )

    def baselines(self, case):
        def attention(backend, q, k, v, causal):
            with sdpa_kernel(backend):
                return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal)

        # Called with the arguments of a call, it gives back what is timed.
        return [Baseline("sdpa", title, partial(partial, attention, kind)) for title, kind in BACKENDS.items()]

    def traffic(self, case):
        n, heads, row = case["N"], case["B"] * case["Hq"], case["D"] * ITEMSIZE[case["dtype"]]
        n_scores = n * (n + 1) // 2 if case["op"] == "causal" else n * n
        n_bytes = 2 * (heads + case["B"] * case["Hkv"]) * n * row + 4 * heads * n
        return Traffic(bytes=n_bytes, flops=4 * heads * n_scores * case["D"], dtype=case["dtype"])


GRADER = FlashAttention()
