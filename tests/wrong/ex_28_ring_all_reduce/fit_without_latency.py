# expect: WRONG_VALUES
# Bandwidth alone: a small message would cost nothing.
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
    steps = 2 * (world - 1)
    rates = sorted(time / (steps * size / world) for size, time in zip(n_bytes, seconds, strict=True))
    return Cost(0.0, rates[0])


def predict(cost, n_bytes, world):
    return 2 * (world - 1) * (cost.alpha + cost.beta * n_bytes / world)
