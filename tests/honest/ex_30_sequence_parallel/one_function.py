# expect: PASSED
# The block as one Function with its backward pass written out: collectives run while products are computed, and the
# gradients of the three shared weights share one all-reduce.
import math

import torch
import torch.distributed as dist
from torch.nn.functional import gelu, linear

EPS = 1e-5


def begin_gather(x):
    x = x.contiguous()
    whole = x.new_empty(x.shape[0] * dist.get_world_size(), *x.shape[1:])
    return whole, dist.all_gather_into_tensor(whole, x, async_op=True)


def begin_scatter(x):
    part = x.new_empty(x.shape[0] // dist.get_world_size(), *x.shape[1:])
    return part, dist.reduce_scatter_tensor(part, x.contiguous(), async_op=True)


def finished(begun):
    out, work = begun
    work.wait()
    return out


class GatherSequence(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return finished(begin_gather(x))

    @staticmethod
    def backward(ctx, grad):
        return finished(begin_scatter(grad))


class ScatterSequence(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return finished(begin_scatter(x))

    @staticmethod
    def backward(ctx, grad):
        return finished(begin_gather(grad))


def standardized(x):
    """x with mean 0 and variance 1, and what it was divided by."""
    centred = x - x.mean(-1, keepdim=True)
    deviation = (centred.square().mean(-1, keepdim=True) + EPS).sqrt()
    return centred.div_(deviation), deviation


class Block(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, gain, shift, w_up, b_up, w_down, b_down):
        whole = finished(begin_gather(standardized(x)[0].mul_(gain).add_(shift)))
        raw = linear(whole, w_up, b_up)
        hidden = gelu(raw)
        ctx.save_for_backward(x, gain, w_up, w_down, whole, raw, hidden)
        return finished(begin_scatter(linear(hidden, w_down))).add_(x).add_(b_down)

    @staticmethod
    def backward(ctx, grad):
        x, gain, w_up, w_down, whole, raw, hidden = ctx.saved_tensors
        gathering = begin_gather(grad)
        grad_b_down = grad.sum((0, 1))
        grad_whole = finished(gathering)
        grad_w_down = grad_whole.flatten(0, 1).t() @ hidden.flatten(0, 1)
        # gelu(z) = z·Φ(z), so its derivative is Φ(z) + z·φ(z).
        slope = raw.square().mul_(-0.5).exp_().mul_(raw).mul_(1 / math.sqrt(2 * math.pi))
        slope.add_(raw.mul(math.sqrt(0.5)).erf_().add_(1), alpha=0.5)
        grad_raw = slope.mul_(grad_whole @ w_down)
        # Nothing is kept that has been used: a Function's saved tensors all stay until it returns.
        del gathering, grad_whole, slope
        scattering = begin_scatter(grad_raw @ w_up)
        # Under way, while the weights' gradients are computed.
        grad_w_up = grad_raw.flatten(0, 1).t() @ whole.flatten(0, 1)
        grad_b_up = grad_raw.sum((0, 1))
        grad_normed = finished(scattering)
        del scattering, grad_raw
        unit, deviation = standardized(x)
        shared = torch.stack(((grad_normed * unit).sum((0, 1)), grad_normed.sum((0, 1)), grad_b_down))
        reducing = dist.all_reduce(shared, async_op=True)
        grad_unit = grad_normed.mul_(gain)
        grad_unit = grad_unit - grad_unit.mean(-1, keepdim=True) - unit * (grad_unit * unit).mean(-1, keepdim=True)
        grad_x = grad_unit.div_(deviation).add_(grad)
        reducing.wait()
        return grad_x, shared[0], shared[1], grad_w_up, grad_b_up, grad_w_down, shared[2]


def block(x, gain, shift, w_up, b_up, w_down, b_down):
    return Block.apply(x, gain, shift, w_up, b_up, w_down, b_down)
