"""Calls what a case of ex_30 asks for: one of the three operations or a few blocks in a row, forward and backward."""

import torch
import torch.distributed as dist

OPERATIONS = {"gather": "GatherSequence", "scatter": "ScatterSequence", "sum": "SumGradient"}


def drive(module, op, x, grad, *weights):
    """One call.

    Args:
        module: the learner's.
        op: a key of OPERATIONS, or `blocks`.
        x: what goes in.
        grad: of what comes out.
        weights: of `blocks`, those of `block` in its order, each [L, …] of L blocks.

    Returns:
        What comes out, the gradient of x, and those of the weights.
    """
    if op == "sum" and not hasattr(module, OPERATIONS[op]):
        # Hooks on the weights do as well; whether they do is to be seen in blocks.
        total = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return x.clone(), total
    x = x.detach().requires_grad_()
    if op != "blocks":
        out = getattr(module, OPERATIONS[op]).apply(x)
        # The argument itself, which is read-only: in a larger graph, others may have been given the same tensor.
        (grad_x,) = torch.autograd.grad(out, x, grad)
        # One rank alone may pass on what it got.
        return out.detach().clone(), grad_x.clone()
    # Leaves of their own, in the memory of the arguments.
    blocks = [
        [weight.detach().requires_grad_() for weight in of_block]
        for of_block in zip(*(weight.unbind() for weight in weights), strict=True)
    ]
    out = x
    for of_block in blocks:
        out = module.block(out, *of_block)
    grad_x, *grads = torch.autograd.grad(out, [x, *(weight for of_block in blocks for weight in of_block)], grad)
    return out.detach(), grad_x, *(torch.stack(grads[place :: len(weights)]) for place in range(len(weights)))
