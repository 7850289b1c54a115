"""Grades ex_03 tiled matmul."""

import math

from gpuprep.grader import EDGE_SIZES, ITEMSIZE, Budget, Case, ErrorModel, Expected, Grader, Tier, Traffic

GPU = ("cuda",)
TILE = 64
"""Side of the square tile whose loads are the most that a work case allows."""


class TiledMatmul(Grader):
    function = "matmul"
    parameters = ("a", "b")
    baseline = "torch.matmul"

    def cases(self, rng):
        def case(m, n, k, dtype="float32", **rest):
            return Case({"M": m, "N": n, "K": k, "dtype": dtype, **rest})

        def on_gpu(m, n, k, dtype, tier=Tier.CORRECT):
            return Case({"M": m, "N": n, "K": k, "dtype": dtype}, tier=tier, devices=GPU)

        larger = 2049 + 2 * rng.randrange(100)
        return [
            # The other axes stay below 16, one tile of any size: every program costs milliseconds in the interpreter.
            *(case(m, 13, 35) for m in EDGE_SIZES),
            *(case(11, n, 35) for n in (1, 3, 31, 32, 33, 1025)),
            *(case(11, 13, k) for k in (*EDGE_SIZES, larger)),
            case(33, 13, 35, "float16"),
            case(11, 29, larger, "float16"),
            # K is longer than any usual BLOCK_K, so that the loop has to step through a view.
            *(case(65, 33, 147, layout=layout) for layout in ("transposed", "padded", "strided", "offset")),
            case(65, 33, 147, "float16", layout="transposed"),
            *(case(11, 29, 1025, distribution=kind) for kind in ("offset", "wide", "heavy")),
            # The interpreter gets bfloat16 products wrong, and has no time for sizes that the largest tiles are for.
            on_gpu(193, 257, 1025, "bfloat16"),
            on_gpu(larger, 2177, 333, "bfloat16"),
            on_gpu(2175, larger, 333, "float16"),
            on_gpu(2048, 2304, 512, "float16"),
            Case({"M": 256, "N": 128, "K": 128, "dtype": "float16"}, tier=Tier.WORK),
            Case({"M": 128, "N": 128, "K": 256, "dtype": "float32"}, tier=Tier.WORK),
            # Only K is jittered: the number of tiles, and so how well they divide among the multiprocessors, stays.
            on_gpu(4096, 4096, 4096 - 64 * rng.randrange(4), "float16", Tier.SPEED),
        ]

    def inputs(self, case, draw):
        rest = {"dtype": case["dtype"], "distribution": case.get("distribution", "normal")}
        return draw.like(case, case["M"], case["K"]), draw.tensor(case["K"], case["N"], **rest)

    def oracle(self, case, a, b):
        a, b = a.double(), b.double()
        return (Expected(a @ b, case["dtype"], scale=a.abs() @ b.abs()),)

    def honest(self, case, a, b, order=None):
        return (a @ b if order is None else a[:, order] @ b[order],)

    def error_model(self, case):
        # Each output is a running sum over K with one rounding a step. Where all terms have one sign, the errors make a
        # random walk: relative to |A|·|B| about √K/4 roundings, and √K at the worst of all outputs. Twice that, since
        # tensor cores cut off what they don't round; 8 more for short sums.
        return ErrorModel(roundings=8 + 2 * math.sqrt(case["K"]))

    def reduction_size(self, case):
        return case["K"]

    def budgets(self, case):
        m, n, k, itemsize = case["M"], case["N"], case["K"], ITEMSIZE[case["dtype"]]
        most = (math.ceil(n / TILE) * m * k + math.ceil(m / TILE) * k * n) * itemsize
        return (
            # The room is the choice of a tile: any from 64×64 up fits, and one of 256×128 loads everything once.
            Budget("bytes_loaded", (m * k + k * n) * itemsize, most, "(⌈N/64⌉·M·K + ⌈M/64⌉·K·N)·itemsize: 64×64 tiles"),
            Budget("bytes_stored", m * n * itemsize, m * n * itemsize, "M·N·itemsize: every output once"),
        )

    def traffic(self, case):
        m, n, k = case["M"], case["N"], case["K"]
        n_bytes = (m * k + k * n + m * n) * ITEMSIZE[case["dtype"]]
        return Traffic(bytes=n_bytes, flops=2 * m * n * k, dtype=case["dtype"])


GRADER = TiledMatmul()
