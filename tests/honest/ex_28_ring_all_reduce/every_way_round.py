# expect: PROVISIONAL
# expect-gpu: PASSED|PROVISIONAL|TOO_SLOW
# As many rings at once as there are ways round all ranks, each in both directions: every link between four is used.
# (Between H200s that was slower than two rings: a sixth of a vector begins at an odd place, where copies are slow.)

from dataclasses import dataclass
from itertools import permutations

import torch
import torch.distributed as dist

RING_BYTES = 1024
"""Of the vector: what pays for the messages of another ring."""


def ring_all_reduce(x):
    rank, world = dist.get_rank(), dist.get_world_size()
    if world == 1:
        return
    # Views, not copies: a chunk that is written is written in x. tensor_split makes the first few one longer.
    orders = _orders(world)[: max(1, x.nbytes // RING_BYTES)]
    parts = x.tensor_split(len(orders))
    rings = [(_Ring(order, rank), part.tensor_split(world)) for order, part in zip(orders, parts, strict=True)]
    # One chunk of scratch memory a ring: what comes in can't be added before it is there.
    scratch = [torch.empty_like(chunks[0]) for _, chunks in rings]
    for step in range(world - 1):
        # In step 0 every rank sends its own chunk, afterwards the one that it has just added to. What comes in from
        # the rank before is the chunk that that one has just added to.
        passed, sums = [], []
        for (ring, chunks), room in zip(rings, scratch, strict=True):
            received = chunks[(ring.place - step - 1) % world]
            arriving = room[: received.numel()]
            passed.append((ring, chunks[(ring.place - step) % world], arriving))
            sums.append((received, arriving))
        _pass_on(passed)
        for received, arriving in sums:
            received += arriving
    # Now the chunk after the rank's own is complete here. It goes round once more, and nothing is added.
    for step in range(world - 1):
        _pass_on(
            [
                (ring, chunks[(ring.place + 1 - step) % world], chunks[(ring.place - step) % world])
                for ring, chunks in rings
            ]
        )


class _Ring:
    """A way round all ranks, and where this one stands in it."""

    def __init__(self, order, rank):
        self.place = order.index(rank)
        self.next = order[(self.place + 1) % len(order)]
        self.previous = order[self.place - 1]


def _orders(world):
    """Ways round all ranks, each followed by the same in the other direction.

    Between GPUs that are all linked to each other, one ring uses one link of each in one direction. With all six ways
    round four of them, every link is busy in both.
    """
    ways = list(permutations(range(1, world))) if world <= 4 else [tuple(range(1, world))]
    return [(0, *way[::turn]) for way in ways if way[0] <= way[-1] for turn in ((1, -1) if world > 2 else (1,))]


def _pass_on(passed):
    """Send each ring's chunk to its next rank and receive one from its previous; return when all have arrived."""
    # In one batch: no message waits for another one, whatever order the neighbours come in.
    messages = []
    for ring, out, into in passed:
        messages += [dist.P2POp(dist.isend, out, ring.next), dist.P2POp(dist.irecv, into, ring.previous)]
    for work in dist.batch_isend_irecv(messages):
        work.wait()


@dataclass(frozen=True)
class Cost:
    alpha: float
    beta: float


def fit(n_bytes, seconds, world):
    # T = α·steps + β·steps·S/N. Divided by T, every measurement says 1 = α·a + β·b, and an error of a percent weighs
    # the same in each of them: gigabytes take ten thousand times as long as kilobytes.
    steps = 2 * (world - 1)
    a = [steps / time for time in seconds]
    b = [steps * size / world / time for size, time in zip(n_bytes, seconds, strict=True)]
    # Least squares with two unknowns: two normal equations, solved by Cramer's rule.
    aa, bb = (sum(value * value for value in row) for row in (a, b))
    ab = sum(first * second for first, second in zip(a, b, strict=True))
    determinant = aa * bb - ab * ab
    return Cost(
        alpha=(sum(a) * bb - sum(b) * ab) / determinant,
        beta=(aa * sum(b) - ab * sum(a)) / determinant,
    )


def predict(cost, n_bytes, world):
    steps = 2 * (world - 1)
    return steps * (cost.alpha + cost.beta * n_bytes / world)
