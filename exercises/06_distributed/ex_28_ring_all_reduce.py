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

import torch
import torch.distributed as dist


def ring_all_reduce(x):
    """Sum a vector over all ranks, in place.

    Args:
        x: [n] float32, contiguous, on this rank's device; read and overwritten.

    Traffic: each rank sends N−1 chunks in either round, 2(N−1)/N·S bytes in all where N divides n.

    Source: Patarasuk and Yuan, section 4 (see above).
    """
    # TODO 1: cut x into one chunk for each rank. Which sizes do they have where n doesn't divide?
    # TODO 2: reduce-scatter: N−1 steps, in each of which one chunk goes to the next rank and one comes from the one
    #         before, to be added. Whose turn is it to be sent in step s?
    # TODO 3: all-gather: N−1 more steps, in which complete chunks replace what is there.
    # TODO 4: two ranks that both send first and receive later may wait for each other for ever: see
    #         dist.batch_isend_irecv.
    raise NotImplementedError("ex_28: ring_all_reduce")


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
    # TODO 5: two unknowns, and T is linear in them. Make a percent of a small time as dear as a percent of a large
    #         one, or the large ones alone decide, and alpha is noise.
    raise NotImplementedError("ex_28: fit")


def predict(cost, n_bytes, world):
    """Seconds of a ring all-reduce.

    Args:
        cost: Cost of one step.
        n_bytes: float: S, the bytes of the vector.
        world: how many ranks take part.

    Returns:
        float.
    """
    # TODO 6: the formula of the task.
    raise NotImplementedError("ex_28: predict")
