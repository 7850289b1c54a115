# expect: MUTATED_INPUT
# A gradient that is contiguous is summed in place: autograd may have given the same tensor to others.
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
        total = grad.contiguous()
        dist.all_reduce(total)
        return total


def block(x, gain, shift, w_up, b_up, w_down, b_down):
    gain, shift, b_down = (SumGradient.apply(weight) for weight in (gain, shift, b_down))
    normed = layer_norm(x, x.shape[-1:], gain, shift)
    hidden = gelu(linear(GatherSequence.apply(normed), w_up, b_up))
    return x + ScatterSequence.apply(linear(hidden, w_down)) + b_down
