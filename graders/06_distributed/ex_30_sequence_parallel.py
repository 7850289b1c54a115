"""Grades ex_30 sequence parallelism."""

import torch
from torch.nn.functional import gelu, layer_norm, linear

from gpuprep.grader import (
    ARITHMETIC,
    COLLECTIVES,
    HOST_OPS,
    ITEMSIZE,
    Budget,
    Case,
    ErrorModel,
    Expected,
    GroupGrader,
    Tier,
)

FLOAT = ITEMSIZE["float32"]
WORLDS = (1, 2, 4)
SHARED = ("gain", "shift", "b_down")
WEIGHTS = ("gain", "shift", "w_up", "b_up", "w_down", "b_down")
SPLIT = {"w_up": 1, "b_up": 1, "w_down": 2}
"""Where the hidden features are, in stacks of weights [L, …]."""
N_BLOCKS = 4
"""Of work cases: what every block keeps outweighs what one of them has at work."""


class SequenceParallel(GroupGrader):
    """The driver takes a case's `op` first. Weights are those of L blocks, one after the other."""

    function = "block"
    parameters = ("x", *WEIGHTS)
    # Of the collectives those that torch.distributed calls by their names: what DTensor is made of is not among them.
    allowed_ops = (
        HOST_OPS
        | ARITHMETIC
        | {name for name in COLLECTIVES if name.startswith("c10d.")}
        | {"c10d.barrier", "aten.native_layer_norm", "aten.native_layer_norm_backward"}
        | {"aten.gelu", "aten.gelu_backward", "aten.var_mean", "aten.var"}
    )

    def cases(self, rng):
        positions = 3 + rng.randrange(6)

        def case(op, world, tier=Tier.CORRECT, **sizes):
            devices = {"devices": ("cpu",)} if tier is Tier.WORK else {}
            return Case({"op": op, "world": world, **sizes, "dtype": "float32"}, tier, **devices)

        def block(world, per_rank, b, d, per_rank_f, n_blocks=1):
            return case("blocks", world, L=n_blocks, S=per_rank * world, B=b, D=d, F=per_rank_f * world)

        return [
            *(
                case(op, world, S=per_rank * world, B=b, D=d)
                for world in WORLDS
                for op in ("gather", "scatter")
                for per_rank, b, d in ((1, 1, 5), (positions, 3, 8))
            ),
            *(block(world, *sizes) for world in WORLDS for sizes in ((1, 1, 4, 1), (positions, 3, 17, 6))),
            *(block(world, 2, 2, 16, 5, n_blocks=2) for world in WORLDS[1:]),
            *(case("blocks", world, Tier.WORK, L=N_BLOCKS, S=64, B=4, D=64, F=64) for world in WORLDS[1:]),
        ]

    def inputs(self, case, draw):
        world, whole = case["world"], (case["S"], case["B"], case["D"])
        if case.op == "gather":
            return "gather", draw.tensor(*whole), draw.tensor(world, *whole)
        if case.op == "scatter":
            return "scatter", draw.tensor(world, *whole), draw.tensor(*whole)
        n_blocks, d, hidden = case["L"], case["D"], case["F"]
        shapes = {"w_up": (hidden, d), "b_up": (hidden,), "w_down": (d, hidden)}
        # Scaled so that values are of size 1 everywhere. The gain is near 1, as trained ones are.
        scales = {"w_up": d**-0.5, "w_down": hidden**-0.5}
        weights = {name: draw.tensor(n_blocks, *shapes.get(name, (d,))) * scales.get(name, 1) for name in WEIGHTS}
        weights["gain"] = 1 + weights["gain"] / 4
        return "blocks", draw.tensor(*whole), draw.tensor(*whole), *map(draw.place, weights.values())

    def shard(self, case, args, rank):
        op, x, grad, *weights = args
        world = case["world"]

        def part(tensor, axis=0):
            return tensor.chunk(world, axis)[rank].clone()

        if op == "gather":
            return op, part(x), grad[rank].clone()
        if op == "scatter":
            return op, x[rank].clone(), part(grad)
        return op, part(x), part(grad), *_split(weights, part)

    def argument_names(self, case):
        return ("op", "x", "grad", *(WEIGHTS if case.op == "blocks" else ()))

    def oracle(self, case, op, *args):
        values = _of_all_ranks(case, op, *(arg.double() for arg in args))
        return tuple(Expected(value, "float32", scale=value.abs() + _rms(value)) for value in values)

    def honest(self, case, op, *args, order=None):
        return _of_all_ranks(case, op, *args, order=order)

    def error_model(self, case):
        # Sums of n terms of either sign are off by some √n roundings of their typical size, a few times that at worst,
        # and a block has four of them in a row in each pass: over features, and in the backward pass over positions.
        if case.op != "blocks":
            return ErrorModel(roundings=2 * case["world"])
        longest = max(case["S"] * case["B"], case["D"], case["F"])
        return ErrorModel(roundings=8 * case["L"] * (4 + longest**0.5))

    def reduction_size(self, case):
        return case["F"] if case.op == "blocks" else case["world"]

    def budgets(self, case):
        world, n_blocks, d = case["world"], case["L"], case["D"]
        whole, hidden = (case["S"] * case["B"] * width * FLOAT for width in (d, case["F"] // world))
        ring = 2 * (world - 1) * n_blocks
        least, vectors = ring * whole // world, ring * len(SHARED) * d * FLOAT // world
        # What every block keeps; what one has beside it at work, in either pass; and the weights' gradients, twice,
        # since the driver puts those of all blocks together.
        kept = n_blocks * (whole + whole // world + 2 * hidden)
        at_work = 2 * whole + 2 * hidden + 4 * whole // world
        weights = 2 * n_blocks * (2 * d * case["F"] // world + case["F"] // world + len(SHARED) * d) * FLOAT
        return (
            Budget("ring_bytes", least, least, "2·(N−1)/N·S·B·D·4 a block: one all-gather, one reduce-scatter"),
            Budget(
                "ring_bytes_backward",
                least,
                least + vectors,
                "2·(N−1)/N·(S·B·D + 3·D)·4 a block: the same, and the gradients of gain, shift and b_down",
            ),
            Budget("collectives", 0, 2 * n_blocks, "two a block"),
            Budget("collectives_backward", 0, (2 + len(SHARED)) * n_blocks, "five a block, three of them short"),
            # Two products forward, and for each of them two more backward.
            Budget("dot_flops", 0, 6 * n_blocks * whole // FLOAT * 2 * case["F"] // world, "12·S·B·D·F/N a block"),
            Budget("largest_tensor_bytes", 0, max(whole, hidden), "S·B·D·4: what was gathered"),
            Budget(
                "peak_bytes",
                0,
                kept + at_work + weights,
                "a block keeps S·B·D gathered, S·B·D/N for norm and residual, 2·S·B·F/N; two more S·B·D at work",
            ),
        )


def _split(weights, part):
    """Stacks of weights, those that are split cut by `part(stack, axis)`."""
    return [
        part(weight, SPLIT[name]) if name in SPLIT else weight.clone()
        for name, weight in zip(WEIGHTS, weights, strict=True)
    ]


def _of_all_ranks(case, op, x, grad, *weights, order=None):
    """Outputs and gradients of all ranks, rank 0's first; sums over ranks or hidden features in the given order."""
    world = case["world"]
    ranks = range(world)
    if op != "blocks":
        terms = grad if op == "gather" else x
        parts = (terms if order is None else terms[order]).sum(0).chunk(world)
        pairs = [(x, parts[rank]) if op == "gather" else (parts[rank], grad) for rank in ranks]
        return tuple(output for pair in pairs for output in pair)
    order = torch.arange(case["F"]) if order is None else order
    weights = [
        weight.index_select(SPLIT[name], order) if name in SPLIT else weight
        for name, weight in zip(WEIGHTS, weights, strict=True)
    ]
    out, grad_x, *grads = _dense(x, grad, weights)
    grads = [
        gradient.index_select(SPLIT[name], order.argsort()) if name in SPLIT else gradient
        for name, gradient in zip(WEIGHTS, grads, strict=True)
    ]
    return tuple(
        output
        for rank in ranks
        for output in (
            out.chunk(world)[rank],
            grad_x.chunk(world)[rank],
            *_split(grads, lambda tensor, axis: tensor.chunk(world, axis)[rank]),  # noqa: B023  used at once
        )
    )


def _dense(x, grad, weights):
    """Output and gradients of the blocks on one rank."""
    x, *weights = (tensor.detach().requires_grad_() for tensor in (x, *weights))
    out = x
    for gain, shift, w_up, b_up, w_down, b_down in zip(*weights, strict=True):
        normed = layer_norm(out, out.shape[-1:], gain, shift)
        out = out + linear(gelu(linear(normed, w_up, b_up)), w_down) + b_down
    return out.detach(), *torch.autograd.grad(out, [x, *weights], grad)


def _rms(value):
    return value.square().mean().sqrt()


GRADER = SequenceParallel()
