"""Grades ex_02 reduction."""

import math

from gpuprep.grader import EDGE_SIZES, ITEMSIZE, Budget, Case, ErrorModel, Expected, Grader, Tier, Traffic, cases_along

CANCELLING = 8.0
"""A cancelling input lies around +8 in its first half, around −8 in its second: large partial sums, a small total."""


class Reduction(Grader):
    function = "total"
    parameters = ("x",)
    baseline = "torch.sum"

    def cases(self, rng):
        larger = 20001 + 2 * rng.randrange(500)
        return [
            *cases_along("n", (0, *EDGE_SIZES, larger), dtype="float32"),
            # Normal values keep a float16 sum far from the largest float16.
            *cases_along("n", (0, 33, 1025), dtype="float16"),
            Case({"n": 1023, "dtype": "float32", "layout": "offset"}),
            Case({"n": larger, "dtype": "float32", "distribution": "cancel"}),
            *(Case({"n": n, "dtype": "float16", "distribution": "cancel"}) for n in (31, 4097, larger, 24001)),
            *(Case({"n": 1025, "dtype": "float32", "distribution": kind}) for kind in ("offset", "wide", "heavy")),
            Case({"n": 2**18, "dtype": "float32"}, tier=Tier.WORK),
            # Far above zero: where values cancel, a sum that leaves out every thousandth one still looks right.
            *(
                Case(
                    {"n": n - 4096 * rng.randrange(64), "dtype": "float32", "distribution": "offset"},
                    tier=Tier.SPEED,
                    devices=("cuda",),
                )
                for n in (2**28, 2**26)
            ),
        ]

    def inputs(self, case, draw):
        n = case["n"]
        if case.get("distribution") != "cancel":
            return (draw.like(case, n),)
        values = draw.tensor(n, dtype=case["dtype"])
        values[: n // 2] += CANCELLING
        values[n - n // 2 :] -= CANCELLING
        return (values,)

    def oracle(self, case, x):
        exact = x.double()
        return (Expected(exact.sum(), case["dtype"], scale=exact.abs().sum()),)

    def honest(self, case, x, order=None):
        return ((x if order is None else x[order]).sum(),)

    def error_model(self, case):
        # Relative to Σ|x|, a tree of additions errs by a few roundings. A running sum of n terms of one sign makes a
        # random walk of errors, √n/4 roundings long; shared among 16 lanes it is √n/64, and so are atomics by programs
        # of 256 elements. √n/16 leaves either four times that.
        return ErrorModel(roundings=4 + math.sqrt(case["n"]) / 16)

    def reduction_size(self, case):
        return case["n"]

    def budgets(self, case):
        n_bytes = case["n"] * ITEMSIZE[case["dtype"]]
        return (
            # The room of 5 % is for partial sums: written and read again in float32, they fit it from blocks of 160
            # elements on. Smaller blocks do waste their time on partial sums.
            Budget("bytes_moved", n_bytes, n_bytes * 105 // 100, "1.05·n·itemsize: x once, and a few partial sums"),
            Budget("launches", 1, 2, "one for the blocks, one for their sums"),
        )

    def traffic(self, case):
        return Traffic(bytes=case["n"] * ITEMSIZE[case["dtype"]], flops=case["n"], dtype=case["dtype"])


GRADER = Reduction()
