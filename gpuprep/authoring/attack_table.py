"""`gpuprep dev attacks`: every known attack against this grader, and every honest solution that it must let through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gpuprep.authoring.attacks import Attack, Fate, Tried, attacks, try_attack
from gpuprep.authoring.honest import Judged, honest_files, judge_honest
from gpuprep.curriculum import Curriculum
from gpuprep.errors import CurriculumError, UsageError

OnEvent = Callable[[str], None]


@dataclass(frozen=True)
class AttackTable:
    """Attack × outcome × layer, the honest solutions, and what this machine could not try."""

    tried: tuple[Tried, ...]
    judged: tuple[Judged, ...] = ()
    not_run: tuple[str, ...] = ()
    """One line for each attack that means nothing here, with the reason. It counts as nothing."""

    @property
    def holds(self) -> bool:
        """True when something was tried, nothing passed unawares, and no honest solution was turned away."""
        fates = [tried.fate for tried in self.tried]
        return (
            bool(fates)
            and all(fate in (Fate.CAUGHT, Fate.OPEN) for fate in fates)
            and all(judged.is_accepted for judged in self.judged)
        )


def attack_table(
    curriculum: Curriculum,
    only: Sequence[str] | None = None,
    *,
    device: str = "auto",
    on_event: OnEvent | None = None,
) -> AttackTable:
    """Try all of them, one after the other.

    Args:
        curriculum: what they attack.
        only: names of attacks; then no honest solution is tried.
        device: as in `grading.session.check`.
        on_event: gets a few words whenever a file starts.

    Raises:
        CurriculumError: there are no attacks here, or one declares what makes no sense.
        UsageError: no attack has that name.
    """
    from gpuprep.grading.pool import WarmPool

    tell = on_event or (lambda _: None)
    chosen = _chosen(curriculum, only)
    has_card = device != "cpu" and _has_card()
    tried, judged, not_run = [], [], []
    with WarmPool() as pool:
        for attack in chosen:
            if attack.needs_gpu and not has_card:
                not_run.append(f"{attack.name}: needs a GPU")
                continue
            tell(attack.name)
            # The others mean the same without a card, and are over sooner.
            tried.append(try_attack(attack, curriculum, device="auto" if attack.needs_gpu else "cpu", pool=pool))
        for honest in () if only else honest_files(curriculum):
            tell(honest.name)
            judged.append(judge_honest(honest, curriculum, device=device, pool=pool))
    return AttackTable(tuple(tried), tuple(judged), tuple(not_run))


def _chosen(curriculum: Curriculum, only: Sequence[str] | None) -> tuple[Attack, ...]:
    found = attacks(curriculum)
    if not found:
        raise CurriculumError(
            f"no attacks in {curriculum.root / 'tests' / 'attacks'}: they come with a checkout, not with the wheel"
        )
    unknown = sorted(set(only or ()) - {attack.name for attack in found})
    if unknown:
        raise UsageError(f"no attack is called {unknown[0]}", next_step="gpuprep dev attacks")
    return tuple(attack for attack in found if not only or attack.name in only)


def _has_card() -> bool:
    import torch

    return torch.cuda.is_available()
