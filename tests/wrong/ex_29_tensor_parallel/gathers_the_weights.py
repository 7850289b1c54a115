# expect: TOO_MUCH_WORK
# Keeps shards, but computes with all of the weights: the dense layer on every rank, and more bytes for them than for
# y.
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.functional import gelu, linear, scaled_dot_product_attention


def gathered(part, axis):
    parts = [torch.empty_like(part) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, part.contiguous())
    return torch.cat(parts, axis)


class Whole(torch.autograd.Function):
    @staticmethod
    def forward(ctx, shard, axis, n_blocks):
        ctx.how = axis, n_blocks
        return gathered(shard.unflatten(axis, (n_blocks, -1)), axis + 1).flatten(axis, axis + 1)

    @staticmethod
    def backward(ctx, grad):
        axis, n_blocks = ctx.how
        parts = grad.unflatten(axis, (n_blocks, dist.get_world_size(), -1))
        return parts.select(axis + 1, dist.get_rank()).flatten(axis, axis + 1), None, None


class Part(torch.autograd.Function):
    @staticmethod
    def forward(ctx, y, n_blocks):
        ctx.n_blocks = n_blocks
        parts = y.unflatten(-1, (n_blocks, dist.get_world_size(), -1))
        return parts[..., dist.get_rank(), :].flatten(-2).clone()

    @staticmethod
    def backward(ctx, grad):
        return gathered(grad.unflatten(-1, (ctx.n_blocks, -1)), -1).flatten(-2), None


class ColumnParallelLinear(nn.Module):
    def __init__(self, weight, bias, n_blocks=1):
        super().__init__()
        rank, world, self.n_blocks = dist.get_rank(), dist.get_world_size(), n_blocks
        self.weight, self.bias = (
            nn.Parameter(dense.unflatten(0, (n_blocks, world, -1))[:, rank].flatten(0, 1).clone())
            for dense in (weight, bias)
        )

    def forward(self, x):
        weight, bias = (Whole.apply(shard, 0, self.n_blocks) for shard in (self.weight, self.bias))
        return Part.apply(linear(x, weight, bias), self.n_blocks)


class GatherInput(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return gathered(x, -1)

    @staticmethod
    def backward(ctx, grad):
        return grad.tensor_split(dist.get_world_size(), -1)[dist.get_rank()]


class RowParallelLinear(nn.Module):
    def __init__(self, weight, bias):
        super().__init__()
        self.weight = nn.Parameter(weight.tensor_split(dist.get_world_size(), 1)[dist.get_rank()].clone())
        self.bias = nn.Parameter(bias.clone())

    def forward(self, x):
        weight = Whole.apply(self.weight, 1, 1)
        return linear(GatherInput.apply(x), weight) + self.bias


class ParallelMLP(nn.Module):
    def __init__(self, up_weight, up_bias, down_weight, down_bias):
        super().__init__()
        self.up = ColumnParallelLinear(up_weight, up_bias)
        self.down = RowParallelLinear(down_weight, down_bias)

    def forward(self, x):
        return self.down(gelu(self.up(x)))


class ParallelAttention(nn.Module):
    def __init__(self, qkv_weight, qkv_bias, out_weight, out_bias, n_heads):
        super().__init__()
        self.qkv = ColumnParallelLinear(qkv_weight, qkv_bias, n_blocks=3)
        self.out = RowParallelLinear(out_weight, out_bias)
        self.n_heads = n_heads // dist.get_world_size()

    def forward(self, x):
        q, k, v = self.qkv(x).unflatten(-1, (3, self.n_heads, -1)).transpose(1, 3).unbind(2)
        heads = scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(heads.transpose(1, 2).flatten(2))
