"""Grades ex_15 vectorised add, warp reduce."""

import math

from gpuprep.grader import EDGE_SIZES, HOST_OPS, ITEMSIZE, Budget, Case, ErrorModel, Expected, Grader, Tier, Traffic

CANCELLING = 8.0
"""A cancelling input lies around +8 in its first half, around −8 in its second: large partial sums, a small total."""
PER_REQUEST = 32 * 4
"""Elements that a warp's load brings, with a float4 a lane."""
FLOAT = ITEMSIZE["float32"]


class VectorAddWarpReduce(Grader):
    """The driver takes a case's `op` as the last argument: `add`, `total`, or `torch_op`, add as torch's operator."""

    function = "add"
    parameters = ("x", "y")
    # Seen where the driver calls the operator. What happens inside counts as if add had been called.
    allowed_ops = HOST_OPS | {"gpuprep_ex15.add"}

    def cases(self, rng):
        larger = 20001 + 2 * rng.randrange(500)

        def case(op, n, **rest):
            return Case({"op": op, "n": n, "dtype": "float32", **rest})

        return [
            *(case("add", n) for n in (0, *EDGE_SIZES, larger)),
            # How many floats after a multiple of 16 bytes x and y start: together, or one of them alone.
            *(case("add", 1025, x_start=x, y_start=y) for x, y in ((1, 1), (1, 0), (0, 1))),
            case("add", larger, x_start=2, y_start=2),
            *(case("add", 1025, distribution=kind) for kind in ("wide", "heavy")),
            *(case("torch_op", n) for n in (0, 33, 1025)),
            *(case("total", n) for n in (0, *EDGE_SIZES, larger)),
            *(case("total", n, x_start=start) for n, start in ((1, 1), (1023, 1), (1025, 2), (1025, 3))),
            *(case("total", larger, distribution=kind) for kind in ("cancel", "offset", "wide", "heavy")),
            *(Case({"op": op, "n": 2**18, "dtype": "float32"}, tier=Tier.WORK) for op in ("add", "total")),
            # 3 and 1 GiB a call, or a quarter of it on a card with less memory: all far past any L2 cache. The sum lies
            # far above zero: where values cancel, one that leaves out every thousandth of them still looks right.
            *(
                Case(
                    {"op": op, "n": n - 4096 * rng.randrange(64), "dtype": "float32", "distribution": distribution},
                    tier=Tier.SPEED,
                    devices=("cuda",),
                )
                for op, distribution in (("add", "normal"), ("total", "offset"))
                for n in (2**28, 2**26)
            ),
        ]

    def inputs(self, case, draw):
        n = case["n"]
        if case.get("distribution") == "cancel":
            values = draw.tensor(n)
            values[: n // 2] += CANCELLING
            values[n - n // 2 :] -= CANCELLING
            return values, "total"
        starts = [case.get(f"{name}_start", 0) for name in self.parameters]
        tensors = [draw.like(case, start + n)[start:] for start in starts]
        return (*tensors[: 1 if case["op"] == "total" else 2], case["op"])

    def oracle(self, case, *args):
        exact = [x.double() for x in args[:-1]]
        if case["op"] != "total":
            return (Expected(exact[0] + exact[1], "float32"),)
        return (Expected(exact[0].sum(), "float32", scale=exact[0].abs().sum()),)

    def honest(self, case, *args, order=None):
        if case["op"] != "total":
            return (args[0] + args[1],)
        return ((args[0] if order is None else args[0][order]).sum(),)

    def error_model(self, case):
        # One correctly rounded addition; or a tree of them, relative to Σ|x|. A running sum of n terms of one sign
        # makes a random walk of errors, √n/4 roundings long; shared among the 32 lanes of a single warp it is √n/90,
        # with five more for the shuffles. √n/16 leaves room to spare.
        return ErrorModel(roundings=1 if case["op"] != "total" else 6 + math.sqrt(case["n"]) / 16)

    def reduction_size(self, case):
        return case["n"] if case["op"] == "total" else 0

    def budgets(self, case):
        n, n_bytes = case["n"], case["n"] * FLOAT
        # One float4 a lane: a request brings 512 bytes in 16 full sectors.
        requests, sectors = n // PER_REQUEST, n_bytes // 32
        if case["op"] == "add":
            # n is a multiple of every usual block, and x, y and out start at multiples of 16: no room is needed.
            return (
                Budget("bytes_loaded", 2 * n_bytes, 2 * n_bytes, "2·n·4: x and y once each"),
                Budget("bytes_stored", n_bytes, n_bytes, "n·4: out once"),
                Budget("launches", 1, 1, "one kernel does it"),
                Budget("sectors_per_load", 0, 16, "16 for float4, 4 for floats"),
                Budget("sectors_per_store", 0, 16, "16 for float4, 4 for floats"),
                Budget("load_requests", 2 * requests, 2 * requests, "2·n/128: a float4 a lane"),
                Budget("store_requests", requests, requests, "n/128: a float4 a lane"),
                Budget("sectors_loaded", 2 * sectors, 2 * sectors, "2·n·4/32: full sectors"),
                Budget("sectors_stored", sectors, sectors, "n·4/32: full sectors"),
            )
        return (
            # The room of 5 % is for partial sums, written and read again: it fits one for every 160 elements.
            Budget("bytes_moved", n_bytes, n_bytes * 105 // 100, "1.05·n·4: x once, and a few partial sums"),
            Budget("launches", 1, 2, "one for the blocks, one for their sums"),
            Budget("sectors_per_load", 0, 16, "16 for float4, 4 for floats"),
            Budget("load_requests", requests, requests * 105 // 100, "1.05·n/128: a float4 a lane"),
            Budget("sectors_loaded", sectors, sectors * 105 // 100, "1.05·n·4/32: full sectors"),
            # A warp puts its sum down and one warp a block picks them up: 9 requests for a block of 256 threads, which
            # fit with two float4 a thread. A tree in shared memory takes 45.
            Budget("shared_requests", 0, n // 256, "n/256: one a warp, which has a few float4 a lane by then"),
        )

    def traffic(self, case):
        n_tensors = 3 if case["op"] == "add" else 1
        return Traffic(bytes=n_tensors * case["n"] * FLOAT, flops=case["n"])


GRADER = VectorAddWarpReduce()
