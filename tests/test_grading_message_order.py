"""Messages that end on gloo, and what NCCL would make of them."""

from __future__ import annotations

import itertools

import pytest

from gpuprep.grading.message_order import order_fault
from gpuprep.model import Case, Outcome

RING = {
    "every rank sends first": "sr",
    "every rank receives first": "rs",
}


class Call:
    """A rank's call, as far as a fault needs it."""

    case = Case({"world": 2})

    def failed(self, outcome, message, **more):
        return outcome, message, more["where"]

    def line(self, number):
        return number


def fault(*ranks):
    """What comes of messages, each "s1" to send to rank 1 or "r0" to receive from rank 0; lines count from 1."""
    answers = [
        {
            "singles": [
                {"is_send": what[0] == "s", "peer": int(what[1:]), "group": "0", "line": line}
                for line, what in enumerate(told.split(), start=1)
            ]
        }
        for told in ranks
    ]
    return order_fault([Call() for _ in ranks], answers)


def around(world, order):
    """A ring's messages of two steps; `order` says which come first on even and on odd ranks."""
    ends = {"s": lambda rank: f"s{(rank + 1) % world}", "r": lambda rank: f"r{(rank - 1) % world}"}
    return [" ".join(ends[kind](rank) for _ in range(2) for kind in order[rank % 2]) for rank in range(world)]


@pytest.mark.parametrize("world", [2, 4, 6])
def test_every_other_rank_first_is_right(world):
    """One end of each message begins with it."""
    assert fault(*around(world, ("sr", "rs"))) is None
    assert fault(*around(world, ("rs", "sr"))) is None


@pytest.mark.parametrize("world", [2, 3, 4, 5])
@pytest.mark.parametrize("order", RING.values(), ids=RING)
def test_all_ranks_alike_would_wait(world, order):
    """Two meet in the same connection with the same end of it; more never get as far."""
    outcome, message, where = fault(*around(world, (order, order)))
    assert outcome is Outcome.DEADLOCK
    assert where == 1
    assert all(f"rank {rank} at line 1" in message for rank in range(world))
    assert ("each other first" in message) is (world == 2)


def test_the_first_message_that_does_not_fit_is_told():
    """After two that do; rank 0's fourth line meets rank 1's third."""
    outcome, message, where = fault("s1 r1 r2 r1", "r0 s0 r0", "s0")
    assert outcome is Outcome.DEADLOCK
    assert "rank 0 at line 4, rank 1 at line 3" in message
    assert where == 4


def test_batches_alone_are_right():
    """They leave nothing to be told."""
    assert fault("", "", "") is None


def test_a_chain_is_right_from_either_end():
    """Whoever waits, waits for one who comes."""
    assert fault("s1", "r0 s2", "r1 s3", "r2") is None
    assert fault("s1", "s2 r0", "s3 r1", "r2") is None


def test_pairs_may_meet_in_any_common_order():
    """Three ranks that agree on who meets when."""
    for first, second, third in itertools.permutations(((0, 1), (0, 2), (1, 2))):
        ranks = [[], [], []]
        for low, high in (first, second, third):
            ranks[low].append(f"s{high}")
            ranks[high].append(f"r{low}")
        assert fault(*map(" ".join, ranks)) is None


def test_groups_have_connections_of_their_own():
    """The same two ranks in another group are another pair."""
    told = [
        [("a", True, 1), ("b", False, 1)],
        [("b", True, 0), ("a", False, 0)],
    ]
    answers = [
        {"singles": [{"group": group, "is_send": is_send, "peer": peer, "line": 7} for group, is_send, peer in own]}
        for own in told
    ]
    outcome, message, _ = order_fault([Call(), Call()], answers)
    assert outcome is Outcome.DEADLOCK
    assert "none would ever begin" in message


def test_a_message_that_nobody_takes_is_no_matter_of_order():
    """What it comes to is seen elsewhere: gloo waited for it, or it was so short that it needed nobody."""
    assert fault("s1", "") is None
