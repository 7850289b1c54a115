"""Grades ex_18 tensor cores."""

import math

from gpuprep.grader import EDGE_SIZES, ITEMSIZE, Budget, Case, ErrorModel, Expected, Grader, Tier, Traffic

GPU = ("cuda",)
SECTOR_BYTES = 32
HALF = ITEMSIZE["float16"]
SQUARE = 16
"""Side of the matrices that one multiply-accumulate of a warp takes."""
TILE = 64
"""Side of the square tile whose loads are the most that a work case allows."""


class TensorCores(Grader):
    function = "matmul"
    parameters = ("a", "b")
    baseline = "torch.matmul"

    def cases(self, rng):
        def case(m, n, k, tier=Tier.CORRECT, devices=("cpu", "cuda"), **rest):
            return Case({"M": m, "N": n, "K": k, "dtype": "float16", **rest}, tier=tier, devices=devices)

        larger = 2049 + 2 * rng.randrange(100)
        return [
            # The other axes stay small: the emulator runs every thread of every tile, however few outputs it has.
            *(case(m, 5, 19) for m in (1, 3, 15, 16, 17, 31, 33, 513)),
            *(case(5, n, 19) for n in (1, 3, 15, 16, 17, 31, 33, 513)),
            *(case(3, 5, k) for k in (*EDGE_SIZES, larger)),
            # Several tiles both ways, of which the last stick out; sizes that take vectors, and tails that don't.
            *(case(*sizes) for sizes in ((16, 16, 16), (64, 64, 64), (129, 130, 67), (72, 264, 72), (136, 70, 48))),
            # Rows of whole vectors, none of which starts at a multiple of 16 bytes.
            case(48, 40, 64, layout="offset"),
            case(11, 29, 99, distribution="heavy"),
            case(11, 29, 1024, sums="cancel"),
            case(larger, 2177, 333, devices=GPU),
            case(2176, larger - 1, 328, devices=GPU),
            case(1024, 1280, 4096, devices=GPU),
            case(256, 256, 128, Tier.WORK),
            # Only K is jittered: the number of tiles, and so how well they divide among the multiprocessors, stays.
            case(4096, 4096, 4096 - 64 * rng.randrange(4), Tier.SPEED, GPU),
        ]

    def inputs(self, case, draw):
        a, b = draw.like(case, case["M"], case["K"]), draw.like(case, case["K"], case["N"])
        if case.get("sums") == "cancel":
            # Up to half of K, terms near 400 add up to far more than float16 holds, and the other half takes it away.
            half = case["K"] // 2
            a, b = a * 0.5 + 20.0, b * 0.5 + 20.0
            b[half:] *= -1.0
            a, b = draw.place(a), draw.place(b)
        return a, b

    def oracle(self, case, a, b):
        a, b = a.double(), b.double()
        return (Expected(a @ b, "float16", scale=a.abs() @ b.abs(), strides=(case["N"], 1)),)

    def honest(self, case, a, b, order=None):
        return (a @ b if order is None else a[:, order] @ b[order],)

    def error_model(self, case):
        # Products of float16 are exact in float32; then as in ex_03, a running sum with one rounding a step. Twice its
        # random walk, since tensor cores cut off what they don't round, and 8 more for short sums.
        return ErrorModel(roundings=8 + 2 * math.sqrt(case["K"]))

    def reduction_size(self, case):
        return case["K"]

    def budgets(self, case):
        m, n, k = case["M"], case["N"], case["K"]
        values = math.ceil(n / TILE) * m * k + math.ceil(m / TILE) * k * n
        stored = m * n * HALF
        mma = math.ceil(m / SQUARE) * math.ceil(n / SQUARE) * math.ceil(k / SQUARE)
        return (
            # All three sizes are multiples of every usual tile, so nobody multiplies padding.
            Budget("mma", mma, mma, "⌈M/16⌉·⌈N/16⌉·⌈K/16⌉: every product on tensor cores, once"),
            # The room is the choice of a tile: any from 64×64 up fits, and one of 256×256 loads everything once.
            Budget("bytes_loaded", (m * k + k * n) * HALF, values * HALF, "(⌈N/64⌉·M·K + ⌈M/64⌉·K·N)·2: 64×64 tiles"),
            Budget("bytes_stored", stored, stored, "M·N·2: every output once, rounded before"),
            # Held against the bytes in them, so that one half a lane and eight count alike.
            Budget("sectors_loaded", 1, values * HALF / SECTOR_BYTES, "(⌈N/64⌉·M·K + ⌈M/64⌉·K·N)·2/32: full sectors"),
        )

    def traffic(self, case):
        m, n, k = case["M"], case["N"], case["K"]
        return Traffic(bytes=(m * k + k * n + m * n) * HALF, flops=2 * m * n * k, dtype="float16")


GRADER = TensorCores()
