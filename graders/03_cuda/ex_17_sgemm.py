"""Grades ex_17 SGEMM ladder."""

import math

from gpuprep.grader import EDGE_SIZES, ITEMSIZE, Budget, Case, ErrorModel, Expected, Grader, Tier, Traffic

GPU = ("cuda",)
SECTOR_BYTES = 32
WARP_SIZE = 32
FLOAT = ITEMSIZE["float32"]
TILE = 64
"""Side of the square tile whose loads are the most that a work case allows."""


class Sgemm(Grader):
    function = "matmul"
    parameters = ("a", "b")
    baseline = "torch.matmul"

    def cases(self, rng):
        def case(m, n, k, tier=Tier.CORRECT, devices=("cpu", "cuda"), **rest):
            return Case({"M": m, "N": n, "K": k, "dtype": "float32", **rest}, tier=tier, devices=devices)

        larger = 2049 + 2 * rng.randrange(100)
        return [
            # The other axes stay small: the emulator runs every thread of every tile, however few outputs it has.
            *(case(m, 5, 19) for m in EDGE_SIZES),
            *(case(5, n, 19) for n in EDGE_SIZES),
            *(case(3, 5, k) for k in (*EDGE_SIZES, larger)),
            # Several tiles both ways, of which the last stick out; sizes that take vectors, and tails that don't.
            *(case(*sizes) for sizes in ((129, 130, 67), (65, 132, 68), (132, 66, 36), (68, 260, 33))),
            # Rows of whole float4, none of which starts at a multiple of 16 bytes.
            *(case(*sizes, layout="offset") for sizes in ((33, 36, 40), (64, 64, 64))),
            *(case(11, 29, 1025, distribution=kind) for kind in ("offset", "wide", "heavy")),
            case(larger, 2177, 333, devices=GPU),
            case(2176, larger - 1, 332, devices=GPU),
            case(1024, 1152, 4096, devices=GPU),
            case(256, 256, 64, Tier.WORK),
            # Only K is jittered: the number of tiles, and so how well they divide among the multiprocessors, stays.
            case(4096, 4096, 4096 - 64 * rng.randrange(4), Tier.SPEED, GPU),
        ]

    def inputs(self, case, draw):
        return draw.like(case, case["M"], case["K"]), draw.like(case, case["K"], case["N"])

    def oracle(self, case, a, b):
        a, b = a.double(), b.double()
        return (Expected(a @ b, "float32", scale=a.abs() @ b.abs(), strides=(case["N"], 1)),)

    def honest(self, case, a, b, order=None):
        return (a @ b if order is None else a[:, order] @ b[order],)

    def error_model(self, case):
        # Each output is a running sum over K with one rounding a step. Where all terms have one sign, the errors make a
        # random walk: relative to |A|·|B| about √K/4 roundings, and √K at the worst of all outputs. Twice that, and 8
        # more for short sums.
        return ErrorModel(roundings=8 + 2 * math.sqrt(case["K"]))

    def reduction_size(self, case):
        return case["K"]

    def budgets(self, case):
        m, n, k = case["M"], case["N"], case["K"]
        values = math.ceil(n / TILE) * m * k + math.ceil(m / TILE) * k * n
        stored = m * n * FLOAT
        return (
            # The room is the choice of a tile: any from 64×64 up fits, and one of 256×256 loads everything once.
            Budget("bytes_loaded", (m * k + k * n) * FLOAT, values * FLOAT, "(⌈N/64⌉·M·K + ⌈M/64⌉·K·N)·4: 64×64 tiles"),
            Budget("bytes_stored", stored, stored, "M·N·4: every output once"),
            # Held against the bytes in them, so that floats, at 4 a request, and float4, at 16, count alike.
            Budget("sectors_loaded", 1, values * FLOAT / SECTOR_BYTES, "(⌈N/64⌉·M·K + ⌈M/64⌉·K·N)·4/32: full sectors"),
            # Twice: float4 that lie 32 bytes apart fill a sector with two requests, and the L2 cache joins them.
            Budget("sectors_stored", stored / SECTOR_BYTES, 2 * stored / SECTOR_BYTES, "2·M·N·4/32: half-full sectors"),
            # Reads can have none at all. Turning a's tile without any takes more thought than the 3 % that it brings.
            Budget(
                "bank_conflicts",
                0,
                math.ceil(n / TILE) * m * k / WARP_SIZE,
                "⌈N/64⌉·M·K/32: none but 2-way ones where a's tile is stored",
            ),
        )

    def traffic(self, case):
        m, n, k = case["M"], case["N"], case["K"]
        return Traffic(bytes=(m * k + k * n + m * n) * FLOAT, flops=2 * m * n * k)


GRADER = Sgemm()
