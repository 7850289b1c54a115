"""Grades ex_24 flash-decode over a paged KV cache."""

import math

from gpuprep.grader import ITEMSIZE, UNIT_ROUNDOFF, Budget, Case, ErrorModel, Expected, Grader, Tier, Traffic

GPU = ("cuda",)
EDGES = (1, 3, 16, 17, 32, 33, 127, 129)
"""Around a block of the pool and around tiles."""
FLOAT = 4
SPARE_COLUMNS = 3
"""Entries of the table beyond the longest sequence's blocks, in most cases."""
LARGE = 60.0
"""Queries multiplied by it have scores of ±200 and more: their exponentials overflow float32."""
TOKENS_PER_PARTIAL = 128
"""Partial results of a group of eight, written and read again, are then about a tenth of its 16-bit keys and values."""
SCORE_ROUNDINGS = 8
"""In float32, of a score, its exponential and the sums. Most of the room is for exp itself, of which fast ones give up
several units in the last place."""
ROUNDINGS = {"float32": 64, "float16": 2, "bfloat16": 2}
"""In the case's dtype. Tensor cores want 16-bit weights where values are of 16 bits: one rounding, and one more for
those who scale the queries first. In float32 a weight has the errors of its score, a few for each of D products; TF32
makes thousands of it."""
DEAD = {"large": 6e4}
"""What slots without a live token hold: NaN but for these distributions, whose results are NaN for another mistake."""


def _lengths(case):
    """Tokens of each sequence, evenly spread from 1 to the longest; whole blocks where work is counted."""
    n, longest, block_size = case["B"], case["longest"], case["block_size"]
    spread = [longest] if n == 1 else [1 + (longest - 1) * i // (n - 1) for i in range(n)]
    return [math.ceil(length / block_size) * block_size for length in spread] if case.tier is Tier.WORK else spread


class FlashDecode(Grader):
    function = "decode"
    parameters = ("q", "k_pool", "v_pool", "block_table", "lengths")
    baseline = "gather + SDPA"

    def cases(self, rng):
        def case(longest, dtype="float32", *, B=1, Hq=4, Hkv=2, D=64, block_size=16, **rest):  # noqa: N803  axes
            axes = {"B": B, "Hq": Hq, "Hkv": Hkv, "D": D, "block_size": block_size, "longest": longest}
            tier, devices = rest.pop("tier", Tier.CORRECT), rest.pop("devices", ("cpu", "cuda"))
            return Case({**axes, "dtype": dtype, **rest}, tier=tier, devices=devices)

        def timed(op, B, longest):  # noqa: N803
            longest -= rng.randrange(256)
            shape = {"B": B, "Hq": 32, "Hkv": 8, "D": 128, "op": op}
            return case(longest, "bfloat16", **shape, tier=Tier.SPEED, devices=GPU)

        larger = 601 + 2 * rng.randrange(100)
        return [
            *(case(longest) for longest in EDGES),
            *(case(33, Hq=Hq, Hkv=Hkv) for Hq, Hkv in ((1, 1), (5, 1), (3, 3), (17, 1))),
            *(case(67, block_size=block_size) for block_size in (1, 5, 32, 256)),
            case(larger, B=3, Hq=3, Hkv=1),
            *(case(67, B=2, D=128, layout=layout) for layout in ("padded", "heads_first")),
            # Most of the table is garbage.
            case(40, spare=150),
            *(case(larger, Hq=2, Hkv=1, distribution=kind) for kind in ("large", "heavy")),
            *(case(longest, "float16", D=128) for longest in (1, 33, 257)),
            # Several splits, however long those are.
            case(3 * larger, "float16", Hq=2, Hkv=1, distribution="large"),
            # The interpreter gets bfloat16 products wrong.
            *(case(longest, "bfloat16", D=128, B=3, devices=GPU) for longest in (1, 33, larger)),
            case(8 * larger, "bfloat16", B=7, Hq=24, Hkv=4, block_size=32, devices=GPU),
            case(18 * larger, "bfloat16", B=33, Hq=8, Hkv=1, D=128, devices=GPU, layout="heads_first"),
            case(8 * larger, "float16", B=4, Hq=16, Hkv=8, D=128, devices=GPU, distribution="large"),
            case(512, "float16", B=2, Hq=8, D=128, tier=Tier.WORK),
            case(768, "float32", B=2, Hq=2, Hkv=1, tier=Tier.WORK),
            timed("many", 32, 2**15),
            timed("many", 8, 2**15),
            # Too few for a program each to fill a card.
            timed("few", 4, 2**16),
        ]

    def inputs(self, case, draw):
        import torch

        lengths, block_size, device = _lengths(case), case["block_size"], draw.device
        # Which sequence has which length is drawn; how many tokens there are in all isn't.
        lengths = [lengths[i] for i in draw.permutation(len(lengths)).tolist()]
        n_used = [math.ceil(length / block_size) for length in lengths]
        n_blocks = sum(n_used) * 17 // 16 + 2
        blocks = draw.permutation(n_blocks).int()
        table = draw.integers(n_blocks, 2**31 - 1, len(lengths), max(n_used) + case.get("spare", SPARE_COLUMNS))
        table[draw.integers(0, 2, *table.shape) == 1] = -1
        is_dead = torch.ones(n_blocks, block_size, dtype=torch.bool, device=device)
        for row, length, own in zip(table, lengths, blocks.split([*n_used, n_blocks - sum(n_used)]), strict=False):
            row[: len(own)] = own
            is_dead[own] = torch.arange(len(own) * block_size, device=device).view(-1, block_size) >= length
        kind = case.get("distribution", "normal")
        k_pool, v_pool = (self._pool(case, draw, n_blocks) for _ in range(2))
        for pool in (k_pool, v_pool):
            pool.masked_fill_(is_dead[:, :, None, None], DEAD.get(kind, float("nan")))
        q = draw.tensor(case["B"], case["Hq"], case["D"], dtype=case["dtype"])
        q *= LARGE if kind == "large" else 1.0
        return q, k_pool, v_pool, table, draw.place(torch.tensor(lengths, dtype=torch.int32, device=device))

    def _pool(self, case, draw, n_blocks):
        block_size, n_heads, dim, layout = case["block_size"], case["Hkv"], case["D"], case.get("layout", "contiguous")
        if layout == "heads_first":
            return draw.tensor(n_blocks, n_heads, block_size, dim, dtype=case["dtype"]).transpose(1, 2)
        kind = "heavy" if case.get("distribution") == "heavy" else "normal"
        return draw.tensor(n_blocks, block_size, n_heads, dim, dtype=case["dtype"], distribution=kind, layout=layout)

    def oracle(self, case, q, k_pool, v_pool, block_table, lengths):
        import torch

        dtype = case["dtype"]
        weight_of_loss = SCORE_ROUNDINGS * UNIT_ROUNDOFF["float32"] / (ROUNDINGS[dtype] * UNIT_ROUNDOFF[dtype])
        underflow = torch.finfo(q.dtype).smallest_normal * torch.finfo(q.dtype).eps / 2
        values, scales = [], []
        for query, table, length in zip(q.double(), block_table, lengths.tolist(), strict=True):
            keys, tokens = (_tokens(pool, table, length).double() for pool in (k_pool, v_pool))
            query = query.view(case["Hkv"], -1, case["D"]) / math.sqrt(case["D"])
            weights = (query @ keys.mT).softmax(-1)
            # An error of a score is a relative one of its weight, and of the sum of all weights; it grows with Σ|q·k|.
            losses = weights * (1 + query.abs() @ keys.abs().mT)
            values.append((weights @ tokens).flatten(0, 1))
            magnitudes = tokens.abs_()
            spread = weights @ magnitudes
            loss = losses @ magnitudes + losses.sum(-1, keepdim=True) * spread
            # Below half a step between subnormal numbers, nothing is left of a rounded weight.
            vanished = weights.clamp_(max=underflow) @ magnitudes / (ROUNDINGS[dtype] * UNIT_ROUNDOFF[dtype])
            scales.append((spread + weight_of_loss * loss + vanished).flatten(0, 1))
        return (Expected(torch.stack(values), dtype, scale=torch.stack(scales)),)

    def honest(self, case, q, k_pool, v_pool, block_table, lengths, order=None):
        import torch

        rows = []
        for query, table, length in zip(q, block_table, lengths.tolist(), strict=True):
            keys, values = (_tokens(pool, table, length) for pool in (k_pool, v_pool))
            if order is not None:
                kept = order[order < length]
                keys, values = keys[:, kept], values[:, kept]
            attention = torch.nn.functional.scaled_dot_product_attention
            rows.append(attention(query[None, :, None], keys[None], values[None], enable_gqa=True)[0, :, 0])
        return (torch.stack(rows),)

    def error_model(self, case):
        return ErrorModel(roundings=ROUNDINGS[case["dtype"]], accumulate=case["dtype"])

    def reduction_size(self, case):
        return case["longest"]

    def budgets(self, case):
        lengths, itemsize = _lengths(case), ITEMSIZE[case["dtype"]]
        n_bytes = sum(lengths) * case["Hkv"] * case["D"] * itemsize
        out_bytes = case["B"] * case["Hq"] * case["D"] * itemsize
        n_slots = max(lengths) + SPARE_COLUMNS * case["block_size"]
        n_partials = case["B"] * case["Hq"] * math.ceil(n_slots / TOKENS_PER_PARTIAL)
        most_bytes = out_bytes + n_partials * (case["D"] + 2) * FLOAT
        return (
            # No room: lengths are whole blocks here, and a masked lane isn't counted.
            Budget("bytes_loaded", n_bytes, n_bytes, "Σ lengths·Hkv·D·itemsize: each live key once", of="k_pool"),
            Budget("bytes_loaded", n_bytes, n_bytes, "Σ lengths·Hkv·D·itemsize: each live value once", of="v_pool"),
            Budget("launches", 1, 2, "one for the splits, one to combine them"),
            Budget("peak_bytes", 0, most_bytes, "out, and D + 2 floats for each query head and 128 slots"),
        )

    def traffic(self, case):
        n_tokens, heads, dim = sum(_lengths(case)), case["Hkv"], case["D"]
        n_bytes = 2 * (n_tokens * heads + case["B"] * case["Hq"]) * dim * ITEMSIZE[case["dtype"]]
        return Traffic(bytes=n_bytes, flops=4 * n_tokens * case["Hq"] * dim, dtype=case["dtype"])


def _tokens(pool, table, length):
    """A sequence's part of a pool, [Hkv, length, D]."""
    block_size = pool.shape[1]
    return pool[table[: math.ceil(length / block_size)]].flatten(0, 1)[:length].transpose(0, 1)


GRADER = FlashDecode()
