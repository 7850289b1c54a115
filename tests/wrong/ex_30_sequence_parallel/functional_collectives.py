# expect: BANNED_CALL
# The library's own pair, which knows its backward pass.
import torch
import torch.distributed as dist
import torch.distributed._functional_collectives as functional
from torch.nn.functional import gelu, layer_norm, linear


class GatherSequence:
    @staticmethod
    def apply(x):
        return functional.all_gather_tensor_autograd(x.contiguous(), 0, dist.group.WORLD)


class ScatterSequence:
    @staticmethod
    def apply(x):
        return functional.reduce_scatter_tensor_autograd(x.contiguous(), "sum", 0, dist.group.WORLD)


class SumGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, weight):
        return weight.view_as(weight)

    @staticmethod
    def backward(ctx, grad):
        total = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total


def block(x, gain, shift, w_up, b_up, w_down, b_down):
    gain, shift, b_down = (SumGradient.apply(weight) for weight in (gain, shift, b_down))
    normed = layer_norm(x, x.shape[-1:], gain, shift)
    hidden = gelu(linear(GatherSequence.apply(normed), w_up, b_up))
    return x + ScatterSequence.apply(linear(hidden, w_down)) + b_down
