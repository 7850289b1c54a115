# expect: WRONG_VALUES
# Fits and predicts as if an all-reduce were one message of S bytes: wrong for any other number of ranks.
from dataclasses import dataclass

import torch
import torch.distributed as dist


@dataclass(frozen=True)
class Cost:
    alpha: float
    beta: float


def exchanged(out, into):
    rank, world = dist.get_rank(), dist.get_world_size()
    works = dist.batch_isend_irecv(
        [dist.P2POp(dist.isend, out, (rank + 1) % world), dist.P2POp(dist.irecv, into, (rank - 1) % world)]
    )
    for work in works:
        work.wait()


def ring_all_reduce(x):
    rank, world = dist.get_rank(), dist.get_world_size()
    if world == 1:
        return
    chunks = x.tensor_split(world)
    scratch = torch.empty_like(chunks[0])
    for step in range(world - 1):
        received = chunks[(rank - step - 1) % world]
        into = scratch[: received.numel()]
        exchanged(chunks[(rank - step) % world], into)
        received += into
    for step in range(world - 1):
        exchanged(chunks[(rank + 1 - step) % world], chunks[(rank - step) % world])


def fit(n_bytes, seconds, world):
    a, b = [1 / time for time in seconds], [size / time for size, time in zip(n_bytes, seconds, strict=True)]
    aa, bb = (sum(value * value for value in row) for row in (a, b))
    ab = sum(first * second for first, second in zip(a, b, strict=True))
    determinant = aa * bb - ab * ab
    return Cost((sum(a) * bb - sum(b) * ab) / determinant, (aa * sum(b) - ab * sum(a)) / determinant)


def predict(cost, n_bytes, world):
    return cost.alpha + cost.beta * n_bytes
