# expect: TOO_MUCH_WORK
# Gathers positions and weights, computes the dense block N times over, and keeps its positions.
import torch
import torch.distributed as dist
from torch.nn.functional import gelu, layer_norm, linear


def all_gathered(x):
    x = x.contiguous()
    whole = x.new_empty(x.shape[0] * dist.get_world_size(), *x.shape[1:])
    dist.all_gather_into_tensor(whole, x)
    return whole


def reduce_scattered(x):
    x = x.contiguous()
    part = x.new_empty(x.shape[0] // dist.get_world_size(), *x.shape[1:])
    dist.reduce_scatter_tensor(part, x)
    return part


class GatherSequence(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return all_gathered(x)

    @staticmethod
    def backward(ctx, grad):
        return reduce_scattered(grad)


class ScatterSequence(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return reduce_scattered(x)

    @staticmethod
    def backward(ctx, grad):
        return all_gathered(grad)


class SumGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, weight):
        return weight.view_as(weight)

    @staticmethod
    def backward(ctx, grad):
        total = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total


class Whole(torch.autograd.Function):
    """All parts of a weight along an axis; its gradient is whole on every rank, and cut."""

    @staticmethod
    def forward(ctx, part, axis):
        ctx.axis = axis
        return all_gathered(part.movedim(axis, 0)).movedim(0, axis)

    @staticmethod
    def backward(ctx, grad):
        return grad.chunk(dist.get_world_size(), ctx.axis)[dist.get_rank()], None


class Own(torch.autograd.Function):
    """This rank's positions; backward, those of all."""

    @staticmethod
    def forward(ctx, x):
        return x.chunk(dist.get_world_size())[dist.get_rank()].clone()

    @staticmethod
    def backward(ctx, grad):
        return all_gathered(grad)


def block(x, gain, shift, w_up, b_up, w_down, b_down):
    x, w_up, b_up, w_down = (Whole.apply(*pair) for pair in ((x, 0), (w_up, 0), (b_up, 0), (w_down, 1)))
    normed = layer_norm(x, x.shape[-1:], gain, shift)
    return Own.apply(x + linear(gelu(linear(normed, w_up, b_up)), w_down, b_down))
