"""ex_28 Ring all-reduce: every rank has a vector, and every rank is to have the sum of all of them.

Task: write `ring_all_reduce(x)`, in place and with messages between neighbours only, and `fit(n_bytes, seconds, world)`
with `predict(cost, n_bytes, world)`: what such a ring costs.

    x[i] ← Σ over ranks of x[i]            on every rank

Signature
    ring_all_reduce(x)                     x [n], float32, contiguous; overwritten with the sum. n is any size from 1 up
    fit(n_bytes, seconds, world) -> Cost   n_bytes, seconds: lists of floats, one an all-reduce among `world` ranks
    predict(cost, n_bytes, world) -> float seconds of an all-reduce that was not measured

The bound: whoever sends its whole vector of S bytes to everybody sends (N−1)·S, and one rank that adds up for all
receives as much: both grow with the number N of ranks. Cut the vector into N chunks instead, and let each go round the
ring twice. Once around, every rank adds its own part to what passes, and after N−1 steps each of them holds one chunk
complete (reduce-scatter). Once more around, the complete ones are handed on (all-gather). Every rank sends N−1 chunks a
round: 2(N−1)/N·S bytes, less than twice its vector however many ranks there are, and no all-reduce without help from
the network can do with less.

The cost of a step: α seconds until a message is under way, β seconds for each of its bytes. The ring makes 2(N−1) steps
of S/N bytes, so T = 2(N−1)·α + 2(N−1)/N·S·β. Small vectors pay for α, large ones for β.

How it is graded: on 1, 2 and 4 ranks and on sizes that don't divide; the bytes that every rank sends, counted: 2S less
the two chunks that it need not send (10 elements on 4 ranks: 14 to 16 of them); at most one chunk of extra memory a
neighbour; `predict` within 20 % on sizes and numbers of ranks that `fit` has not seen. With GPUs, the time of 1 GB
against `dist.all_reduce`. No collective operation is allowed.

Read: P. Patarasuk, X. Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations";
torch.distributed documentation of `batch_isend_irecv`.
"""

from dataclasses import dataclass

# BEGIN SOLUTION
from itertools import permutations

# END SOLUTION
import torch
import torch.distributed as dist

# BEGIN SOLUTION
RING_BYTES = 32 * 2**20
"""Of the vector: what pays for the messages of another ring."""
# END SOLUTION


def ring_all_reduce(x):
    """Sum a vector over all ranks, in place.

    Args:
        x: [n] float32, contiguous, on this rank's device; read and overwritten.

    Traffic: each rank sends N−1 chunks in either round, 2(N−1)/N·S bytes in all where N divides n.

    Source: Patarasuk and Yuan, section 4 (see above).
    """
    # BEGIN PROMPT
    # # TODO 1: cut x into one chunk for each rank. Which sizes do they have where n doesn't divide?
    # # TODO 2: reduce-scatter: N−1 steps, in each of which one chunk goes to the next rank and one comes from the one
    # #         before, to be added. Whose turn is it to be sent in step s?
    # # TODO 3: all-gather: N−1 more steps, in which complete chunks replace what is there.
    # # TODO 4: two ranks that both send first and receive later may wait for each other for ever: see
    # #         dist.batch_isend_irecv.
    # raise NotImplementedError("ex_28: ring_all_reduce")
    # END PROMPT
    # BEGIN SOLUTION
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
    # END SOLUTION


# BEGIN SOLUTION
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


# END SOLUTION
@dataclass(frozen=True)
class Cost:
    """What a step of the ring costs.

    Args:
        alpha: seconds a message, however short.
        beta: seconds a byte.
    """

    alpha: float
    beta: float


def fit(n_bytes, seconds, world):
    """The cost model that fits measured all-reduces best.

    Args:
        n_bytes: list of floats: S of each, from kilobytes to gigabytes.
        seconds: list of floats: what each took, within some percent.
        world: how many ranks took part.

    Returns:
        Cost.
    """
    # BEGIN PROMPT
    # # TODO 5: two unknowns, and T is linear in them. Make a percent of a small time as dear as a percent of a large
    # #         one, or the large ones alone decide, and alpha is noise.
    # raise NotImplementedError("ex_28: fit")
    # END PROMPT
    # BEGIN SOLUTION
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
    # END SOLUTION


def predict(cost, n_bytes, world):
    """Seconds of a ring all-reduce.

    Args:
        cost: Cost of one step.
        n_bytes: float: S, the bytes of the vector.
        world: how many ranks take part.

    Returns:
        float.
    """
    # BEGIN PROMPT
    # # TODO 6: the formula of the task.
    # raise NotImplementedError("ex_28: predict")
    # END PROMPT
    # BEGIN SOLUTION
    steps = 2 * (world - 1)
    return steps * (cost.alpha + cost.beta * n_bytes / world)
    # END SOLUTION
