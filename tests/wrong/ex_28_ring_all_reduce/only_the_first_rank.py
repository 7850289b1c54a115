# expect: WRONG_VALUES
# A reduction to rank 0: the others keep what passed them.
from dataclasses import dataclass

import torch
import torch.distributed as dist


@dataclass(frozen=True)
class Cost:
    alpha: float
    beta: float


def ring_all_reduce(x):
    rank, world = dist.get_rank(), dist.get_world_size()
    if world == 1:
        return
    arriving = torch.empty_like(x)
    if rank < world - 1:
        dist.recv(arriving, rank + 1)
        x += arriving
    if rank > 0:
        dist.send(x, rank - 1)


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
