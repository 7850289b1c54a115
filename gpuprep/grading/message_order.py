"""Messages that gloo lets pass and NCCL does not.

gloo takes each message by itself. NCCL, as torch uses it, has a connection for every pair of ranks that exchange
messages outside of a batch. It is made when the first of them is sent or received, and both ranks wait for that; what
goes through it is done in the order of the calls, sends and receives alike. So a call that ends on gloo may never end
on cards: all ranks that begin with a message to the next one; two that both receive first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gpuprep.grading.answers import Asked
from gpuprep.model import CaseResult, Diagnosis, Outcome
from gpuprep.work import MAX_SINGLES

Answer = Mapping[str, Any]
Pair = tuple[str, int, int]
"""A group, and two of its ranks."""

_BATCH = Diagnosis(
    "message_order",
    "What goes between two ranks, NCCL does in the order of the calls. Put all messages of a step, those that go out "
    "and those that come in, into one dist.batch_isend_irecv: they start together, in whatever order they stand there. "
    "Or let every other rank receive before it sends.",
)


def order_fault(asked: Sequence[Asked], answers: Sequence[Answer]) -> CaseResult | None:
    """What of a call on gloo would wait for ever on cards; None where nothing would.

    Args:
        asked: each rank's call.
        answers: what each rank told of it, of its messages outside of batches among other things.
    """
    singles = [answer["singles"][:MAX_SINGLES] for answer in answers]
    found = _unmet(singles) or _out_of_order(singles)
    if found is None:
        return None
    lines, why = found
    first, places = min(lines), ", ".join(f"rank {rank} at line {line}" for rank, line in sorted(lines.items()))
    message = f"this ends on gloo, but on GPUs {why}: {places}"
    return asked[first].failed(Outcome.DEADLOCK, message, diagnosis=_BATCH, where=asked[first].line(lines[first]))


def _pair(rank: int, single: Mapping[str, Any]) -> Pair:
    low, high = sorted((rank, int(single["peer"])))
    return str(single["group"]), low, high


def _unmet(singles: Sequence[Sequence[Mapping[str, Any]]]) -> tuple[dict[int, int], str] | None:
    """Ranks that make connections in such an order that none is ever made."""
    waiting: list[dict[Pair, int]] = [{} for _ in singles]
    for rank, own in enumerate(singles):
        for single in own:
            waiting[rank].setdefault(_pair(rank, single), int(single["line"]))
    while True:
        first = [next(iter(own), None) for own in waiting]
        # A pair whose other rank has no such message is no matter of order.
        made = {
            pair
            for rank, pair in enumerate(first)
            if pair is not None and all(first[end] == pair or pair not in waiting[end] for end in pair[1:])
        }
        if not made:
            break
        waiting = [{pair: line for pair, line in own.items() if pair not in made} for own in waiting]
    lines = {rank: own[pair] for rank, (own, pair) in enumerate(zip(waiting, first, strict=True)) if pair is not None}
    why = "none would ever begin: each waits for a rank that waits for another"
    return (lines, why) if lines else None


def _out_of_order(singles: Sequence[Sequence[Mapping[str, Any]]]) -> tuple[dict[int, int], str] | None:
    """Two ranks that both send to each other, or both receive, as their n-th message."""
    through: dict[Pair, dict[int, list[tuple[bool, int]]]] = {}
    for rank, own in enumerate(singles):
        for single in own:
            ends = through.setdefault(_pair(rank, single), {})
            ends.setdefault(rank, []).append((bool(single["is_send"]), int(single["line"])))
    for (_, low, high), ends in through.items():
        for (is_send, line), (sends_too, other_line) in zip(ends.get(low, ()), ends.get(high, ()), strict=False):
            if is_send == sends_too:
                does = "send to" if is_send else "receive from"
                return {low: line, high: other_line}, f"both would wait for ever: they {does} each other first"
    return None
