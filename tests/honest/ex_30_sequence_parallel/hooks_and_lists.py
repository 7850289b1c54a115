# expect: PASSED
# Collectives that take lists, whose entries are parts of one tensor, and hooks on the shared weights.
import torch
import torch.distributed as dist
from torch.nn.functional import gelu, layer_norm


def gathered(x):
    whole = torch.empty(dist.get_world_size(), *x.shape, dtype=x.dtype, device=x.device)
    dist.all_gather(list(whole.unbind()), x.contiguous())
    return whole.flatten(0, 1)


def scattered(x):
    parts = [part.contiguous() for part in x.chunk(dist.get_world_size())]
    own = torch.empty_like(parts[0])
    dist.reduce_scatter(own, parts)
    return own


class GatherSequence(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return gathered(x)

    @staticmethod
    def backward(ctx, grad):
        return scattered(grad)


class ScatterSequence(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return scattered(x)

    @staticmethod
    def backward(ctx, grad):
        return gathered(grad)


def summed(grad):
    total = grad.clone()
    dist.all_reduce(total)
    return total


def block(x, gain, shift, w_up, b_up, w_down, b_down):
    for weight in (gain, shift, b_down):
        weight.register_hook(summed)
    normed = GatherSequence.apply(layer_norm(x, x.shape[-1:], gain, shift))
    hidden = gelu(normed @ w_up.t() + b_up)
    return x + (ScatterSequence.apply(hidden @ w_down.t()) + b_down)
