# expect: PASSED
# The three shared weights as rows of one, so that their gradients take one short all-reduce; RowParallel and
# ColumnParallel as layers that call the pair themselves, and a world of one that sends nothing.
import torch
import torch.distributed as dist
from torch.nn.functional import gelu, layer_norm, linear


def is_alone():
    return dist.get_world_size() == 1


class GatherSequence(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        if is_alone():
            return x.view_as(x)
        out = torch.empty((dist.get_world_size() * x.size(0), *x.shape[1:]), dtype=x.dtype, device=x.device)
        dist.all_gather_into_tensor(out, x.contiguous())
        return out

    @staticmethod
    def backward(ctx, grad):
        return ScatterSequence.forward(ctx, grad)


class ScatterSequence(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        if is_alone():
            return x.view_as(x)
        out = torch.empty((x.size(0) // dist.get_world_size(), *x.shape[1:]), dtype=x.dtype, device=x.device)
        dist.reduce_scatter_tensor(out, x.contiguous())
        return out

    @staticmethod
    def backward(ctx, grad):
        return GatherSequence.forward(ctx, grad)


class SumGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, weight):
        return weight.view_as(weight)

    @staticmethod
    def backward(ctx, grad):
        if is_alone():
            return grad
        total = grad.contiguous().clone()
        dist.all_reduce(total)
        return total


def column_parallel(x, weight, bias):
    return linear(GatherSequence.apply(x), weight, bias)


def row_parallel(x, weight, bias):
    return ScatterSequence.apply(linear(x, weight)) + bias


def block(x, gain, shift, w_up, b_up, w_down, b_down):
    gain, shift, b_down = SumGradient.apply(torch.stack((gain, shift, b_down))).unbind()
    return x + row_parallel(gelu(column_parallel(layer_norm(x, x.shape[-1:], gain, shift), w_up, b_up)), w_down, b_down)
