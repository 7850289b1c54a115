"""The emulator's race detector against a brute-force oracle, on random kernels; the oracle against known answers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from cuda_race_fuzz import make_kernels
from cuda_race_oracle import ERROR, NOTE, WARNING, StuckError, Verdict, judge
from cuda_race_program import (
    IS_LAST,
    TICKET,
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
    write_source,
)

from gpuprep.counters.cuda_emulator import Buffer, Launched, Pointer, Program, build, why_unsupported
from gpuprep.counters.findings import RACE, UNINITIALISED

needs_compiler = pytest.mark.skipif(bool(why_unsupported()), reason=why_unsupported() or "g++ is here")

SAMPLE_SEEDS = range(1000, 1003)
SOAK_SEEDS = range(2000, 2040)
"""Of 20 kernels each."""

GRADES = {NOTE: 1, WARNING: 2, ERROR: 3}
S = Array("s", 64, True)
G = Array("g", 128, False)
BLOCK, WARP, FENCE = Sync("block"), Sync("warp"), Sync("fence")


def load(array: Array, index: str) -> Access:
    """A plain load."""
    return Access("load", array, index)


def store(array: Array, index: str, value: str = "t + 1") -> Access:
    """A plain store; every thread its own value, unless told."""
    return Access("store", array, index, value)


def atomic(array: Array, index: str, is_block_scope: bool = False) -> Access:
    """An atomic addition."""
    return Access("atomic", array, index, is_block_scope=is_block_scope)


def kernel_of(*body: Statement, n_blocks: int = 1, n_threads: int = 64) -> Kernel:
    """A kernel whose statements stand on the lines 8, 9, …; fresh objects, since each remembers its line."""
    arrays = [S, G, Array(TICKET, 1, False), Array(IS_LAST, 1, True)]
    return Kernel("kernel", n_blocks, (n_threads, 1), arrays, list(body))


def certain(kernel: Kernel) -> set[str]:
    """The severities of the kernel's races, where nothing about them is undecided."""
    kernel.body += [Sync("block"), load(S, "t")]  # what nobody reads, a compiler drops
    write_source([kernel])
    verdict = judge(kernel)
    assert verdict.certain == verdict.possible
    return {severity for each in verdict.certain.values() for severity in each}


def publish(*, fence: bool = True, barrier: bool = True, acquire: bool = True, block_fence: bool = False) -> Kernel:
    """Each block stores, draws a ticket, and the last one reads everything; with a step left out."""
    release = [Sync("fence", is_block_scope=block_fence)] if fence else []
    return kernel_of(
        store(G, "b * T + t"),
        *([Sync("block")] if barrier else []),
        If("t == 0", [*release, TakeTicket(), *([Sync("fence")] if acquire else [])]),
        Sync("block"),
        IfLast([load(G, "t"), load(G, "t + 64")]),
        n_blocks=2,
    )


# The oracle


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ([store(S, "t"), load(S, "t")], set()),
        ([store(S, "t"), load(S, "63 - t")], {ERROR}),
        ([store(S, "t"), Sync("block"), load(S, "63 - t")], set()),
        ([store(S, "t"), Sync("fence"), load(S, "63 - t")], {ERROR}),
        ([store(S, "t"), load(S, "t ^ 1")], {WARNING}),
        ([store(S, "t"), Sync("warp"), load(S, "t ^ 1")], set()),
        ([store(S, "t"), Sync("shuffle"), load(S, "t ^ 1")], {WARNING}),
        ([store(S, "t"), Sync("warp"), load(S, "t ^ 32")], {ERROR}),
        ([load(S, "t ^ 1"), load(S, "t ^ 32")], set()),
        ([store(S, "0", "5")], {NOTE}),
        ([store(S, "0")], {WARNING, ERROR}),
        ([store(S, "0", "warp")], {NOTE, ERROR}),
        ([atomic(S, "0")], set()),
        ([atomic(S, "0"), load(S, "t")], {WARNING, ERROR}),
        ([Update(S, "t", "t")], set()),
        ([If("t < 32", [Update(S, "t", "t + 32")])], set()),
        ([If("t % 2 == 0", [store(S, "t"), Sync("warp", 0x55555555)]), load(S, "t / 2 * 2 % 32")], {WARNING, ERROR}),
        ([For("i", "2", [store(S, "t"), Sync("block"), load(S, "t ^ 32")])], {ERROR}),
        ([For("i", "2", [store(S, "t"), Sync("block"), load(S, "t ^ 32"), Sync("block")])], set()),
        ([Return("t >= 32"), store(S, "t"), Sync("block"), load(S, "t ^ 1")], set()),
    ],
)
def test_oracle_knows_one_block(body: list[Statement], expected: set[str]) -> None:
    """Barriers order a block, __syncwarp a warp, program order a thread, and nothing else does."""
    assert certain(kernel_of(*body)) == expected


@pytest.mark.parametrize(
    ("lanes", "mask", "expected"),
    [("lane < 16", 0x0000FFFF, set()), ("lane < 8", 0x000000FF, set()), ("lane < 16", 0xFFFFFFFF, None)],
)
def test_oracle_knows_partial_masks(lanes: str, mask: int, expected: set[str] | None) -> None:
    """__syncwarp waits for the lanes in its mask and orders only them; a lane that never comes is no kernel."""
    kernel = kernel_of(If(lanes, [store(S, "t"), Sync("warp", mask), load(S, "t ^ 1")]), Sync("block"))
    if expected is None:
        with pytest.raises(StuckError):
            judge(kernel)
    else:
        assert certain(kernel) == expected


def test_oracle_knows_that_blocks_are_apart() -> None:
    """Shared memory is each block's own, global memory is everybody's, and no barrier orders blocks."""
    assert certain(kernel_of(store(S, "t"), n_blocks=2)) == set()
    assert certain(kernel_of(store(G, "b * T + t"), n_blocks=2)) == set()
    assert certain(kernel_of(store(G, "b * T + t"), Sync("block"), load(G, "127 - b * T - t"), n_blocks=2)) == {ERROR}
    assert certain(kernel_of(atomic(G, "t"), n_blocks=2)) == set()
    assert certain(kernel_of(atomic(G, "t", is_block_scope=True), n_blocks=2)) == {ERROR}
    assert certain(kernel_of(atomic(G, "t", is_block_scope=True), n_blocks=1)) == set()


def test_oracle_knows_the_last_block() -> None:
    """A fence, an atomic ticket and a fence order what all blocks stored before what the last one reads."""
    assert certain(publish()) == set()
    assert ERROR in certain(publish(fence=False))
    assert ERROR in certain(publish(block_fence=True))


def test_oracle_leaves_what_the_model_does_not_promise_undecided() -> None:
    """Without the reader's fence it works on cards and is promised nowhere: no finding is wrong, none is needed."""
    kernel = publish(acquire=False)
    write_source([kernel])
    verdict = judge(kernel)
    assert verdict.possible
    assert not verdict.certain


def test_oracle_names_the_lines() -> None:
    """A pair of lines for each race, the lower first."""
    first, second = store(S, "t"), load(S, "63 - t")
    write_source([kernel_of(first, BLOCK, WARP, FENCE, store(G, "t"), second)])
    kernel = kernel_of(first, second)
    write_source([kernel])
    assert judge(kernel).certain == {(first.line, second.line): {ERROR}}
    assert second.line == first.line + 1


def test_fuzz_is_seeded_and_mixed() -> None:
    """A seed gives the same kernels each time, and among a few there are clean, racing and merely careless ones."""
    made = [pair for seed in SAMPLE_SEEDS for pair in make_kernels(seed)]
    assert write_source(kernel for kernel, _ in made[:20]) == write_source(
        kernel for kernel, _ in make_kernels(SAMPLE_SEEDS[0])
    )
    kinds = Counter(verdict.worst if verdict.possible else "clean" for _, verdict in made)
    assert kinds["clean"] >= 10
    assert kinds[ERROR] >= 10
    assert kinds[WARNING] >= 5
    assert kinds[""] <= len(made) // 8


# The emulator against the oracle


@dataclass(frozen=True)
class Trial:
    """One kernel, what the oracle says of it and what the emulator found."""

    kernel: Kernel
    verdict: Verdict
    found: dict[tuple[int, int], set[str]]

    def faults(self) -> list[str]:
        """Where the two disagree."""
        told = {severity for each in self.found.values() for severity in each}
        false = [
            f"{self.kernel.name}: {severity} at {lines} is no race"
            for lines, severities in self.found.items()
            for severity in severities
            if not any(GRADES[severity] <= GRADES[each] for each in self.verdict.possible.get(lines, ()))
        ]
        worst = self.verdict.worst
        if worst and worst not in told:
            return [*false, f"{self.kernel.name}: no {worst} was found, but {sorted(told)}; {self.verdict.certain}"]
        return false


def launch(program: Program, kernel: Kernel, *, reverse: bool = False, n_threads: int = 1) -> Launched:
    """Runs a fuzz kernel on buffers that hold different numbers."""
    arrays = [array for array in kernel.arrays if not array.is_shared]
    arrays.append(Array("out", kernel.n_blocks * kernel.n_threads, False))
    memories = [np.arange(1, array.n_elements + 1).astype(f"u{array.element_bytes}") for array in arrays]
    for array, memory in zip(arrays, memories, strict=True):
        if array.name == TICKET:
            memory[:] = 0
    buffers = [
        Buffer(array.name, memory.ctypes.data, memory.nbytes, None)
        for array, memory in zip(arrays, memories, strict=True)
    ]
    return program.launch(
        kernel.name,
        (kernel.n_blocks, 1, 1),
        (*kernel.block, 1),
        [Pointer(index) for index in range(len(buffers))],
        shared_bytes=sum(array.n_elements * array.element_bytes for array in kernel.arrays if array.is_dynamic),
        buffers=buffers,
        reverse=reverse,
        n_threads=n_threads,
    )


def races_of(launched: Launched) -> dict[tuple[int, int], set[str]]:
    """The severities that were reported, by lines."""
    found: dict[tuple[int, int], set[str]] = {}
    for finding in launched.findings:
        if finding.kind == UNINITIALISED:  # true where a mutation took the store away: not what is asked here
            continue
        assert finding.kind == RACE, finding.message
        lines = (min(finding.line, finding.other_line), max(finding.line, finding.other_line))
        found.setdefault(lines, set()).add(finding.severity)
    return found


def trials(seed: int, *, reverse: bool = False, n_threads: int = 1) -> list[Trial]:
    """The kernels of a seed, built as one file and launched one by one."""
    made = make_kernels(seed)
    program = build(write_source(kernel for kernel, _ in made))
    return [
        Trial(kernel, verdict, races_of(launch(program, kernel, reverse=reverse, n_threads=n_threads)))
        for kernel, verdict in made
    ]


@needs_compiler
@pytest.mark.parametrize("seed", SAMPLE_SEEDS)
def test_detector_agrees_with_the_oracle(seed: int) -> None:
    """No finding is false, and a kernel with a race has one of its worst severity, on two lines that do race."""
    assert [fault for trial in trials(seed) for fault in trial.faults()] == []


@needs_compiler
@pytest.mark.soak
@pytest.mark.parametrize("seed", SOAK_SEEDS)
@pytest.mark.parametrize(("reverse", "n_threads"), [(False, 1), (True, 1), (False, 2)])
def test_detector_agrees_with_the_oracle_at_length(seed: int, reverse: bool, n_threads: int) -> None:
    """The same for many more kernels, in either order of the blocks, and on two threads of the operating system."""
    found = trials(seed, reverse=reverse, n_threads=n_threads)
    assert [fault for trial in found for fault in trial.faults()] == []


@needs_compiler
def test_findings_repeat() -> None:
    """A launch that is repeated finds the same."""
    made = make_kernels(SAMPLE_SEEDS[0])
    program = build(write_source(kernel for kernel, _ in made))
    for kernel, _ in made:
        runs = [launch(program, kernel) for _ in range(2)]
        assert all(a.findings == b.findings and a.counts == b.counts for a, b in pairwise(runs))
