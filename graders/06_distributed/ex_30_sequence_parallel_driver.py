"""Calls what a case of ex_30 asks for: one of the two operations or a few blocks in a row, forward and backward."""

import torch


def drive(module, op, x, grad, *weights):
    """One call.

    Args:
        module: the learner's.
        op: `gather`, `scatter` or `blocks`.
        x: what goes in.
        grad: of what comes out.
        weights: of `blocks`, those of `block` in its order, each [L, …] of L blocks.

    Returns:
        What comes out, the gradient of x, and those of the weights.
    """
    x = x.detach().requires_grad_()
    if op != "blocks":
        operation = {"gather": module.GatherSequence, "scatter": module.ScatterSequence}[op]
        out = operation.apply(x)
        # Not contiguous: as it comes out of a transposed product.
        strided = grad.mT.clone(memory_format=torch.contiguous_format).mT
        (grad_x,) = torch.autograd.grad(out, x, strided)
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
