# expect: PROVISIONAL
# expect-gpu: PASSED|PROVISIONAL|TOO_SLOW
# One Function a layer. Backward, the sum of x's gradient is under way while that of the weight is computed.
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.functional import gelu, linear, scaled_dot_product_attention


class Column(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight)
        return linear(x, weight, bias)

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        grad_x = grad @ weight
        work = dist.all_reduce(grad_x, async_op=True)
        grad_weight = grad.flatten(0, -2).t() @ x.flatten(0, -2)
        grad_bias = grad.flatten(0, -2).sum(0)
        work.wait()
        return grad_x, grad_weight, grad_bias


class Row(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight)
        # Once is on one rank: this is the forward pass alone.
        y = linear(x, weight, bias if dist.get_rank() == 0 else None)
        dist.all_reduce(y)
        return y

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        rows = grad.flatten(0, -2)
        return grad @ weight, rows.t() @ x.flatten(0, -2), rows.sum(0)


class ColumnParallelLinear(nn.Module):
    def __init__(self, weight, bias, n_blocks=1):
        super().__init__()
        rank, world = dist.get_rank(), dist.get_world_size()
        self.weight, self.bias = (
            nn.Parameter(dense.unflatten(0, (n_blocks, world, -1))[:, rank].flatten(0, 1).clone())
            for dense in (weight, bias)
        )

    def forward(self, x):
        return Column.apply(x, self.weight, self.bias)


class RowParallelLinear(nn.Module):
    def __init__(self, weight, bias):
        super().__init__()
        self.weight = nn.Parameter(weight.tensor_split(dist.get_world_size(), 1)[dist.get_rank()].clone())
        self.bias = nn.Parameter(bias.clone())

    def forward(self, x):
        return Row.apply(x, self.weight, self.bias)


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
