"""Faults planted in the reference kernels: each is one honest mistake, with what the grader must make of it.

A fault is a few replacements in the text of a reference. The site, its constants and the harmless choices around it
(block sizes) come from a seed.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Template

from fault_kinds import KINDS, Edit

from gpuprep.curriculum import Curriculum
from gpuprep.model import Report


@dataclass(frozen=True)
class Fault:
    """A planted fault: the source to grade, and the verdicts that are right."""

    kind: str
    exercise: str
    change: str
    source: str
    expect: Mapping[str, frozenset[str]]
    line: int = 0
    """The line that the report must name; 0 where any will do."""

    def is_recognised(self, report: Report) -> bool:
        """True where the outcome is right, and so is what the report gives as the cause."""
        shown = report.first_failure
        wanted = self.expect.get(report.outcome)
        if wanted is None or shown is None:
            return False
        if self.line and (shown.where is None or shown.where.line != self.line):
            return False
        return (shown.diagnosis.id if shown.diagnosis else "") in wanted


def answer(report: Report) -> str:
    """What a report says, in two words: `WRONG_VALUES tail`."""
    shown = report.first_failure
    return f"{report.outcome} {shown.diagnosis.id if shown and shown.diagnosis else '-'}"


def plant(curriculum: Curriculum, kind: str, seed: int) -> Fault:
    """The fault of this kind that belongs to the seed."""
    rng = random.Random(f"{kind} {seed}")
    expect, sites = KINDS[kind]
    # A matmul takes the interpreter several times as long as the others.
    site = rng.choices(sites, weights=[0.3 if site.exercise == "ex_03" else 1.0 for site in sites])[0]
    values = {name: str(rng.choice(choices)) for name, choices in site.choices.items()}
    original = reference(curriculum, site.exercise)
    edits = [(old, Template(new).substitute(values)) for old, new in site.edits]
    source = edited(original, edits)
    line = original[: original.index(edits[0][0])].count("\n") + 1 if site.names_line else 0
    if not site.is_fixed:
        source = resized(source, site.exercise, rng)
    change = "; ".join(f"{old} → {new}" for old, new in edits)
    return Fault(kind, site.exercise, change, source, site.expect or expect, line)


def reference(curriculum: Curriculum, exercise_id: str) -> str:
    """The reference's source."""
    return curriculum.reference_path(curriculum.exercise(exercise_id)).read_text(encoding="utf-8")


def edited(source: str, edits: Sequence[Edit]) -> str:
    """The source with each snippet replaced.

    Raises:
        LookupError: a snippet does not occur exactly once: the reference has changed, and the fault must follow.
    """
    for old, new in edits:
        if source.count(old) != 1:
            raise LookupError(f"occurs {source.count(old)} times: {old}")
        source = source.replace(old, new)
    return source


_SIZES: Mapping[str, tuple[tuple[str, str, Sequence[int]], ...]] = {
    "ex_01": (("block_size = 1024", "block_size = $b", (256, 512, 1024, 2048)),),
    "ex_02": (
        ("block_size = 8192", "block_size = $b", (4096, 8192, 16384)),
        ("n_partials, BLOCK_SIZE=8192", "n_partials, BLOCK_SIZE=$b", (16, 64, 1024, 8192)),
    ),
    "ex_03": (
        ("else (64, 64, 32)", "else (64, 64, $b)", (16, 32, 64)),
        ("else (64, 64, ", "else ($b, 64, ", (64, 128)),
    ),
    "ex_04": (("next_power_of_2(n_cols)", "next_power_of_2(max(n_cols, $b))", (1, 16, 64, 256, 2048)),),
}


def resized(source: str, exercise_id: str, rng: random.Random) -> str:
    """The same kernel with other block sizes, which no verdict may depend on."""
    for old, new, sizes in _SIZES[exercise_id]:
        size = rng.choice(sizes)
        source = source.replace(old, Template(new).substitute(b=size))
    return source
