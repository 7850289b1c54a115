"""ex_30 Sequence parallelism: a tensor-parallel block whose norm and residual are split along the sequence.

Task: write `GatherSequence` and `ScatterSequence`, the two operations that lead into and out of the tensor-parallel
part and are each other's backward pass, `SumGradient` for weights that every rank has, and with them `block`:

    y = x + gelu(layer_norm(x) @ w_upᵀ + b_up) @ w_downᵀ + b_down

Signature (float32; each of N ranks has S/N positions of the sequence and F/N of the hidden features, in rank order)
    GatherSequence.apply(x)     [S/N, B, D] -> [S, B, D]      g: all-gather; backward: reduce-scatter
    ScatterSequence.apply(x)    [S, B, D] -> [S/N, B, D]      ḡ: reduce-scatter; backward: all-gather
    SumGradient.apply(weight)   the weight, any shape         backward: the sum over ranks of its gradient
    block(x, gain, shift, w_up, b_up, w_down, b_down)         [S/N, B, D] -> [S/N, B, D]
        gain, shift, b_down [D] are the same on every rank; w_up [F/N, D], b_up [F/N] and w_down [D, F/N] are its own

S is a multiple of N (in practice sequences are padded), and comes first, before the batch B: so a rank's part is one
piece of memory, and collectives put such pieces together in rank order.

The bound: in tensor parallelism every rank computes norm and residual of all S positions, the same N times over, and
keeps N times what it needs for the backward pass. But an all-reduce is a reduce-scatter and then an all-gather: sum
into S/N positions a rank, go through residual and norm there, and gather what the next linear layer reads. The bytes
are those of one all-reduce, 2(N−1)/N·S·B·D a pass, and what norm and residual keep is 1/N. What the norm puts out is
gathered, and kept whole: the gradient of w_up needs it. (Megatron-LM keeps its part, and gathers once more in the
backward pass: less memory for half as many bytes again. Not here.)

How it is graded: on 1, 2 and 4 ranks, outputs and all gradients, of the weights too, against the dense block; gradients
that come in may have any strides, and are only read; what goes into a collective must be contiguous, as NCCL wants it.
Counted for four blocks in a row: collectives and the bytes that a ring sends for them, forward and backward apart;
products; and memory. A block may keep one tensor of S·B·D elements, one of S·B·D/N and two of S·B·F/N, and have two
more of each size at work. Weights stay where they are. `linear`, `gelu` and `layer_norm` are yours to use, and of
torch.distributed the collectives that a program calls itself, like `dist.all_reduce`: not DTensor, and no functional
collectives, which bring a backward pass along.

Read: V. Korthikanti et al., "Reducing activation recomputation in large transformer models", section 4.2.
"""

import torch
import torch.distributed as dist
from torch.nn.functional import gelu, layer_norm, linear


# BEGIN SOLUTION
def _all_gathered(x):
    """[n, …] on each rank -> [n·N, …], rank 0's first."""
    x = x.contiguous()
    whole = x.new_empty(x.shape[0] * dist.get_world_size(), *x.shape[1:])
    dist.all_gather_into_tensor(whole, x)
    return whole


def _reduce_scattered(x):
    """[n·N, …] on each rank -> [n, …]: this rank's part of the sum."""
    x = x.contiguous()
    part = x.new_empty(x.shape[0] // dist.get_world_size(), *x.shape[1:])
    dist.reduce_scatter_tensor(part, x)
    return part


# END SOLUTION
class GatherSequence(torch.autograd.Function):
    """g: all positions from each rank's part. Source: Korthikanti et al., section 4.2.2."""

    @staticmethod
    def forward(ctx, x):
        """x: [S/N, B, D] -> [S, B, D]. Traffic: (N−1)/N·S·B·D elements a rank."""
        # BEGIN PROMPT
        # # TODO 1: dist.all_gather_into_tensor fills a tensor that you allocate. It takes contiguous ones only.
        # raise NotImplementedError("ex_30: GatherSequence.forward")
        # END PROMPT
        # BEGIN SOLUTION
        return _all_gathered(x)
        # END SOLUTION

    @staticmethod
    def backward(ctx, grad):
        """grad: [S, B, D], of what this rank made of all positions -> [S/N, B, D]."""
        # BEGIN PROMPT
        # # TODO 2: this rank's positions went to all ranks, and each of them has a gradient for them.
        # raise NotImplementedError("ex_30: GatherSequence.backward")
        # END PROMPT
        # BEGIN SOLUTION
        # A tensor that N ranks read has as many gradients, which add up; here only this rank's positions are wanted.
        return _reduce_scattered(grad)
        # END SOLUTION


class ScatterSequence(torch.autograd.Function):
    """ḡ: this rank's positions of the sum over ranks. Source: Korthikanti et al., section 4.2.2."""

    @staticmethod
    def forward(ctx, x):
        """x: [S, B, D], one term of a sum -> [S/N, B, D]. Traffic: (N−1)/N·S·B·D elements a rank."""
        # BEGIN PROMPT
        # # TODO 3: there is one collective that adds and sends each rank no more than it needs.
        # raise NotImplementedError("ex_30: ScatterSequence.forward")
        # END PROMPT
        # BEGIN SOLUTION
        return _reduce_scattered(x)
        # END SOLUTION

    @staticmethod
    def backward(ctx, grad):
        """grad: [S/N, B, D] -> [S, B, D]."""
        # BEGIN PROMPT
        # # TODO 4: which outputs, on which ranks, depend on this rank's x?
        # raise NotImplementedError("ex_30: ScatterSequence.backward")
        # END PROMPT
        # BEGIN SOLUTION
        # Every position of x went into one rank's output with factor 1, and that rank has the gradient.
        return _all_gathered(grad)
        # END SOLUTION


class SumGradient(torch.autograd.Function):
    """For a weight that all ranks have and each uses for its own positions: the weight, and backward the whole sum."""

    @staticmethod
    def forward(ctx, weight):
        """weight: any shape; comes back as it is."""
        return weight.view_as(weight)

    @staticmethod
    def backward(ctx, grad):
        """grad: the part of the sum over positions that this rank has; not to be overwritten. Returns the sum."""
        # BEGIN PROMPT
        # # TODO 5: each rank saw S/N positions, and all ranks must take the same step with the optimizer.
        # raise NotImplementedError("ex_30: SumGradient.backward")
        # END PROMPT
        # BEGIN SOLUTION
        # A copy: autograd may have given the same tensor to others.
        total = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total
        # END SOLUTION


def block(x, gain, shift, w_up, b_up, w_down, b_down):
    """One block: norm, column-parallel linear layer, GELU, row-parallel linear layer, residual.

    Args:
        x: [S/N, B, D] float32, contiguous, this rank's positions; only read, like all others.
        gain: [D], the norm's weight; the same on every rank.
        shift: [D], the norm's bias; the same on every rank.
        w_up: [F/N, D], this rank's hidden features.
        b_up: [F/N], of the same features.
        w_down: [D, F/N], of the same features.
        b_down: [D]; the same on every rank.

    Returns:
        [S/N, B, D], this rank's positions. Gradients of weights that all ranks have come back as whole sums.

    Traffic: as much as one all-reduce of S·B·D elements forward; as much, and three of D elements, backward.

    Source: Korthikanti et al., figure 5.
    """
    # BEGIN PROMPT
    # # TODO 6: which of the seven does a rank use for its own positions alone, and has to share?
    # # TODO 7: where do you gather, so that a block keeps no more than it may? Where does b_down belong, so that it is
    # #         added once?
    # raise NotImplementedError("ex_30: block")
    # END PROMPT
    # BEGIN SOLUTION
    gain, shift, b_down = (SumGradient.apply(weight) for weight in (gain, shift, b_down))
    # S/N positions here …
    normed = layer_norm(x, x.shape[-1:], gain, shift)
    # … all of them between the two, where each rank has F/N features of them …
    hidden = gelu(linear(GatherSequence.apply(normed), w_up, b_up))
    # … and S/N again. Before the sum the bias would be added N times.
    return x + ScatterSequence.apply(linear(hidden, w_down)) + b_down
    # END SOLUTION
