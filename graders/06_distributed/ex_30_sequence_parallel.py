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
"""The axis of hidden features, in stacks of weights [L, …]."""
TERM = 1 / 4
"""A low guess at how large a term of a sum is."""
N_BLOCKS = 4
"""Of work cases: what every block keeps outweighs what one of them has at work."""


class SequenceParallel(GroupGrader):
    """The driver takes a case's `op` first. Weights are those of L blocks, one after the other."""

    function = "block"
    parameters = ("x", *WEIGHTS)
    # Of collectives, those that a program calls itself: the functional ones bring a backward pass along.
    allowed_ops = (
        HOST_OPS
        | ARITHMETIC
        | {name for name in COLLECTIVES if name.startswith("c10d.")}
        | {"c10d.barrier", "aten.native_layer_norm", "aten.native_layer_norm_backward"}
        | {"aten.gelu", "aten.gelu_backward", "aten.var_mean", "aten.var"}
        # What a norm and GELU are made of, in place.
        | {f"aten.{name}_" for name in ("erf", "neg", "pow", "reciprocal", "rsqrt", "sqrt", "square")}
        # What a device mesh is made with: what DTensor then does with it is told by its name.
        | {"Tensor.tolist", "aten.nonzero"}
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
                for op in ("gather", "scatter", "sum")
                for per_rank, b, d in ((1, 1, 5), (positions, 3, 8))
            ),
            *(block(world, *sizes) for world in WORLDS for sizes in ((1, 1, 12, 3), (positions, 3, 17, 6))),
            *(block(world, 2, 2, 16, 5, n_blocks=2) for world in WORLDS[1:]),
            *(case("blocks", world, Tier.WORK, L=N_BLOCKS, S=64, B=4, D=64, F=64) for world in WORLDS[1:]),
        ]

    def inputs(self, case, draw):
        world, whole = case["world"], (case["S"], case["B"], case["D"])
        if case.op in ("gather", "sum"):
            return case.op, draw.tensor(*whole), draw.tensor(world, *whole)
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
            return op, part(x), _strided(grad[rank])
        if op == "scatter":
            return op, x[rank].clone(), _strided(part(grad))
        if op == "sum":
            return op, x.clone(), _strided(grad[rank])
        return op, part(x), part(grad), *_split(weights, part)

    def argument_names(self, case):
        first, *weights = _differentiated(case)
        return ("op", first, "the output's gradient", *weights)

    def output_names(self, case):
        return ("the output", *(f"the gradient of {name}" for name in _differentiated(case)))

    def oracle(self, case, op, *args):
        values = _of_all_ranks(case, op, *(arg.double() for arg in args))
        if op != "blocks":
            scales = _of_all_ranks(case, op, *(arg.double().abs() for arg in args))
        else:
            # What is typical of an output; or of a sum's terms, since a few short sums may all cancel. A weight's
            # gradient has a term for each position.
            floor = TERM * (case["S"] * case["B"]) ** 0.5
            floors = [TERM, TERM, *(floor for _ in WEIGHTS)] * case["world"]
            scales = [value.abs() + _rms(value).clamp_min(least) for value, least in zip(values, floors, strict=True)]
        return tuple(Expected(value, "float32", scale=scale) for value, scale in zip(values, scales, strict=True))

    def honest(self, case, op, *args, order=None):
        return _of_all_ranks(case, op, *args, order=order)

    def error_model(self, case):
        if case.op != "blocks":
            # N−1 additions, on partial sums no larger than Σ|terms|.
            return ErrorModel(roundings=case["world"])
        # Sums of n terms of either sign are off by √n roundings of a term's size, at worst by a few times that. A block
        # has four of them in a row, over features, in the end over positions, and the norm may enlarge what goes in.
        longest = max(case["S"] * case["B"], case["D"], case["F"])
        return ErrorModel(roundings=64 * case["L"] * (4 + longest**0.5))

    def reduction_size(self, case):
        # Parts of a sum, one a rank.
        return case["world"]

    def budgets(self, case):
        world, n_blocks, d = case["world"], case["L"], case["D"]
        whole, hidden = (case["S"] * case["B"] * width * FLOAT for width in (d, case["F"] // world))
        ring = 2 * (world - 1) * n_blocks
        least, vectors = ring * whole // world, ring * len(SHARED) * d * FLOAT // world
        # What every block keeps, and what one has beside it at work, in either pass. Gradients of weights are small
        # here, and come when activations are gone.
        kept = n_blocks * (whole + whole // world + 2 * hidden)
        at_work = 2 * (whole + whole // world + hidden)
        return (
            # Who gathers x and all weights sends less, but computes N times as much, and is to be told that.
            Budget("ring_bytes", least // 2, least, "2·(N−1)/N·S·B·D·4 a block: one all-gather, one reduce-scatter"),
            Budget(
                "ring_bytes_backward",
                least // 2,
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
                kept + at_work,
                "for each block S·B·(D + D/N + 2·F/N)·4; at work two more of each size, 2·S·B·(D + D/N + F/N)·4",
            ),
        )


def _differentiated(case):
    """What has a gradient, by name."""
    return {"blocks": ("x", *WEIGHTS), "sum": ("weight",)}.get(case.op, ("x",))


def _strided(tensor):
    """The same values, not contiguous: as they come out of a transposed product."""
    return tensor.mT.clone(memory_format=torch.contiguous_format).mT


def _split(weights, part):
    """Stacks of weights, those that are split cut by `part(stack, axis)`."""
    return [
        part(weight, SPLIT[name]) if name in SPLIT else weight.clone()
        for name, weight in zip(WEIGHTS, weights, strict=True)
    ]


def _of_all_ranks(case, op, x, grad, *weights, order=None):
    """Outputs and gradients of all ranks, rank 0's first; sums over ranks in the given order, or those of some."""
    world = case["world"]
    every = list(range(world))
    order = every if order is None else order.tolist()
    if op == "sum":
        return (x, grad[order].sum(0)) * world
    if op != "blocks":
        parts = (grad if op == "gather" else x)[order].sum(0).chunk(world)
        pairs = [(x, part) if op == "gather" else (part, grad) for part in parts]
        return tuple(output for pair in pairs for output in pair)
    out, grad_x, *grads = _dense(world, x, grad, weights, order)
    if len(order) < world:
        # Shared weights' sums are over positions. One rank's part of it is what all features make of its positions.
        grads = _dense(world, x, grad, weights, every)[2:]
    grads = [part[order].sum(0) if name in SHARED else part for name, part in zip(WEIGHTS, grads, strict=True)]
    return tuple(
        output
        for rank in every
        for output in (
            out.chunk(world)[rank],
            grad_x.chunk(world)[rank],
            *_split(grads, lambda tensor, axis: tensor.chunk(world, axis)[rank]),  # noqa: B023  used at once
        )
    )


def _dense(world, x, grad, weights, order):
    """Output and gradients of the blocks; those of shared weights [world, …], apart for each rank's positions."""
    x = x.detach().requires_grad_()
    leaves = [
        (weight.expand(world, *weight.shape) if name in SHARED else weight).clone().requires_grad_()
        for name, weight in zip(WEIGHTS, weights, strict=True)
    ]
    out = x
    # Axes: block, and of shared weights rank, position, batch.
    stacks = [
        leaf[:, :, None, None].unbind(1) if name in SHARED else leaf for name, leaf in zip(WEIGHTS, leaves, strict=True)
    ]
    for gain, shift, w_up, b_up, w_down, b_down in zip(*stacks, strict=True):
        normed = layer_norm(out, out.shape[-1:]).unflatten(0, (world, -1)) * gain + shift
        hidden = gelu(linear(normed.flatten(0, 1), w_up, b_up)).chunk(world, -1)
        terms = [linear(hidden[rank], w_down.chunk(world, -1)[rank]) for rank in order]
        out = out + sum(terms) + b_down.expand_as(normed).flatten(0, 1)
    return out.detach(), *torch.autograd.grad(out, [x, *leaves], grad)


def _rms(value):
    return value.square().mean().sqrt()


GRADER = SequenceParallel()
