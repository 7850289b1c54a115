"""Grades ex_04 row softmax."""

from gpuprep.grader import EDGE_SIZES, ITEMSIZE, Budget, Case, ErrorModel, Expected, Grader, Tier, Traffic, compiled

GPU = ("cuda",)
N_MOST = 16384
"""The longest row that the task promises."""


class RowSoftmax(Grader):
    function = "softmax"
    parameters = ("x",)
    baseline = "torch.softmax"

    def cases(self, rng):
        def case(m, n, dtype="float32", **rest):
            return Case({"M": m, "N": n, "dtype": dtype, **rest})

        larger = 4097 + 2 * rng.randrange(500)
        return [
            *(case(3, n) for n in (*EDGE_SIZES, larger)),
            case(2, N_MOST),
            # One program a row is the usual solution, so few rows; 31 and 33 are for those that take several at once.
            *(case(m, 17) for m in (1, 31, 33)),
            *(case(3, n, "float16") for n in (33, 1025)),
            *(case(5, 33, layout=layout) for layout in ("padded", "offset")),
            *(case(3, 1025, distribution=kind) for kind in ("offset", "heavy", "masked", "large")),
            *(case(3, 1025, "float16", distribution=kind) for kind in ("masked", "large")),
            *(Case({"M": 65, "N": n, "dtype": "bfloat16"}, devices=GPU) for n in (1, 1025, larger)),
            Case({"M": 33, "N": 1025, "dtype": "bfloat16", "distribution": "masked"}, devices=GPU),
            Case({"M": 1025, "N": N_MOST, "dtype": "bfloat16"}, devices=GPU),
            Case({"M": 16, "N": 1024, "dtype": "float32"}, tier=Tier.WORK),
            Case({"M": 8192 - rng.randrange(64), "N": 8192, "dtype": "bfloat16"}, tier=Tier.SPEED, devices=GPU),
        ]

    def inputs(self, case, draw):
        m, n, kind = case["M"], case["N"], case.get("distribution", "normal")
        if kind not in ("masked", "large"):
            return (draw.like(case, m, n),)
        values = draw.tensor(m, n, dtype=case["dtype"])
        if kind == "masked":
            # A row always keeps its first value: a softmax over nothing is not asked for.
            values[:, 1:][draw.tensor(m, n - 1) > 0] = -float("inf")
        else:
            values += 1e4 * (draw.permutation(m) % 3 - 1)[:, None]
        return (values,)

    def oracle(self, case, x):
        exact = x.double()
        value = exact.softmax(1)
        # exp turns an absolute error of its argument into a relative one of its result, and the argument's grows with
        # its size. Past 10³ every value is 0 anyway; without the clamp a −inf would make 0·∞ of it.
        exponent = (exact.amax(1, keepdim=True) - exact).clamp_max(1e3)
        return (Expected(value, case["dtype"], scale=value * (1 + exponent)),)

    def honest(self, case, x, order=None):
        if order is None:
            return (x.softmax(1),)
        back = order.argsort()
        return (x[:, order].softmax(1)[:, back],)

    def baselines(self, case):
        return (*super().baselines(case), compiled(lambda x: x.softmax(1)))

    def error_model(self, case):
        # Subtraction, change of base and exp round about once each, and what they lose grows with |x − m|: hence the
        # scale. The sum (a tree), its inverse and the product add a few more. Most of the room is for exp itself: fast
        # ones, torch's own and the card's, give up several units in the last place. TF32 or float16 lose thousands.
        return ErrorModel(roundings=32)

    def reduction_size(self, case):
        return case["N"]

    def budgets(self, case):
        n_bytes = case["M"] * case["N"] * ITEMSIZE[case["dtype"]]
        # No room: a row fits the registers at every N of the task, and lanes past its end aren't counted.
        return (
            Budget("bytes_loaded", n_bytes, n_bytes, "M·N·itemsize: x once"),
            Budget("bytes_stored", n_bytes, n_bytes, "M·N·itemsize: out once"),
            Budget("launches", 1, 1, "one kernel does it"),
        )

    def traffic(self, case):
        elements = case["M"] * case["N"]
        return Traffic(bytes=2 * elements * ITEMSIZE[case["dtype"]], flops=5 * elements, dtype=case["dtype"])


GRADER = RowSoftmax()
