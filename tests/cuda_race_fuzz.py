"""Random small kernels for the race detector: clean by construction, until a mutation or two may break them.

A kernel is a sequence of phases. In each, every shared array has one use that needs no order between threads: read by
all, owned by one thread an element, owned by a warp with `__syncwarp` between its steps, updated by atomics, reduced by
a tree. Phases end with a barrier. Global arrays keep one use for the whole kernel, since nothing orders blocks but the
ticket of the last one. A mutation drops or weakens a synchronisation, moves an index, opens a guard, makes an atomic
plain, or adds an access. What races then is for the oracle to say (cuda_race_oracle.py), not for this module.

    python tests/cuda_race_fuzz.py SEED [COUNT]

prints the kernels of a seed with their verdicts.
"""

from __future__ import annotations

import copy
import random
import sys
from collections.abc import Iterator

from cuda_race_oracle import StuckError, Verdict, judge
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
    write_source,
)

BLOCKS = ((32, 1), (64, 1), (64, 1), (96, 1), (48, 1), (16, 4), (8, 6), (16, 1))
GUARDS = ("t < T / 2", "t % 2 == 0", "warp == 0", "lane < 16", "t == 0", "t != 0", "lane == 0", "t >= 32", "b == 0")
KERNELS_A_SEED = 20


class Maker:
    """Makes one kernel from a random stream."""

    def __init__(self, rng: random.Random, name: str) -> None:
        self.rng = rng
        self.block = rng.choice(BLOCKS)
        self.n_threads = self.block[0] * self.block[1]
        self.n_blocks = rng.choice((1, 1, 2, 2, 3))
        self.name = name
        self.loops: list[str] = []
        n = self.n_threads
        width = rng.choice((4, 4, 4, 4, 1, 2, 8))
        self.shared = [Array("s", n * rng.choice((1, 1, 2)), True, rng.choice((4, 4, 4, 4, 1, 2, 8)))]
        if rng.random() < 0.6:  # its type is part of its name: one file has one `extern` array of a name
            self.shared.append(Array(f"dynamic_{width}", n * rng.choice((1, 1, 2)), True, width, is_dynamic=True))
        whole = self.n_blocks * n
        self.owned = Array("g_owned", whole, False, rng.choice((4, 4, 4, 1, 2, 8)))
        self.counts = Array("g_counts", 8, False, 4)
        self.inputs = Array("g_in", whole, False, 4)

    # Expressions

    def offset(self) -> int:
        """A distance between threads; often such that it leaves the warp."""
        return self.rng.choice((1, 1, 2, 5, 16, 31, 32, 33, self.n_threads - 1)) % self.n_threads or 1

    def permutation(self) -> str:
        """One element a thread."""
        choices = ["t", "t", "T - 1 - t", f"(t + {self.offset()}) % T"]
        if self.n_threads & (self.n_threads - 1) == 0:
            choices.append(f"t ^ {self.offset() & (self.n_threads - 1)}")
        return self.rng.choice(choices)

    def anywhere(self, n_elements: int) -> str:
        """Some element."""
        choices = [
            f"(t + {self.offset()}) % {n_elements}",
            f"{self.rng.choice((2, 3, 5))} * t % {n_elements}",
            f"{self.rng.randrange(n_elements)}",
            f"t / {self.rng.choice((2, 4, 32))} % {n_elements}",
            f"(t ^ {self.rng.choice((1, 2, 8, 16, 32))}) % {n_elements}",
            f"(warp * 32 + {self.rng.randrange(32)}) % {n_elements}",
            f"lane % {n_elements}",
        ]
        choices += [f"(t + {loop} * {self.offset()}) % {n_elements}" for loop in self.loops]
        return self.rng.choice(choices)

    def global_anywhere(self) -> str:
        """Some element of an array with one a thread of the grid."""
        whole = self.n_blocks * self.n_threads
        return self.rng.choice((self.anywhere(whole), f"(b * T + t + {self.offset()}) % {whole}", "b * T"))

    def value(self) -> str:
        """What is stored: rarely the same from every thread."""
        choices = ["t + 1", "3 * t + b + 1", "t * 2 + 7", "lane + 1", "7", "b + 1"]
        choices += [f"t + {loop}" for loop in self.loops]
        return self.rng.choice(choices)

    # Phases

    def read_phase(self, array: Array) -> list[Statement]:
        """Everybody reads."""
        reads: list[Statement] = [
            Access("load", array, self.anywhere(array.n_elements)) for _ in range(self.rng.choice((1, 1, 2)))
        ]
        if array.element_bytes == 4 and self.rng.random() < 0.15:
            reads.append(Access("load", array, "t / 2 * 2", n_elements=2))
        return [If(self.rng.choice(GUARDS), reads)] if self.rng.random() < 0.2 else reads

    def own_phase(self, array: Array) -> list[Statement]:
        """One element, or two, a thread."""
        if array.n_elements == 2 * self.n_threads and self.rng.random() < 0.6:
            if array.element_bytes == 4 and self.rng.random() < 0.5:
                return [Access("store", array, "2 * t", self.value(), 2)]
            return [Access("store", array, f"2 * t + {k}", self.value()) for k in (0, 1)]
        index = self.permutation()
        body: list[Statement] = [Access("store", array, index, self.value())]
        if self.rng.random() < 0.3:
            body.insert(0, Access("load", array, index))
        if self.rng.random() < 0.2:
            body.append(Update(array, index, index))
        return [If(self.rng.choice(GUARDS), body)] if self.rng.random() < 0.3 else body

    def atomic_phase(self, array: Array) -> list[Statement]:
        """Everybody updates."""
        n_bins = self.rng.choice((1, 4, array.n_elements))
        index = self.anywhere(min(n_bins, array.n_elements))
        is_block_scope = array.is_shared and self.rng.random() < 0.3
        return [Access("atomic", array, index, self.value(), is_block_scope=is_block_scope)]

    def warp_phase(self, array: Array) -> list[Statement]:
        """A warp's own elements, handed around between its lanes; sometimes by each half of the warp for itself."""
        limit = 16 if self.n_threads % WARP else 32
        distance = self.rng.choice([k for k in (1, 2, 4, 8, 16) if k < limit])
        if self.rng.random() < 0.3:
            limit, distance = 16, min(distance, 8)
            masks = (0x0000FFFF, 0xFFFF0000)
        else:
            masks = (0xFFFFFFFF,)

        def steps(mask: int) -> list[Statement]:
            body: list[Statement] = [
                Access("store", array, "t", self.value()),
                Sync("warp", mask),
                Access("load", array, f"t ^ {distance}"),
            ]
            if self.rng.random() < 0.5:
                body += [Sync("warp", mask), Update(array, "t", "t")]
            if self.rng.random() < 0.3 and mask == 0xFFFFFFFF and self.n_threads % WARP == 0:
                body.append(Sync("shuffle"))
            return body

        if len(masks) == 1:
            return steps(masks[0])
        return [If("lane < 16", steps(masks[0]), steps(masks[1]))]

    def tree_phase(self, array: Array) -> list[Statement]:
        """A reduction: half of the threads add the other half's elements, again and again."""
        width = 1 << (self.n_threads.bit_length() - 1)
        body: list[Statement] = []
        half = width // 2
        while half >= self.rng.choice((1, 1, 4)) and half:
            is_in_warp = half < WARP and self.rng.random() < 0.5
            step: list[Statement] = [If(f"t < {half}", [Update(array, "t", f"t + {half}")])]
            body += [*step, Sync("warp") if is_in_warp else Sync("block")]
            half //= 2
        return body

    def shared_phase(self) -> list[Statement]:
        """One interval between two barriers."""
        body: list[Statement] = []
        for array in self.shared:
            make = self.rng.choice(
                (self.read_phase, self.read_phase, self.own_phase, self.own_phase, self.atomic_phase, self.warp_phase)
            )
            if self.rng.random() < 0.12:
                make = self.tree_phase
            if make == self.atomic_phase and array.element_bytes not in (4, 8):
                make = self.own_phase
            body += make(array)
        if self.rng.random() < 0.5:
            body += self.global_phase()
        if self.rng.random() < 0.1:
            body.append(Sync("fence", is_block_scope=self.rng.random() < 0.5))
        return body

    def global_phase(self) -> list[Statement]:
        """A use of global memory that needs no order."""
        draw = self.rng.random()
        if draw < 0.4:
            body: list[Statement] = [Access("store", self.owned, f"b * T + ({self.permutation()})", self.value())]
            return [*body, Access("load", self.owned, body[0].index)] if self.rng.random() < 0.3 else body  # type: ignore[union-attr]
        if draw < 0.7:
            return [Access("load", self.inputs, self.global_anywhere())]
        return [Access("atomic", self.counts, self.anywhere(8), self.value())]

    # The whole

    def ticket(self) -> list[Statement]:
        """Blocks publish, draw a ticket, and the last one reads what all have published."""
        whole = self.n_blocks * self.n_threads
        fences: list[Statement] = [Sync("fence")]
        take: list[Statement] = [
            Access("store", self.owned, "b * T + t", "t + b + 1"),
            *(fences if self.rng.random() < 0.4 else []),
            Sync("block"),
            If("t == 0", [Sync("fence"), TakeTicket(), Sync("fence")]),
            Sync("block"),
        ]
        read = Access("load", self.owned, f"(t + i * {self.n_threads}) % {whole}")
        return [*take, IfLast([For("i", "G", [read])])]

    def kernel(self) -> Kernel:
        """A clean kernel."""
        body: list[Statement] = []
        for array in self.shared:
            rounds = range(array.n_elements // self.n_threads)
            body += [Access("store", array, f"t + {k} * T" if k else "t", f"t + {k + 1}") for k in rounds]
        body.append(Sync("block"))
        for _ in range(self.rng.choice((1, 2, 2, 3))):
            if self.rng.random() < 0.25:
                self.loops = ["i"]
                phase = self.shared_phase()
                self.loops = []
                body.append(For("i", self.rng.choice(("2", "3")), [*phase, Sync("block")]))
            else:
                body += [*self.shared_phase(), Sync("block")]
        # A compiler drops an array that nobody reads.
        body += [Access("load", array, "t") for array in self.shared]
        arrays = [*self.shared, self.owned, self.counts, self.inputs]
        if self.rng.random() < 0.2:
            body += self.ticket()
            arrays += [Array(TICKET, 1, False), Array(IS_LAST, 1, True)]
        elif self.rng.random() < 0.1:
            body += [Return("t >= T / 2"), *self.global_phase()]
        return Kernel(self.name, self.n_blocks, self.block, arrays, body)

    # Mutations

    def mutate(self, kernel: Kernel) -> Kernel:
        """A copy with one change."""
        arrays = {id(array): array for array in kernel.arrays}
        mutant = copy.deepcopy(kernel, arrays)
        bodies = list(_bodies(mutant.body))
        syncs = [(body, i) for body in bodies for i, each in enumerate(body) if isinstance(each, Sync)]
        accesses = [each for each in statements(mutant.body) if isinstance(each, Access)]
        draw = self.rng.random()
        if draw < 0.4 and syncs:
            self._weaken(*self.rng.choice(syncs))
        elif draw < 0.55:
            access = self.rng.choice(accesses)
            access.index = self._moved(access)
        elif draw < 0.65:
            self._change_kind(self.rng.choice(accesses))
        elif draw < 0.75:
            self._insert(self.rng.choice(bodies))
        elif draw < 0.85:
            body = self.rng.choice(bodies)
            if len(body) > 1:
                i = self.rng.randrange(len(body) - 1)
                body[i], body[i + 1] = body[i + 1], body[i]
        else:
            guarded = [each for each in statements(mutant.body) if isinstance(each, If) and not _synchronises(each)]
            if guarded:
                self.rng.choice(guarded).condition = self.rng.choice((*GUARDS, "t >= 0"))
        return mutant

    def _weaken(self, body: list[Statement], i: int) -> None:
        sync = body[i]
        assert isinstance(sync, Sync)
        replacements = {"block": (Sync("warp"), Sync("fence")), "fence": (Sync("fence", is_block_scope=True),)}
        options = replacements.get(sync.kind, ())
        if sync.kind == "block" and self.n_threads % WARP == 0:
            options = (*options, Sync("shuffle"))
        if options and self.rng.random() < 0.5:
            body[i] = self.rng.choice(options)
        else:
            del body[i]

    def _moved(self, access: Access) -> str:
        if access.n_elements == 2:
            return f"({access.index} + 2 * {self.rng.choice((1, 16))}) % {access.array.n_elements}"
        if access.array.is_shared:
            return self.anywhere(access.array.n_elements)
        return self.global_anywhere() if access.array.n_elements > 8 else self.anywhere(8)

    def _change_kind(self, access: Access) -> None:
        if access.kind == "atomic" and self.rng.random() < 0.4:
            access.is_block_scope = not access.is_block_scope
        elif access.n_elements == 1 and access.array.element_bytes in (4, 8):
            if self.rng.random() < 0.15 and access.kind != "atomic":
                access.is_volatile = True
            else:
                access.kind = self.rng.choice([kind for kind in ("load", "store", "atomic") if kind != access.kind])

    def _insert(self, body: list[Statement]) -> None:
        array = self.rng.choice([*self.shared, *self.shared, self.owned, self.inputs, self.counts])
        kinds = ("load", "load", "store", "atomic") if array.element_bytes in (4, 8) else ("load", "store")
        access = Access(self.rng.choice(kinds), array, "0", self.value())
        access.index = self._moved(access)
        body.insert(self.rng.randrange(len(body) + 1), If(self.rng.choice(GUARDS), [access]))


def _bodies(body: list[Statement]) -> Iterator[list[Statement]]:
    yield body
    for each in body:
        for inner in ("then", "otherwise", "body"):
            if getattr(each, inner, None):
                yield from _bodies(getattr(each, inner))


def _synchronises(branch: If) -> bool:
    inside = statements([*branch.then, *branch.otherwise])
    return any(isinstance(each, Sync | TakeTicket | IfLast) for each in inside)


def make_kernels(seed: int, count: int = KERNELS_A_SEED) -> list[tuple[Kernel, Verdict]]:
    """Kernels of a seed, each with its verdict; their text must then be taken from `write_source`, as one file."""
    kernels: list[Kernel] = []
    rng = random.Random(seed)
    while len(kernels) < count:
        maker = Maker(rng, f"k{seed}_{len(kernels)}")
        kernel = maker.kernel()
        for _ in range(rng.choice((0, 1, 2, 2, 3))):
            kernel = maker.mutate(kernel)
        write_source([kernel])
        try:
            judge(kernel)
        except StuckError:
            continue
        kernels.append(kernel)
    write_source(kernels)
    return [(kernel, judge(kernel)) for kernel in kernels]


def main() -> None:
    """Prints the kernels of a seed."""
    seed, count = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else KERNELS_A_SEED
    made = make_kernels(seed, count)
    for number, line in enumerate(write_source(kernel for kernel, _ in made).splitlines(), 1):
        sys.stdout.write(f"{number:4} {line}\n")
    for kernel, verdict in made:
        sys.stdout.write(f"{kernel.name} <<<{kernel.n_blocks}, {kernel.block}>>> certain {verdict.certain}")
        sys.stdout.write(f" possible {verdict.possible}\n")


if __name__ == "__main__":
    main()
