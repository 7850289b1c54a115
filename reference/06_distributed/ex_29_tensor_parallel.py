"""ex_29 Tensor-parallel layers: one layer, cut up among several GPUs, that computes what the whole one would.

Task: write two linear layers, each with a part of the weights on every rank, and put an MLP and an attention block
together from them. All ranks get the same x and return the same y. Results and gradients are the dense layer's.

    ColumnParallelLinear   this rank's features of the output, from all of x    up projection, q, k and v
    RowParallelLinear      all of the output, from this rank's features of x    down projection, output projection

Signature
    ColumnParallelLinear(weight, bias, n_blocks=1)      forward: x [..., in] -> [..., out/N]
    RowParallelLinear(weight, bias)                     forward: x [..., in/N] -> [..., out]
    ParallelMLP(up_weight [hidden, d], up_bias [hidden], down_weight [d, hidden], down_bias [d])
        forward: x [tokens, d] -> [tokens, d]           down(gelu(up(x))), with the exact (erf) GELU
    ParallelAttention(qkv_weight [3·d, d], qkv_bias [3·d], out_weight [d, d], out_bias [d], n_heads)
        forward: x [batch, seq, d] -> [batch, seq, d]   causal; the rows of qkv_weight are q's, then k's, then v's
    Each is a torch.nn.Module, made of the dense layer's weights, which all ranks have: weight [out, in], bias [out].
    Of these it keeps its shard, and no more: the parameters `weight` and `bias` of the linear layers `up` and `down`,
    `qkv` and `out`. N divides all sizes that are cut; rank r holds part r, in the dense layer's order. The bias of a
    row-parallel layer is not cut. The group is `dist.group.WORLD`.

The idea: cut the first matrix by its outputs and the second one by its inputs, and what lies between needs no
communication: GELU sees each hidden feature by itself, attention each head. (Papers write y = x·A and cut A's columns,
then rows. torch keeps Aᵀ, so here it is the other way round.) Each rank ends with a partial sum of y; one all-reduce
adds them up. Backward it is the same in reverse. Of y's gradient every rank has all. Of x's it finds only what came
through its own features; another all-reduce. So there are two conjugate operations: f, identity forward and all-reduce
backward, where x comes in; g, all-reduce forward and identity backward, where y goes out.

The bound: a rank computes 1/N of the layer and sends 2(N−1)/N·S bytes, S those of y, in either direction. For the MLP
that is 4·tokens·d·hidden/N operations: the wider the hidden layer, the less the all-reduce weighs.

How it is graded: on 1, 2 and 4 ranks: y and the gradients of x and of each rank's parameters, on every rank; one
all-reduce forward and one backward in a block (in a single linear layer only one of the two), counted, and no tensor as
large as the dense layer's. With several GPUs, the MLP forward, 8192 → 28672 → 8192 on 8192 tokens in bfloat16, against
the dense layer on one of them. DTensor is not allowed.

Read: M. Shoeybi et al., "Megatron-LM" (arXiv 1909.08053), section 3; PyTorch notes "Extending PyTorch".
"""

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.functional import gelu, linear, scaled_dot_product_attention

# BEGIN PROMPT
# # TODO 1: write f and g as two subclasses of torch.autograd.Function. dist.all_reduce adds in place.
# END PROMPT


# BEGIN SOLUTION
class _Spread(torch.autograd.Function):
    """f: all ranks use x, so its gradient is the sum of what each of them finds."""

    @staticmethod
    def forward(_ctx, x):
        return x

    @staticmethod
    def backward(_ctx, grad):
        # Nobody else's: the product that x went into has just made it.
        dist.all_reduce(grad)
        return grad


class _Summed(torch.autograd.Function):
    """g: y is the sum of the ranks' parts, so each part's gradient is y's."""

    @staticmethod
    def forward(ctx, part):
        ctx.mark_dirty(part)
        dist.all_reduce(part)
        return part

    @staticmethod
    def backward(_ctx, grad):
        return grad


class _Share(torch.autograd.Function):
    """A bias that the sum over ranks adds once: an N-th on each, but the gradient is y's, which all of them have."""

    @staticmethod
    def forward(_ctx, bias):
        return bias / dist.get_world_size()

    @staticmethod
    def backward(_ctx, grad):
        return grad


# END SOLUTION
class ColumnParallelLinear(nn.Module):
    """This rank's out/N features of y = x·Wᵀ + b.

    Args:
        weight: [out, in], the dense layer's; read, and not kept.
        bias: [out], the same.
        n_blocks: how many layers of equal size the rows of `weight` are, one below the other. Of each of them this rank
            has its part; the parts lie one below the other again.

    Traffic: forward none; backward one all-reduce of x's gradient.

    Source: Megatron-LM, section 3 (see above).
    """

    def __init__(self, weight, bias, n_blocks=1):
        super().__init__()
        # BEGIN PROMPT
        # # TODO 2: self.weight [out/N, in] and self.bias [out/N], each an nn.Parameter with memory of its own: a view
        # #         would keep the dense weight alive. Of every block, which rows are rank r's?
        # raise NotImplementedError("ex_29: ColumnParallelLinear")
        # END PROMPT
        # BEGIN SOLUTION
        rank, world = dist.get_rank(), dist.get_world_size()
        self.weight, self.bias = (
            nn.Parameter(dense.unflatten(0, (n_blocks, world, -1))[:, rank].flatten(0, 1).clone())
            for dense in (weight, bias)
        )
        # END SOLUTION

    def forward(self, x):
        """x [..., in], the same on all ranks -> [..., out/N]."""
        # BEGIN PROMPT
        # # TODO 3: which of f and g belongs here, and on which side of the product?
        # raise NotImplementedError("ex_29: ColumnParallelLinear.forward")
        # END PROMPT
        # BEGIN SOLUTION
        return linear(_Spread.apply(x), self.weight, self.bias)
        # END SOLUTION


class RowParallelLinear(nn.Module):
    """All of y = x·Wᵀ + b, where each rank has in/N features of x.

    Args:
        weight: [out, in], the dense layer's; read, and not kept.
        bias: [out], of which every rank keeps all.

    Traffic: forward one all-reduce of y; backward none.

    Source: Megatron-LM, section 3 (see above).
    """

    def __init__(self, weight, bias):
        super().__init__()
        # BEGIN PROMPT
        # # TODO 4: self.weight [out, in/N] and self.bias [out].
        # raise NotImplementedError("ex_29: RowParallelLinear")
        # END PROMPT
        # BEGIN SOLUTION
        self.weight = nn.Parameter(weight.tensor_split(dist.get_world_size(), 1)[dist.get_rank()].clone())
        self.bias = nn.Parameter(bias.clone())
        # END SOLUTION

    def forward(self, x):
        """x [..., in/N], this rank's features -> [..., out], the same on all ranks."""
        # BEGIN PROMPT
        # # TODO 5: the bias is to be added once, and its gradient must come out whole on every rank.
        # raise NotImplementedError("ex_29: RowParallelLinear.forward")
        # END PROMPT
        # BEGIN SOLUTION
        # With the product, a bias costs nothing. Added to y afterwards, it would be one more pass over y, as long on N
        # ranks as on one.
        return _Summed.apply(linear(x, self.weight, _Share.apply(self.bias)))
        # END SOLUTION


class ParallelMLP(nn.Module):
    """down(gelu(up(x))), the hidden features cut up. Traffic: one all-reduce forward, one backward."""

    def __init__(self, up_weight, up_bias, down_weight, down_bias):
        super().__init__()
        # BEGIN PROMPT
        # # TODO 6: self.up, self.down, and what comes between.
        # raise NotImplementedError("ex_29: ParallelMLP")
        # END PROMPT
        # BEGIN SOLUTION
        self.up = ColumnParallelLinear(up_weight, up_bias)
        self.down = RowParallelLinear(down_weight, down_bias)
        # END SOLUTION

    def forward(self, x):
        """x [tokens, d] -> [tokens, d], the same on all ranks."""
        # BEGIN PROMPT
        # raise NotImplementedError("ex_29: ParallelMLP.forward")
        # END PROMPT
        # BEGIN SOLUTION
        return self.down(gelu(self.up(x)))
        # END SOLUTION


class ParallelAttention(nn.Module):
    """Causal attention, n_heads/N heads on each rank. Traffic: one all-reduce forward, one backward."""

    def __init__(self, qkv_weight, qkv_bias, out_weight, out_bias, n_heads):
        super().__init__()
        # BEGIN PROMPT
        # # TODO 7: self.qkv, self.out. A rank needs q, k and v of the same heads.
        # raise NotImplementedError("ex_29: ParallelAttention")
        # END PROMPT
        # BEGIN SOLUTION
        self.qkv = ColumnParallelLinear(qkv_weight, qkv_bias, n_blocks=3)
        self.out = RowParallelLinear(out_weight, out_bias)
        self.n_heads = n_heads // dist.get_world_size()
        # END SOLUTION

    def forward(self, x):
        """x [batch, seq, d] -> [batch, seq, d], the same on all ranks."""
        # BEGIN PROMPT
        # # TODO 8: softmax(q·kᵀ/√head_dim + mask)·v for this rank's heads; scaled_dot_product_attention is allowed.
        # raise NotImplementedError("ex_29: ParallelAttention.forward")
        # END PROMPT
        # BEGIN SOLUTION
        q, k, v = self.qkv(x).unflatten(-1, (3, self.n_heads, -1)).transpose(1, 3).unbind(2)
        heads = scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(heads.transpose(1, 2).flatten(2))
        # END SOLUTION
