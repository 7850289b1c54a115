"""Grades ex_28 ring all-reduce."""

import torch

from gpuprep.grader import (
    ARITHMETIC,
    HOST_OPS,
    ITEMSIZE,
    MESSAGES,
    UNIT_ROUNDOFF,
    Budget,
    Case,
    ErrorModel,
    Expected,
    GroupGrader,
    Tier,
    Traffic,
)

WITHIN = 0.2
"""Of the true time: what is measured scatters by NOISE, and a fit that weighs seconds alone is off by a multiple."""
NOISE = 0.05
WORLDS = (1, 2, 4)
FLOAT = ITEMSIZE["float32"]
TIMED_BYTES = (2**30, 2**28, 2**26)
N_MEASURED, N_PREDICTED = 24, 12
ROUNDED = 64 * FLOAT
"""Room for rings and pieces whose chunks are rounded each for themselves."""
MOST_MESSAGES = 64
"""A step: pieces of a chunk, and rings in both directions, are as good as whole chunks in one."""


class RingAllReduce(GroupGrader):
    """The driver takes a case's `op` first."""

    function = "ring_all_reduce"
    parameters = ("x",)
    # The driver's tolist, and what a fit may be solved with.
    allowed_ops = (
        HOST_OPS
        | ARITHMETIC
        | MESSAGES
        | {"Tensor.tolist", "Tensor.numpy", "aten.linalg_lstsq", "aten._linalg_solve_ex", "aten.linalg_vector_norm"}
    )
    baseline = "dist.all_reduce"
    baseline_key = "all_reduce"

    def cases(self, rng):
        def case(world, n, **rest):
            return Case({"op": "sum", "world": world, "n": n, "dtype": "float32", **rest})

        larger = 4097 + 2 * rng.randrange(500)
        return [
            *(case(world, n) for world in WORLDS for n in (1, 33, 1024, larger)),
            # Fewer elements than ranks: some chunks are empty.
            *(case(4, n) for n in (2, 3, 5, 10)),
            *(case(world, 1025, distribution=kind) for world in (2, 4) for kind in ("offset", "wide")),
            *(Case({"op": "fit", "world": world, "n": N_MEASURED}, devices=("cpu",)) for world in (2, 4)),
            *(
                Case({"op": "sum", "world": world, "n": n, "dtype": "float32"}, Tier.WORK, ("cpu",))
                for world, n in ((2, 2**14), (4, 2**14), (4, 2**14 + 10))
            ),
            *(
                Case({"op": name, "world": world, "n": size // FLOAT, "dtype": "float32"}, Tier.SPEED, ("cuda",))
                for name, world in (("two_gpus", 2), ("four_gpus", 4))
                for size in TIMED_BYTES
            ),
        ]

    def inputs(self, case, draw):
        if case["op"] != "fit":
            return (draw.like(case, case["world"], case["n"]),)
        # α of 2 to 10 µs, β of 5 to 50 GB/s, as between machines; sizes from 1 KiB to 1 GiB.
        alpha = 1e-6 * float(draw.integers(2, 11, 1))
        beta = 1e-9 / float(draw.integers(5, 51, 1))
        n_bytes, wanted = (1024 * 2 ** (20 * draw.integers(0, 1001, n) / 1000) for n in (N_MEASURED, N_PREDICTED))
        worlds = 2 + draw.integers(0, 15, N_PREDICTED).long()
        scatter = 1 + NOISE * (draw.integers(0, 2001, N_MEASURED) / 1000 - 1)
        seconds = _seconds(alpha, beta, n_bytes.double(), case["world"]) * scatter
        truth = _seconds(alpha, beta, wanted.double(), worlds)
        return draw.place(n_bytes.double()), draw.place(seconds), draw.place(wanted.double()), worlds, truth

    def shard(self, case, args, rank):
        if case["op"] != "fit":
            return case["op"], args[0][rank].clone()
        n_bytes, seconds, wanted, worlds, _ = args
        return "fit", n_bytes, seconds, case["world"], wanted, worlds

    def argument_names(self, case):
        return ("op", "n_bytes", "seconds", "world", "wanted", "worlds") if case["op"] == "fit" else ("op", "x")

    def oracle(self, case, *args):
        if case["op"] == "fit":
            return (Expected(args[-1], "float64"),) * case["world"]
        exact = args[0].double()
        return (Expected(exact.sum(0), "float32", scale=exact.abs().sum(0)),) * case["world"]

    def honest(self, case, *args, order=None):
        if case["op"] == "fit":
            return (args[-1],) * case["world"]
        return ((args[0] if order is None else args[0][order]).sum(0),) * case["world"]

    def error_model(self, case):
        # N−1 additions in float32, one after the other, on partial sums no larger than Σ|x|.
        return ErrorModel(roundings=WITHIN / UNIT_ROUNDOFF["float32"] if case["op"] == "fit" else case["world"])

    def reduction_size(self, case):
        return case["world"] if case["op"] != "fit" else 0

    def rank_budgets(self, case, rank):
        # Which two chunks a rank keeps is a matter of convention, so all ranks have the same room.
        world, n = case["world"], case["n"]
        sizes = [chunk.numel() * FLOAT for chunk in torch.empty(n, device="meta").tensor_split(world)]
        whole, steps = n * FLOAT, 2 * (world - 1)
        return (
            # A ring sends neither the chunk that it completes nor the one that it gets back last. The least is far
            # below: a rank that sends less than others makes another send more, and that one is told.
            Budget("sent_bytes", min(sizes), 2 * whole - 2 * min(sizes) + ROUNDED, "2·S less two chunks of S/N"),
            Budget("messages", 1, steps * MOST_MESSAGES, "2·(N−1) steps of one chunk, or of its pieces"),
            # The driver's copy of x, and room for what comes in: a chunk, and another where both are under way.
            Budget("peak_bytes", 0, whole + 2 * max(sizes) + ROUNDED, "S + 2·S/N: x, and a chunk from each neighbour"),
        )

    def budgets(self, case):
        return self.rank_budgets(case, 0)

    def traffic(self, case):
        # What each rank has to send: S/time times this is the bus bandwidth.
        whole = case["n"] * FLOAT
        return Traffic(bytes=2 * (case["world"] - 1) * whole // case["world"])


def _seconds(alpha, beta, n_bytes, world):
    return 2 * (world - 1) * (alpha + beta * n_bytes / world)


GRADER = RingAllReduce()
