# expect: WRONG_VALUES
# Least squares of the seconds themselves: gigabytes decide, and alpha is noise.
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
    b = [steps * size / world for size in n_bytes]
    n, sum_b, sum_bb = len(b) * steps, sum(b), sum(value * value for value in b)
    sum_t, sum_bt = sum(seconds), sum(value * time for value, time in zip(b, seconds, strict=True))
    beta = (n / steps * sum_bt - sum_b * sum_t) / (n / steps * sum_bb - sum_b * sum_b)
    return Cost((sum_t - beta * sum_b) / n, beta)


def predict(cost, n_bytes, world):
    return 2 * (world - 1) * (cost.alpha + cost.beta * n_bytes / world)
