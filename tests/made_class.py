"""A made-up class: references, stubs, wrong files and attacks, each with what it must get."""

from __future__ import annotations

import random
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpuprep.authoring.attacks import NO_VERDICT, attacks
from gpuprep.authoring.wrong import expected_outcomes, solutions_in, wrong_files
from gpuprep.curriculum import Curriculum
from gpuprep.model import Outcome

PASSES = frozenset({Outcome.PASSED, Outcome.PROVISIONAL})
FAILURES = frozenset(outcome for outcome in Outcome if outcome.is_failure)


@dataclass(frozen=True)
class Handed:
    """One file that a student handed in."""

    source: Path
    kind: str
    """reference, stub, honest, wrong or attack."""
    expected: frozenset[str]
    declared: frozenset[str] = frozenset()
    """By the file itself, where it says something."""


def choices(
    curriculum: Curriculum, exercise_id: str, *, has_attacks: bool, has_honest: bool = False
) -> Sequence[Handed]:
    """All that may be handed in for an exercise, the reference and the stub as often as the others together."""
    exercise = curriculum.exercise(exercise_id)
    found = [
        Handed(path, "wrong", expected_outcomes(path), expected_outcomes(path))
        for path in wrong_files(curriculum, exercise)
        if path.suffix == ".py"
    ]
    if has_attacks:
        found += [
            # A machine that is harder to get at may stop it in another place: but never may it pass.
            Handed(attack.path, "attack", FAILURES | attack.expected, attack.expected)
            for attack in attacks(curriculum)
            if attack.exercise_id == exercise_id
            and not attack.needs_gpu
            and not attack.open_because
            and not attack.is_apart
            and attack.n_checks == 1
            and NO_VERDICT not in attack.expected
        ]
    if has_honest:
        folder = curriculum.root / "tests" / "honest" / exercise.slug
        found += [Handed(path, "honest", expected_outcomes(path)) for path in solutions_in(folder)]
    reference = Handed(curriculum.reference_path(exercise), "reference", PASSES)
    stub = Handed(curriculum.stub_path(exercise), "stub", frozenset({Outcome.NOT_STARTED}))
    return [*found, *[reference, stub] * max(1, len(found) // 2)]


def make_class(
    curriculum: Curriculum,
    folder: Path,
    n_submissions: int,
    exercise_ids: Sequence[str],
    *,
    seed: int = 0,
    has_attacks: bool = False,
) -> Mapping[tuple[str, str], Handed]:
    """Write a class into a folder, a folder a student, and say what each file must get."""
    rng = random.Random(seed)
    handed: dict[tuple[str, str], Handed] = {}
    possible = {name: choices(curriculum, name, has_attacks=has_attacks) for name in exercise_ids}
    for number in range(n_submissions):
        name = f"student_{number:03}"
        own = folder / name / "homework"
        own.mkdir(parents=True)
        for exercise_id in exercise_ids:
            chosen = rng.choice(possible[exercise_id])
            shutil.copyfile(chosen.source, own / f"{curriculum.exercise(exercise_id).slug}.py")
            handed[name, exercise_id] = chosen
    return handed
