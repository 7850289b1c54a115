"""Grades ex_01 vector add."""

from gpuprep.grader import EDGE_SIZES, ITEMSIZE, Budget, Case, ErrorModel, Expected, Grader, Tier, Traffic, cases_along

N_COUNTED = 12 * 1024
"""More programs than a hard-coded grid is likely to have, and few enough for the interpreter to count in a blink."""


class VectorAdd(Grader):
    function = "add"
    parameters = ("x", "y")
    baseline = "torch.add"

    def cases(self, rng):
        larger = 4097 + 2 * rng.randrange(200)
        return [
            *cases_along("n", (*EDGE_SIZES, larger), dtype="float32"),
            *cases_along("n", (33, 1025), dtype="float16"),
            Case({"n": 1025, "dtype": "float32", "layout": "offset"}),
            Case({"n": larger, "dtype": "float32", "distribution": "wide"}),
            Case({"n": 1025, "dtype": "float32", "distribution": "heavy"}),
            Case({"n": N_COUNTED, "dtype": "float32"}, tier=Tier.WORK),
            Case({"n": N_COUNTED, "dtype": "float16"}, tier=Tier.WORK),
            # 3 GiB a call, or a quarter of it on a card with less memory: both far past any L2 cache.
            *(
                Case({"n": n - 4096 * rng.randrange(64), "dtype": "float32"}, tier=Tier.SPEED, devices=("cuda",))
                for n in (2**28 + 2**23, 2**26)
            ),
        ]

    def inputs(self, case, draw):
        return draw.like(case, case["n"]), draw.like(case, case["n"])

    def oracle(self, case, x, y):
        return (Expected(x.double().add_(y), case["dtype"]),)

    def honest(self, case, x, y, order=None):
        return (x + y,)

    def error_model(self, case):
        # One correctly rounded addition: nothing is accumulated.
        return ErrorModel(roundings=1)

    def budgets(self, case):
        n_bytes = case["n"] * ITEMSIZE[case["dtype"]]
        return (
            Budget("bytes_loaded", 2 * n_bytes, 2 * n_bytes, "2·n·itemsize: x and y once each"),
            Budget("bytes_stored", n_bytes, n_bytes, "n·itemsize: out once"),
            Budget("launches", 1, 1, "one kernel does it"),
        )

    def traffic(self, case):
        return Traffic(bytes=3 * case["n"] * ITEMSIZE[case["dtype"]], flops=case["n"])


GRADER = VectorAdd()
