"""Calls what a case of ex_28 asks for: the all-reduce on a copy of the rank's vector, or the cost model."""

import torch
import torch.distributed as dist


def drive(module, op, *args):
    """One call.

    Args:
        module: the learner's.
        op: `fit`; anything else is the all-reduce.
        args: the rank's vector; of `fit`, n_bytes and seconds [m] of measured all-reduces among `world` ranks, then
            n_bytes and worlds [k] of those to predict.

    Returns:
        The vector that was summed in place, or seconds [k], float64.
    """
    if op == "fit":
        n_bytes, seconds, world, wanted, worlds = args
        cost = module.fit(n_bytes.tolist(), seconds.tolist(), world)
        predicted = [module.predict(cost, *pair) for pair in zip(wanted.tolist(), worlds.tolist(), strict=True)]
        return torch.tensor([float(seconds) for seconds in predicted], dtype=torch.float64)
    # The inputs of a check are read-only, and what is timed starts from the same values every time.
    vector = args[0].clone()
    returned = module.ring_all_reduce(vector)
    if returned is not None and returned is not vector:
        raise TypeError("ring_all_reduce(x) works in place: it returns nothing, and x holds the sum")
    return vector


def timed_args(params, rank, _world, seed):
    """A rank's vector of a timed case, on its card."""
    generator = torch.Generator("cuda").manual_seed(seed + rank)
    return params["op"], torch.randn(params["n"], generator=generator, device="cuda")


def baseline(_op, x):
    """What the library takes for the same."""
    vector = x.clone()
    dist.all_reduce(vector)
    return vector
