# expect: PROVISIONAL
# expect-gpu: PASSED|PROVISIONAL|TOO_SLOW
# No autograd.Function: a hook on x sums its gradient, and y is summed behind autograd's back. Attention is written out.
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.functional import gelu, linear


def summed(tensor):
    dist.all_reduce(tensor)
    return tensor


class ColumnParallelLinear(nn.Module):
    def __init__(self, weight, bias, n_blocks=1):
        super().__init__()
        rank, world = dist.get_rank(), dist.get_world_size()
        n_rows = weight.shape[0] // n_blocks // world
        first = [(block * world + rank) * n_rows for block in range(n_blocks)]
        self.weight, self.bias = (
            nn.Parameter(torch.cat([dense[row : row + n_rows] for row in first])) for dense in (weight, bias)
        )

    def forward(self, x):
        if x.requires_grad:
            x = x.view_as(x)
            x.register_hook(summed)
        return linear(x, self.weight, self.bias)


class RowParallelLinear(nn.Module):
    def __init__(self, weight, bias):
        super().__init__()
        self.weight = nn.Parameter(weight.tensor_split(dist.get_world_size(), 1)[dist.get_rank()].clone())
        self.bias = nn.Parameter(bias.clone())

    def forward(self, x):
        y = linear(x, self.weight)
        summed(y.detach())
        return y + self.bias


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
        batch, seq, _ = x.shape
        parts = self.qkv(x).chunk(3, -1)
        q, k, v = (part.view(batch, seq, self.n_heads, -1).transpose(1, 2) for part in parts)
        scores = q @ k.mT / q.shape[-1] ** 0.5
        later = torch.ones(seq, seq, dtype=torch.bool, device=x.device).triu(1)
        weights = scores.masked_fill(later, float("-inf")).softmax(-1)
        return self.out((weights @ v).transpose(1, 2).reshape(batch, seq, -1))
