"""Grades ex_29 tensor parallel."""

import torch
from torch.nn.functional import gelu, linear

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
    Traffic,
)

WORLDS = (1, 2, 4)
FLOAT = ITEMSIZE["float32"]
PARAMETERS = {
    "column": ("weight", "bias"),
    "row": ("weight", "bias"),
    "mlp": ("up.weight", "up.bias", "down.weight", "down.bias"),
    "attention": ("qkv.weight", "qkv.bias", "out.weight", "out.bias"),
}


class TensorParallel(GroupGrader):
    """The driver takes a case's `op` first. Gradients are outputs, as y is."""

    function = "ColumnParallelLinear"
    parameters = ("weight", "bias", "n_blocks")
    # What is between two linear layers is not what this exercise is about.
    allowed_ops = (
        HOST_OPS
        | ARITHMETIC
        | COLLECTIVES
        | {
            f"aten.{name}"
            for name in ("gelu", "gelu_backward", "_softmax", "_safe_softmax", "_softmax_backward_data", "erf")
        }
        | {
            f"aten._scaled_dot_product_{kind}{way}"
            for kind in ("flash_attention_for_cpu", "flash_attention", "efficient_attention", "cudnn_attention")
            for way in ("", "_backward")
        }
        # What a device mesh is made with: a DTensor that comes of it is told by its name.
        | {"Tensor.tolist", "aten.nonzero"}
    )
    baseline = "the dense MLP on one GPU"
    baseline_key = "one_gpu"

    def cases(self, rng):
        def linear(op, world, tokens, d_in, d_out, **rest):
            return Case({"op": op, "world": world, "tokens": tokens, "in": d_in, "out": d_out, **rest})

        def mlp(world, tokens, d, hidden, *how):
            return Case({"op": "mlp", "world": world, "tokens": tokens, "d": d, "hidden": hidden}, *how)

        def attention(world, batch, seq, heads, head_dim, *how):
            shape = {"batch": batch, "seq": seq, "heads": heads, "head_dim": head_dim}
            return Case({"op": "attention", "world": world, **shape}, *how)

        jittered = 4 * rng.randrange(20, 40)
        work = (Tier.WORK, ("cpu",))
        large = {"tokens": 8192, "d": 8192, "hidden": 28672, "dtype": "bfloat16"}
        return [
            *(linear("column", world, 3, 33, 124) for world in WORLDS),
            *(linear("column", world, 5, 7, 72, n_blocks=3) for world in WORLDS),
            *(linear("row", world, 3, 124, 33) for world in WORLDS),
            *(mlp(world, tokens, 33, hidden) for world in WORLDS for tokens, hidden in ((1, 32), (31, jittered))),
            *(attention(world, *shape) for world in WORLDS for shape in ((1, 2, 4, 8), (2, 33, 8, 5))),
            *(mlp(world, 64, 32, 512, *work) for world in (2, 4)),
            *(attention(world, 8, 32, 8, 4, *work) for world in (2, 4)),
            *(
                Case({"op": name, "world": world, **large}, Tier.SPEED, ("cuda",))
                for name, world in (("two_gpus", 2), ("four_gpus", 4))
            ),
        ]

    def inputs(self, case, draw):
        def weight(d_out, d_in):
            # What comes out is as large as what went in.
            return draw.place(draw.tensor(d_out, d_in) * d_in**-0.5), draw.tensor(d_out)

        if case["op"] == "mlp":
            d, hidden = case["d"], case["hidden"]
            x, grad = draw.tensor(case["tokens"], d), draw.tensor(case["tokens"], d)
            return x, grad, *weight(hidden, d), *weight(d, hidden)
        if case["op"] == "attention":
            d, shape = case["heads"] * case["head_dim"], (case["batch"], case["seq"])
            return draw.tensor(*shape, d), draw.tensor(*shape, d), *weight(3 * d, d), *weight(d, d), case["heads"]
        d_in, d_out = case["in"], case["out"]
        n_blocks = () if _n_blocks(case) == 1 else (_n_blocks(case),)
        return draw.tensor(case["tokens"], d_in), draw.tensor(case["tokens"], d_out), *weight(d_out, d_in), *n_blocks

    def shard(self, case, args, rank):
        x, grad, *dense = args
        if case["op"] == "row":
            x = _cut(x, 1, case["world"])[rank]
        if case["op"] == "column":
            grad = _cut(grad, 1, case["world"], _n_blocks(case))[rank]
        return case["op"], *(arg.clone() if torch.is_tensor(arg) else arg for arg in (x, grad, *dense))

    def argument_names(self, case):
        return ("op", "x", "y's gradient", *PARAMETERS[case["op"]], "n_heads or n_blocks")

    def output_names(self, case):
        return ("y", *(f"the gradient of {name}" for name in ("x", *PARAMETERS[case["op"]])))

    def oracle(self, case, *args):
        exact = _ranks_outputs(case, *(arg.double() if torch.is_tensor(arg) else arg for arg in args))
        # By the dense layer's largest element: what is lost on the way to a small one is a share of what cancelled.
        n_outputs = len(self.output_names(case))
        largest = [max(value.abs().max() for value in exact[place::n_outputs]) for place in range(n_outputs)]
        scales = largest * case["world"]
        return tuple(
            Expected(value, "float32", scale=scale.expand(value.shape))
            for value, scale in zip(exact, scales, strict=True)
        )

    def honest(self, case, *args, order=None):
        return _ranks_outputs(case, *args, order=order)

    def error_model(self, case):
        # Up to seven products and a softmax lie between x and a gradient, each with errors that add up like a random
        # walk; the worst of a few thousand elements is some ten roundings off.
        return ErrorModel(roundings=48)

    def reduction_size(self, case):
        # Sums over features, and their parts in another order.
        return case["world"]

    def rank_budgets(self, case, rank):
        world = case["world"]
        if case["op"] == "mlp":
            whole = case["tokens"] * case["d"]
            # A product of [a, b] and [b, c] is 2·a·b·c operations, and there are three of each size: y, dx and dW.
            flops = 12 * whole * case["hidden"] // world
            largest, which = case["tokens"] * case["hidden"] // world, "tokens·hidden/N"
        else:
            d = case["heads"] * case["head_dim"]
            whole = case["batch"] * case["seq"] * d
            # q, k, v and the output projection; scores and what is weighted with them, where these are written out.
            flops = (24 * whole * d + 12 * whole * case["seq"]) // world
            largest, which = case["batch"] * case["heads"] // world * case["seq"] ** 2, "batch·heads/N·seq²"
        ring = 2 * (whole * FLOAT * (world - 1) // world)
        return (
            Budget("collectives", 1, 1, "one all-reduce, of y's partial sums"),
            Budget("collectives_backward", 1, 1, "one all-reduce, of x's gradient"),
            Budget("ring_bytes", 0, ring, "2·(N−1)/N·S, S = the bytes of y"),
            Budget("ring_bytes_backward", 0, ring, "2·(N−1)/N·S, S = the bytes of x"),
            Budget("dot_flops", 0, flops, "1/N of the dense layer's operations, forward and backward"),
            Budget("largest_tensor_bytes", 0, largest * FLOAT, f"{which}·4: 1/N of the dense layer's largest"),
        )

    def budgets(self, case):
        return self.rank_budgets(case, 0)

    def baseline_ranks(self, case):
        return 1

    def traffic(self, case):
        tokens, d, hidden, world = (case[name] for name in ("tokens", "d", "hidden", "world"))
        n_values = 2 * (tokens * d + d * hidden // world + tokens * hidden // world)
        return Traffic(ITEMSIZE[case["dtype"]] * n_values, 4 * tokens * d * hidden // world, case["dtype"])


def _n_blocks(case):
    return 3 if case["op"] == "attention" else case.get("n_blocks", 1)


def _cut(whole, axis, world, n_blocks=1):
    """The ranks' parts along an axis: of each block, one below the other."""
    parts = whole.unflatten(axis, (n_blocks, world, -1))
    return [parts.select(axis + 1, rank).flatten(axis, axis + 1) for rank in range(world)]


def _joined(parts, axis, n_blocks=1):
    """What was cut."""
    return torch.cat([part.unflatten(axis, (n_blocks, -1)) for part in parts], axis + 1).flatten(axis, axis + 1)


def _leaves(parts):
    return [part.clone().requires_grad_() for part in parts]


def _ranks_outputs(case, x, grad, *dense, order=None):
    """What all ranks return, computed by a dense layer whose parts are the ranks', in some order, or those of some."""
    op, world, n_blocks = case["op"], case["world"], _n_blocks(case)
    ranks = range(world) if order is None else order.tolist()

    def taken(parts):
        return [parts[rank] for rank in ranks]

    xs = _leaves(_cut(x, 1, world) if op == "row" else [x]) * (1 if op == "row" else world)
    y = _joined(taken(xs), 1) if op == "row" else xs[0]
    leaves = [xs]
    if op != "row":
        leaves += [_leaves(_cut(whole, 0, world, n_blocks)) for whole in dense[:2]]
        y = linear(y, *(_joined(taken(parts), 0, n_blocks) for parts in leaves[-2:]))
    if op == "mlp":
        y = gelu(y)
    if op == "attention":
        y = _attention(y, case["heads"])
    ys = [y] * world
    if op == "column":
        for rank, part in zip(ranks, _cut(y, 1, len(ranks), n_blocks), strict=True):
            ys[rank] = part
        grad = _joined(taken(_cut(grad, 1, world, n_blocks)), 1, n_blocks)
    else:
        weight, bias = dense[:2] if op == "row" else dense[2:4]
        leaves += [_leaves(_cut(weight, 1, world)), _leaves([bias]) * world]
        y = linear(y, _joined(taken(leaves[-2]), 1), leaves[-1][0])
        ys = [y] * world
    y.backward(grad)
    return tuple(out for rank in range(world) for out in (ys[rank].detach(), *(parts[rank].grad for parts in leaves)))


def _attention(qkv, n_heads):
    """Causal, of [batch, seq, 3·d]."""
    q, k, v = qkv.unflatten(-1, (3, n_heads, -1)).transpose(1, 3).unbind(2)
    scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
    hidden = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    return (scores.masked_fill(hidden, float("-inf")).softmax(-1) @ v).transpose(1, 2).flatten(2)


GRADER = TensorParallel()
