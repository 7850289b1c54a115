"""What races in a small kernel, by brute force: a program description, its CUDA text, and the pairs that race in it.

A `Kernel` is described once, as statements. From the same description come the CUDA text (`write_source`) and the
accesses of every thread (`judge`), because no branch, index or stored value depends on what a load returned. Only one
thing depends on timing, which block draws the last ticket; every choice of it is tried.

**Conflict.** Two accesses of different threads to one element, at least one of which writes. An atomic and a plain
access do conflict; two atomics only where a scope is too narrow: `atomicAdd_block` from different blocks. Two volatile
accesses order nothing, but PTX calls them no race: they are left undecided.

**Order.** What is certain (`strict`) under CUDA's memory model, and what at most could be (`lax`):

- program order within a thread;
- a block's k-th barrier: all that its threads did before it comes before all that they do after it;
- `__syncwarp(mask)`, likewise, among the lanes in the mask. Shuffles and votes order nothing, nor does a fence alone;
- fence and atomic together, across warps and blocks: what comes before a fence F that is followed, in its thread, by an
  atomic A comes before what follows a fence F' after an atomic A' that reads what A wrote or a later update of it.
  Between blocks the fences must be `__threadfence` and the atomics of device scope. Strictly this orders only the last
  block of a ticket: its atomic is known to come last. Laxly, any two atomics on an element may have run in the order
  that hides the race, F' may be missing, and F may stand in another thread of the block, behind a barrier.

**Race.** A conflict that is not ordered. It is an error between blocks and between warps, a warning within a warp, and
a note where both are stores of one and the same value. `Verdict.possible` holds every pair of lines that race under the
strict order in some run: a finding outside it is a false positive. `Verdict.certain` holds the pairs that race under
the lax order in every run, and whose accesses no compiler may drop, as repeated in the same thread between the same two
calls, or as stores to a shared array that nobody reads: a kernel with one must be reported.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from types import CodeType

from cuda_race_program import (
    IS_LAST,
    TICKET,
    WARP,
    Access,
    Array,
    For,
    If,
    IfLast,
    Kernel,
    Return,
    Statement,
    Sync,
    TakeTicket,
    Update,
    statements,
)

ERROR, WARNING, NOTE = "error", "warning", "note"


@dataclass(frozen=True)
class Verdict:
    """The races of a kernel: (lower line, higher line) → severities."""

    possible: dict[tuple[int, int], set[str]]
    certain: dict[tuple[int, int], set[str]]

    @property
    def worst(self) -> str:
        """The worst severity that is certain; empty where nothing is."""
        severities = {severity for each in self.certain.values() for severity in each}
        return next((severity for severity in (ERROR, WARNING, NOTE) if severity in severities), "")


# What the threads do


@dataclass(frozen=True, slots=True, eq=False)
class _Event:
    """One access, fence or atomic of one thread, with the clocks that say what comes before it."""

    kind: str  # load, store, atomic, fence
    block: int
    thread: int
    order: int
    """Place in the thread's own order."""
    clocks: tuple[int, ...]
    """Per thread of the block, the last of its intervals that is known to come before; its own is the current one."""
    place: tuple[str, int, int] | None = None
    """Array, block (-1 for global memory) and element."""
    value: int | None = None
    line: int = 0
    is_block_scope: bool = False
    is_ticket: bool = False
    is_volatile: bool = False


class StuckError(Exception):
    """A synchronisation that some of its threads never reach, or an index outside its array: no kernel to judge."""


@lru_cache(maxsize=4096)
def _compiled(expression: str) -> CodeType:
    return compile(expression.replace("/", "//").replace("&&", " and "), "<expression>", "eval")


def _evaluate(expression: str, names: dict[str, int]) -> int:
    return int(eval(_compiled(expression), {"__builtins__": {}}, names))  # noqa: S307 (our own expressions)


_Step = tuple[str, dict[str, object]]


def _steps(body: list[Statement], names: dict[str, int], is_last: bool) -> Iterator[_Step]:
    """What one thread does, in order; returns True through StopIteration where it left the kernel."""
    for each in body:
        match each:
            case Access():
                index, value = _evaluate(each.index, names), _evaluate(each.value, names)
                if each.n_elements == 2 and index % 2:
                    raise StuckError("an odd uint2")
                for offset in range(each.n_elements):
                    yield each.kind, {"array": each.array, "index": index + offset, "value": value, "line": each.line,
                                      "is_block_scope": each.is_block_scope,
                                      "is_volatile": each.is_volatile}  # fmt: skip
            case Update():
                index, source = _evaluate(each.index, names), _evaluate(each.source, names)
                for kind, element in (("load", source), ("load", index), ("store", index)):
                    yield kind, {"array": each.array, "index": element, "value": None, "line": each.line}
            case Sync():
                yield each.kind, {"mask": each.mask, "is_block_scope": each.is_block_scope}
            case TakeTicket():
                yield "atomic", {"array": Array(TICKET, 1, False), "index": 0, "line": each.line, "is_ticket": True}
                yield "store", {"array": Array(IS_LAST, 1, True), "index": 0, "value": int(is_last), "line": each.line}
            case If():
                branch = each.then if _evaluate(each.condition, names) else each.otherwise
                yield from _steps(branch, names, is_last)
            case IfLast():
                yield "load", {"array": Array(IS_LAST, 1, True), "index": 0, "line": each.line}
                if is_last:
                    yield from _steps(each.then, names, is_last)
            case For():
                for i in range(_evaluate(each.count, names)):
                    yield from _steps(each.body, names | {each.variable: i}, is_last)
            case Return():
                if _evaluate(each.condition, names):
                    yield "return", {}


def _run_block(kernel: Kernel, block: int, last_block: int) -> list[_Event]:
    """Every thread of the block up to its next synchronisation, then those whose threads are all there; and so on."""
    n = kernel.n_threads
    steps = []
    for t in range(n):
        names = {"t": t, "lane": t % WARP, "warp": t // WARP, "b": block, "T": n, "G": kernel.n_blocks}
        steps.append(_steps(kernel.body, names, block == last_block))
    clocks = [[0] * n for _ in range(n)]
    frozen: list[tuple[int, ...] | None] = [None] * n
    for t in range(n):
        clocks[t][t] = 1
    orders, events = [0] * n, []
    waiting: dict[int, tuple[str, int]] = {}
    alive = set(range(n))
    ready = list(range(n))
    while alive:
        for t in ready:
            for kind, what in steps[t]:
                if kind == "warp" and not int(what["mask"]) >> t % WARP & 1:  # type: ignore[call-overload]
                    raise StuckError(f"{kernel.name}: lane {t % WARP} is not in its own mask")
                if kind in ("block", "warp"):
                    waiting[t] = (kind, int(what["mask"]) if kind == "warp" else 0)  # type: ignore[call-overload]
                    break
                if kind == "return":
                    alive.discard(t)
                    break
                if kind == "shuffle":
                    continue
                if frozen[t] is None:
                    frozen[t] = tuple(clocks[t])
                events.append(_event(kind, what, block, t, orders[t], frozen[t]))
                orders[t] += 1
                if kind in ("fence", "atomic"):  # an interval ends here: what follows can be ordered apart
                    clocks[t][t] += 1
                    frozen[t] = None
            else:
                alive.discard(t)
        ready = []
        for group in _complete(waiting, alive):
            joined = [max(column) for column in zip(*(clocks[t] for t in group), strict=True)]
            for t in group:
                clocks[t] = joined.copy()
                clocks[t][t] += 1
                frozen[t] = None
                del waiting[t]
            ready += group
        if alive and not ready:
            raise StuckError(f"{kernel.name}: threads {sorted(alive)} wait for ever")
    return events


def _event(kind: str, what: dict, block: int, t: int, order: int, clocks: tuple[int, ...] | None) -> _Event:
    assert clocks is not None
    if kind == "fence":
        return _Event(kind, block, t, order, clocks, is_block_scope=what["is_block_scope"])
    array: Array = what["array"]
    if not 0 <= what["index"] < array.n_elements:
        raise StuckError(f"{array.name}[{what['index']}] of {array.n_elements}")
    value = what.get("value")
    if value is not None:
        value %= 1 << (8 * array.element_bytes)
    place = (array.name, block if array.is_shared else -1, what["index"])
    is_block_scope = what.get("is_block_scope", False)
    flags = {"is_ticket": "is_ticket" in what, "is_volatile": what.get("is_volatile", False)}
    return _Event(kind, block, t, order, clocks, place, value, what["line"], is_block_scope, **flags)


def _complete(waiting: dict[int, tuple[str, int]], alive: set[int]) -> list[list[int]]:
    """The groups of threads whose synchronisation has everybody that it waits for."""
    groups: dict[tuple[int, int], list[int]] = defaultdict(list)
    for t, (kind, mask) in sorted(waiting.items()):
        groups[(-1, 0) if kind == "block" else (t // WARP, mask)].append(t)
    complete = []
    for (warp, mask), group in groups.items():
        needed = alive if warp < 0 else {t for t in alive if t // WARP == warp and mask >> t % WARP & 1}
        if needed <= set(group):
            complete.append(group)
    return complete


# Which of them race


def _comes_before(a: _Event, b: _Event) -> bool:
    """Program order, barriers and __syncwarp alone."""
    if a.block != b.block:
        return False
    if a.thread == b.thread:
        return a.order < b.order
    return b.clocks[a.thread] >= a.clocks[a.thread]


class _StrictOrder:
    """`_comes_before`, and what the last ticket is certain to come after."""

    def __init__(self, events: list[_Event], last_block: int) -> None:
        tickets = [event for event in events if event.is_ticket]
        fences = [event for event in events if event.kind == "fence" and not event.is_block_scope]
        self._releases = [
            (fence.block, fence)
            for fence in fences
            for ticket in tickets
            if ticket.block != last_block and _same_thread(fence, ticket) and fence.order < ticket.order
        ]
        self._acquires = [
            fence
            for fence in fences
            for ticket in tickets
            if ticket.block == last_block and _same_thread(fence, ticket) and fence.order > ticket.order
        ]

    def orders(self, a: _Event, b: _Event) -> bool:
        """Whether either comes before the other."""
        return _comes_before(a, b) or _comes_before(b, a) or self._is_carried(a, b) or self._is_carried(b, a)

    def _is_carried(self, a: _Event, b: _Event) -> bool:
        return any(_comes_before(a, fence) for block, fence in self._releases if block == a.block) and any(
            _comes_before(fence, b) for fence in self._acquires
        )


_Key = tuple[tuple[str, int, int], int]


class _LaxOrder:
    """`_comes_before`, and whatever fences and atomics could carry if the atomics had run in a fitting order.

    A key is an element and where its atomics can be heard: -1 everywhere, else in one block.
    """

    def __init__(self, events: list[_Event]) -> None:
        self._fences = [event for event in events if event.kind == "fence"]
        self._heard: dict[_Key, list[_Event]] = defaultdict(list)
        self._reached: dict[tuple[int, int, int], frozenset[_Key]] = {}
        if not self._fences:
            return
        atomics = [event for event in events if event.kind == "atomic"]
        for atomic in atomics:
            assert atomic.place is not None
            self._heard[atomic.place, atomic.block].append(atomic)
            if not atomic.is_block_scope:
                self._heard[atomic.place, -1].append(atomic)
        self._said: dict[_Event, set[_Key]] = {fence: set() for fence in self._fences}
        for fence in self._fences:
            for atomic in atomics:
                if _comes_before(fence, atomic) and atomic.place is not None:
                    self._said[fence].add((atomic.place, fence.block))
                    if not fence.is_block_scope and not atomic.is_block_scope:
                        self._said[fence].add((atomic.place, -1))
        self._next = {key: self._said_after(heard) for key, heard in self._heard.items()}

    def _said_after(self, events: list[_Event]) -> set[_Key]:
        after = (fence for fence in self._fences if any(_comes_before(event, fence) for event in events))
        return {key for fence in after for key in self._said[fence]}

    def orders(self, a: _Event, b: _Event) -> bool:
        """Whether either could come before the other."""
        if _comes_before(a, b) or _comes_before(b, a):
            return True
        return bool(self._fences) and (self._is_carried(a, b) or self._is_carried(b, a))

    def _is_carried(self, a: _Event, b: _Event) -> bool:
        interval = (a.block, a.thread, a.clocks[a.thread])
        if interval not in self._reached:
            keys, todo = set[_Key](), self._said_after([a])
            while todo:
                keys |= todo
                todo = {following for key in todo for following in self._next[key]} - keys
            self._reached[interval] = frozenset(keys)
        return any(
            entry is b or _comes_before(entry, b) for key in self._reached[interval] for entry in self._heard[key]
        )


def _same_thread(a: _Event, b: _Event) -> bool:
    return (a.block, a.thread) == (b.block, b.thread)


def _conflict(a: _Event, b: _Event) -> bool:
    if _same_thread(a, b) or (a.kind == "load" and b.kind == "load"):
        return False
    if a.kind == "atomic" and b.kind == "atomic":
        return a.block != b.block and (a.is_block_scope or b.is_block_scope)
    return True


def _are_strong(a: _Event, b: _Event) -> bool:
    """Volatile or atomic, both of them, and not for the scope of an atomic."""
    return all(event.is_volatile or event.kind == "atomic" for event in (a, b)) and (a.is_volatile or b.is_volatile)


def _severity(a: _Event, b: _Event) -> str:
    if a.kind == "store" and b.kind == "store" and a.value is not None and a.value == b.value:
        return NOTE
    return WARNING if a.block == b.block and a.thread // WARP == b.thread // WARP else ERROR


def _removable(accesses: list[_Event]) -> set[_Event]:
    """Of one element: loads after an access, and stores before a store, in the same thread and interval."""
    intervals: dict[tuple[int, int, int], list[_Event]] = defaultdict(list)
    for event in accesses:
        intervals[event.block, event.thread, event.clocks[event.thread]].append(event)
    removable: set[_Event] = set()
    for events in intervals.values():
        events.sort(key=lambda event: event.order)
        plain = [event for event in events if event.kind != "atomic" and not event.is_volatile]
        removable.update(event for event in plain[1:] if event.kind == "load")
        removable.update([event for event in plain if event.kind == "store"][:-1])
    return removable


def _pairs(accesses: list[_Event], order: _StrictOrder) -> Iterator[tuple[_Event, _Event]]:
    """The pairs of one element that race."""
    for a, b in combinations(accesses, 2):
        if _conflict(a, b) and not order.orders(a, b):
            yield a, b


def judge(kernel: Kernel) -> Verdict:
    """All races of a kernel whose text was written.

    Raises:
        StuckError: where the kernel is none: a divergent barrier, an index out of bounds.
    """
    has_ticket = any(isinstance(each, TakeTicket) for each in statements(kernel.body))
    possible: dict[tuple[int, int], set[str]] = defaultdict(set)
    certain: list[dict[tuple[int, int], set[str]]] = []
    for last_block in range(kernel.n_blocks) if has_ticket else (-1,):
        events = [event for block in range(kernel.n_blocks) for event in _run_block(kernel, block, last_block)]
        places: dict[tuple[str, int, int], list[_Event]] = defaultdict(list)
        for event in events:
            if event.place is not None:
                places[event.place].append(event)
        used = {event.place[0] for event in events if event.place is not None and event.kind != "store"}
        strict, lax = _StrictOrder(events, last_block), _LaxOrder(events)
        found: dict[tuple[int, int], set[str]] = defaultdict(set)
        for (name, block, _), accesses in places.items():
            if len({event.kind for event in accesses}) == 1 and accesses[0].kind == "load":
                continue
            is_used = name in used or block < 0
            removable = _removable(accesses) if is_used else set(accesses)
            for a, b in _pairs(accesses, strict):
                lines = (min(a.line, b.line), max(a.line, b.line))
                severity = _severity(a, b)
                possible[lines].add(severity)
                if (
                    severity not in found[lines]
                    and not {a, b} & removable
                    and not _are_strong(a, b)
                    and not lax.orders(a, b)
                ):
                    found[lines].add(severity)
        certain.append(found)
    worst = min((_rank(found) for found in certain), default=0)
    in_every_run = {lines: each for found in certain if _rank(found) == worst for lines, each in found.items() if each}
    return Verdict(dict(possible), in_every_run)


def _rank(found: dict[tuple[int, int], set[str]]) -> int:
    severities = {severity for each in found.values() for severity in each}
    return next((rank for rank, each in ((3, ERROR), (2, WARNING), (1, NOTE)) if each in severities), 0)
