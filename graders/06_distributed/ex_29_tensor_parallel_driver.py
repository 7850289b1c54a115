"""Makes a layer of ex_29 from dense weights, and runs it forward and backward."""

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import gelu, linear

LAYERS = {
    "column": "ColumnParallelLinear",
    "row": "RowParallelLinear",
    "mlp": "ParallelMLP",
    "attention": "ParallelAttention",
}
LINEARS = {"column": ("",), "row": ("",), "mlp": ("up", "down"), "attention": ("qkv", "out")}


@dataclass
class Timed:
    """What the calls of a timed case share: making shards is no part of their time."""

    x: torch.Tensor
    dense: tuple[torch.Tensor, ...]
    layer: Any = None


def drive(module, op, *args):
    """One call.

    Args:
        module: the learner's.
        op: a key of LAYERS; anything else is a timed case.
        args: x and y's gradient as this rank has them, then the dense weights and what else the layer is made of; of a
            timed case, a Timed.

    Returns:
        y, x's gradient, and those of each linear layer's weight and bias; of a timed case, y alone.
    """
    if op not in LAYERS:
        return _timed(module, *args)
    x, grad, *dense = args
    layer = getattr(module, LAYERS[op])(*dense)
    parameters = [_parameter(layer, linear, name) for linear in LINEARS[op] for name in ("weight", "bias")]
    x = x.detach().requires_grad_()
    y = layer(x)
    if y.shape != grad.shape:
        raise ValueError(f"{LAYERS[op]} returned {list(y.shape)}, it must be {list(grad.shape)}")
    y.backward(grad)
    return y.detach(), x.grad, *(_grad(name, parameter) for name, parameter in parameters)


def _parameter(layer, linear, name):
    """A linear layer's parameter, and what to call it."""
    path = f"{linear}.{name}" if linear else name
    parameter = layer.get_parameter(path)
    if parameter.untyped_storage().nbytes() > parameter.nbytes:
        raise ValueError(f"{path} is a view, which keeps the dense layer's {name} in memory: copy the shard")
    return path, parameter


def _grad(name, parameter):
    if parameter.grad is None:
        raise ValueError(f"{name} got no gradient: y doesn't depend on it")
    return parameter.grad


def _timed(module, timed):
    if timed.layer is None:
        timed.layer = module.ParallelMLP(*timed.dense)
        timed.dense = ()
    with torch.no_grad():
        return timed.layer(timed.x)


def timed_args(params, _rank, _world, seed):
    """A timed case's x and dense weights, the same on each card."""
    generator = torch.Generator("cuda").manual_seed(seed)
    dtype, d, hidden = getattr(torch, params["dtype"]), params["d"], params["hidden"]

    def drawn(*shape):
        return torch.randn(shape, generator=generator, device="cuda", dtype=dtype)

    dense = (drawn(hidden, d) * d**-0.5, drawn(hidden), drawn(d, hidden) * hidden**-0.5, drawn(d))
    return params["op"], Timed(drawn(params["tokens"], d), dense)


def baseline(_op, timed):
    """The dense layer, on one card."""
    up_weight, up_bias, down_weight, down_bias = timed.dense
    with torch.no_grad():
        return linear(gelu(linear(timed.x, up_weight, up_bias)), down_weight, down_bias)
