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

# BEGIN SOLUTION
import os

# END SOLUTION
from dataclasses import dataclass

import torch
import torch.distributed as dist

# BEGIN SOLUTION
PIECE_BYTES = 128 * 2**10
"""NCCL sends a message in pieces of 512 KiB, and nothing arrives before all of the first piece is sent: in each step
35 µs, at the 15 GB/s or so of one of a card's 32 channels. It reads this variable when the first group is made."""
os.environ.setdefault("NCCL_P2P_NVL_CHUNKSIZE", str(PIECE_BYTES))
WIDE_BYTES = 512 * PIECE_BYTES
"""Among four ranks a message has 8 channels, and more only where one of them would carry over 32 pieces: beyond this
size it has all of them."""
SEVERAL_BYTES = 32 * 2**20
"""Of a vector: what pays for the messages of several circles."""
CIRCLES_OF_FOUR = ((0, 1, 3, 2), (0, 2, 1, 3), (0, 3, 2, 1))
"""The three ways in which four ranks can stand in a circle."""
GRAIN = 128
"""Elements, 512 bytes: what a warp copies at once. Where chunks begin at odd places, its accesses are smaller."""
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
    circles = _circles(world, x.nbytes)
    parts = _cut(x, len(circles), world * GRAIN)
    rings = [_Ring(part, stops, rank) for part, stops in zip(parts, circles, strict=True)]
    for step in range(2 * (world - 1)):
        # All in one batch: no message waits for another one, whatever order the ranks come in.
        operations, sums = [], []
        for ring in rings:
            out, to, into, source, total = ring.messages(step)
            operations += [dist.P2POp(dist.isend, out, to), dist.P2POp(dist.irecv, into, source)]
            if total is not None:
                sums.append((total, into))
        for work in dist.batch_isend_irecv(operations):
            work.wait()
        for total, arrived in sums:
            total += arrived
    # END SOLUTION


# BEGIN SOLUTION
def _circle(world, direction=1):
    """stops[chunk][step]: the rank that has a chunk in each step, until the chunk is back where it began."""
    return [[(chunk + direction * step) % world for step in range(world)] for chunk in range(world)]


def _circles(world, n_bytes):
    """The circles that parts of a vector go round, such that its messages take up all of the links.

    A small vector goes round one circle, since a message costs more than its bytes; so does a very large one, whose
    messages NCCL spreads over all links by itself. What lies between goes round several. A link carries both ways at
    once, so there are two directions. Of four GPUs that are all linked to each other, one circle with its two
    directions leaves a third of the links idle. There are three circles; in each of them two chunks go round one way
    and two the other way (`^` turns the circle around for every other one), such that in each step every rank has just
    one message for each of the three others.
    """
    if world == 2 or not SEVERAL_BYTES <= n_bytes <= world * WIDE_BYTES:
        return [_circle(world)]
    if world == 4:
        return [[[chunk ^ stop for stop in circle] for chunk in range(world)] for circle in CIRCLES_OF_FOUR]
    return [_circle(world), _circle(world, -1)]


def _cut(vector, n, grain):
    """n parts of nearly equal length. All begin at multiples of `grain` elements; the last one has the rest."""
    return vector.tensor_split([vector.numel() * k // n // grain * grain for k in range(1, n)])


class _Ring:
    """Part of a vector on its way round all ranks."""

    def __init__(self, part, stops, rank):
        self._stops, self._world = stops, len(stops)
        # Which chunk is here in each step.
        self._here = [next(c for c, ranks in enumerate(stops) if ranks[step] == rank) for step in range(self._world)]
        # Views, not copies: a chunk that is written is written in x. tensor_split makes the first few one longer.
        self._chunks = part.tensor_split(self._world)
        # One chunk of scratch memory: what comes in can't be added before it is there.
        self._room = torch.empty_like(self._chunks[0])

    def messages(self, step):
        """What is sent and to whom, where what comes in goes and from whom, and what that is added to, if anything.

        The chunk that is here goes to its next stop, and the one that stops here next comes in. In step 0 every rank
        sends a chunk of its own, afterwards the one that it has just added to; after N−1 steps that one is complete,
        and goes on as it is.
        """
        now, then = step % self._world, (step + 1) % self._world
        out, into = self._here[now], self._here[then]
        chunk, total = self._chunks[into], None
        if step < self._world - 1:
            total, chunk = chunk, self._room[: chunk.numel()]
        return self._chunks[out], self._stops[out][then], chunk, self._stops[into][now], total


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
