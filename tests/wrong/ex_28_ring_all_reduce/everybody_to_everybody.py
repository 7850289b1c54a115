# expect: TOO_MUCH_WORK
# Every rank sends its whole vector to all others: right, and (N−1)·S bytes.
from dataclasses import dataclass

import torch
import torch.distributed as dist


@dataclass(frozen=True)
class Cost:
    alpha: float
    beta: float


def ring_all_reduce(x):
    rank, world = dist.get_rank(), dist.get_world_size()
    others = [other for other in range(world) if other != rank]
    if not others:
        return
    mine, theirs = x.clone(), [torch.empty_like(x) for _ in others]
    messages = [dist.P2POp(dist.isend, mine, other) for other in others]
    messages += [dist.P2POp(dist.irecv, into, other) for into, other in zip(theirs, others, strict=True)]
    for work in dist.batch_isend_irecv(messages):
        work.wait()
    for vector in theirs:
        x += vector


def fit(n_bytes, seconds, world):
    steps = 2 * (world - 1)
    a = [steps / time for time in seconds]
    b = [steps * size / world / time for size, time in zip(n_bytes, seconds, strict=True)]
    aa, bb = (sum(value * value for value in row) for row in (a, b))
    ab = sum(first * second for first, second in zip(a, b, strict=True))
    determinant = aa * bb - ab * ab
    return Cost((sum(a) * bb - sum(b) * ab) / determinant, (aa * sum(b) - ab * sum(a)) / determinant)


def predict(cost, n_bytes, world):
    return 2 * (world - 1) * (cost.alpha + cost.beta * n_bytes / world)
