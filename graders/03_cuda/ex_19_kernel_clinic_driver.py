"""Runs one bed of the ward, or the calculator for one launch on several SMs."""

import torch

LIMITERS = ("warps", "registers", "shared memory", "blocks")


def drive(module, op, *args):
    """Calls what the learner wrote.

    Args:
        module: the learner's.
        op: a bed's launcher, or `occupancy`.
        args: the launcher's; of `occupancy`, registers, shared bytes and threads, and the limits of each SM.

    Returns:
        What the launcher returns; of `occupancy`, for each SM: its active blocks, a 1 for each of LIMITERS that limits
        them, and the share of its warps that are active.
    """
    if op != "occupancy":
        return getattr(module, op)(*args)
    *launch, sms = args
    results = [_checked(module.occupancy(*launch, module.SMLimits(**limits))) for limits in sms]
    return (
        torch.tensor([blocks for blocks, _, _ in results]),
        torch.tensor([[int(name in limited_by) for name in LIMITERS] for _, limited_by, _ in results]),
        torch.tensor([share for _, _, share in results], dtype=torch.float64),
    )


def _checked(result):
    if not isinstance(result, tuple) or len(result) != 3:
        raise TypeError(f"occupancy() must return an Occupancy, it returned {result!r}")
    blocks, limited_by, share = result
    if type(blocks) is not int or not isinstance(share, int | float):
        raise TypeError(f"occupancy() must return a whole number of blocks and a share of the warps, not {result!r}")
    if isinstance(limited_by, str) or not set(limited_by) <= set(LIMITERS):
        raise ValueError(f"limited_by must be a tuple of names in {LIMITERS}, it is {limited_by!r}")
    return blocks, limited_by, float(share)
