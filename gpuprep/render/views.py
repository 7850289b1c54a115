"""The shapes of results that rooms below this one make: `practice` and `authoring` are not imported here."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from gpuprep.exercise import Exercise
from gpuprep.model import Outcome


class Standing(Protocol):
    """What has become of one exercise so far (`practice.standing`)."""

    @property
    def exercise(self) -> Exercise: ...
    @property
    def outcome(self) -> Outcome | None: ...
    @property
    def attempts(self) -> int: ...
    @property
    def is_gold(self) -> bool: ...
    @property
    def is_stale(self) -> bool: ...
    @property
    def at(self) -> str | None: ...
    @property
    def solution_seen(self) -> bool: ...


class Tally(Protocol):
    """How much of a module, a topic or everything is done. `passed` and `provisional` exclude each other."""

    @property
    def id(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def passed(self) -> int: ...
    @property
    def provisional(self) -> int: ...
    @property
    def gold(self) -> int: ...
    @property
    def total(self) -> int: ...


class Overview(Protocol):
    """Where a learner stands (`practice.standing`)."""

    @property
    def standings(self) -> Sequence[Standing]: ...
    @property
    def overall(self) -> Tally: ...
    @property
    def modules(self) -> Sequence[Tally]: ...
    @property
    def topics(self) -> Sequence[Tally]: ...
    @property
    def current(self) -> Standing | None: ...
    @property
    def plan(self) -> str | None: ...
    @property
    def coming(self) -> Sequence[str]: ...


class HintShown(Protocol):
    """One hint and where on the ladder it stands (`practice.hints`)."""

    @property
    def exercise(self) -> Exercise: ...
    @property
    def index(self) -> int: ...
    @property
    def total(self) -> int: ...
    @property
    def text(self) -> str: ...
    @property
    def chosen_for(self) -> str | None: ...


class SolutionShown(Protocol):
    """The reference as a person reads it (`practice.solutions`)."""

    @property
    def path(self) -> Path: ...
    @property
    def text(self) -> str: ...
    @property
    def forced(self) -> bool: ...


class ReproScript(Protocol):
    """A failing input, written out as a script (`practice.repro`)."""

    @property
    def path(self) -> Path: ...
    @property
    def inputs_path(self) -> Path: ...
    @property
    def case_name(self) -> str: ...


class CheckupItem(Protocol):
    """One thing that was looked at (`practice.doctor`)."""

    @property
    def name(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def detail(self) -> str: ...
    @property
    def fix(self) -> str | None: ...


class Checkup(Protocol):
    """Everything that was looked at (`practice.doctor`)."""

    @property
    def items(self) -> Sequence[CheckupItem]: ...
    @property
    def is_healthy(self) -> bool: ...


class ProofItem(Protocol):
    """One claim about a curriculum (`authoring.proof`)."""

    @property
    def claim(self) -> str: ...
    @property
    def subject(self) -> str: ...
    @property
    def holds(self) -> bool: ...
    @property
    def detail(self) -> str: ...


class Proof(Protocol):
    """Every claim that was tried (`authoring.proof`)."""

    @property
    def items(self) -> Sequence[ProofItem]: ...
    @property
    def not_graded(self) -> Sequence[str]: ...
    @property
    def holds(self) -> bool: ...


class StubResult(Protocol):
    """One stub file and what became of it (`authoring.stubs`)."""

    @property
    def path(self) -> Path: ...
    @property
    def status(self) -> str: ...


class ScaffoldResult(Protocol):
    """A new exercise and its files (`authoring.scaffold`)."""

    @property
    def exercise(self) -> Exercise: ...
    @property
    def created(self) -> Sequence[Path]: ...


class Ceilings(Protocol):
    """Rates of one card (`grading.ceilings`)."""

    @property
    def card(self) -> str: ...
    @property
    def copy_gb_per_s(self) -> float: ...
    @property
    def matmul_tflop_per_s(self) -> Mapping[str, float]: ...


class PoolStatus(Protocol):
    """A pool that runs in the background (`grading.pool_client`)."""

    @property
    def pid(self) -> int: ...
    @property
    def templates(self) -> Mapping[str, int]: ...
    @property
    def idle_s(self) -> float: ...


class Calibration(Protocol):
    """Ceilings measured now (`practice.calibration`)."""

    @property
    def ceilings(self) -> Ceilings: ...
    @property
    def elapsed_s(self) -> float: ...


class AttackDeclared(Protocol):
    """An attack on the grader, as its file declares it (`authoring.attacks`)."""

    @property
    def name(self) -> str: ...
    @property
    def exercise_id(self) -> str: ...
    @property
    def layer(self) -> str: ...
    @property
    def expected(self) -> Collection[str]: ...
    @property
    def open_because(self) -> str: ...


class AttackTried(Protocol):
    """An attack and its verdict (`authoring.attacks`)."""

    @property
    def attack(self) -> AttackDeclared: ...
    @property
    def outcome(self) -> str: ...
    @property
    def message(self) -> str: ...
    @property
    def fate(self) -> str: ...


class HonestNamed(Protocol):
    """An honest solution (`authoring.honest`)."""

    @property
    def name(self) -> str: ...


class HonestJudged(Protocol):
    """An honest solution and its verdict (`authoring.honest`)."""

    @property
    def honest(self) -> HonestNamed: ...
    @property
    def outcome(self) -> Outcome: ...
    @property
    def message(self) -> str: ...
    @property
    def skipped(self) -> str: ...
    @property
    def is_accepted(self) -> bool: ...


class AttackTable(Protocol):
    """What became of every attack and every honest solution (`authoring.attack_table`)."""

    @property
    def tried(self) -> Sequence[AttackTried]: ...
    @property
    def judged(self) -> Sequence[HonestJudged]: ...
    @property
    def not_run(self) -> Sequence[str]: ...
    @property
    def holds(self) -> bool: ...
