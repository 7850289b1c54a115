# expect: MUTATED_INPUT
# Adds up y's gradient in place, and never divides: it is the caller's, and every rank has all of it already.
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.functional import gelu, linear, scaled_dot_product_attention


class Spread(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x

    @staticmethod
    def backward(ctx, grad):
        dist.all_reduce(grad)
        return grad


class Summed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, part):
        ctx.mark_dirty(part)
        dist.all_reduce(part)
        return part

    @staticmethod
    def backward(ctx, grad):
        dist.all_reduce(grad)
        return grad


class ColumnParallelLinear(nn.Module):
    def __init__(self, weight, bias, n_blocks=1):
        super().__init__()
        rank, world = dist.get_rank(), dist.get_world_size()
        self.weight, self.bias = (
            nn.Parameter(dense.unflatten(0, (n_blocks, world, -1))[:, rank].flatten(0, 1).clone())
            for dense in (weight, bias)
        )

    def forward(self, x):
        return linear(Spread.apply(x), self.weight, self.bias)


class RowParallelLinear(nn.Module):
    def __init__(self, weight, bias):
        super().__init__()
        self.weight = nn.Parameter(weight.tensor_split(dist.get_world_size(), 1)[dist.get_rank()].clone())
        self.bias = nn.Parameter(bias.clone())

    def forward(self, x):
        return Summed.apply(linear(x, self.weight)) + self.bias


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
