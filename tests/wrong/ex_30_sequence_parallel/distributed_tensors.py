# expect: BANNED_CALL
# DTensor: says how tensors are laid out, and lets the library find the collectives.
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard
from torch.nn.functional import gelu, layer_norm, linear


def laid_out(x, before, after):
    mesh = init_device_mesh(x.device.type, (dist.get_world_size(),))
    return DTensor.from_local(x, mesh, [before], run_check=False).redistribute(mesh, [after])


class GatherSequence:
    @staticmethod
    def apply(x):
        return laid_out(x, Shard(0), Replicate()).to_local(grad_placements=[Partial()])


class ScatterSequence:
    @staticmethod
    def apply(x):
        return laid_out(x, Partial(), Shard(0)).to_local()


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
