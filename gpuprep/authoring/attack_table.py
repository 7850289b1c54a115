"""`gpuprep dev attacks`: every known attack and exploit at each level of the sandbox, and every honest solution."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gpuprep.authoring.attacks import Attack, Fate, Tried, attacks, try_attack
from gpuprep.authoring.exploits import Effect, Exploit, Exploited, exploits, try_exploit
from gpuprep.authoring.honest import Judged, honest_files, judge_honest
from gpuprep.confinement.permits import Level
from gpuprep.curriculum import Curriculum
from gpuprep.errors import CurriculumError, UsageError

ALL = "all"
"""For every level that this machine offers, instead of one of them."""
OnEvent = Callable[[str], None]


@dataclass(frozen=True)
class AttackTable:
    """Attack × level and exploit × level, the honest solutions, and what this machine could not try."""

    tried: tuple[Tried, ...]
    judged: tuple[Judged, ...] = ()
    not_run: tuple[str, ...] = ()
    """One line for each attack that means nothing here, with the reason. It counts as nothing."""
    exploited: tuple[Exploited, ...] = ()
    levels: tuple[Level, ...] = (Level.NONE,)
    """That were tried, weakest first."""
    default: Level = Level.NONE
    """The level that submissions are graded at on this machine."""
    not_offered: tuple[str, ...] = ()
    """One line for each level that can't be had here, with the reason."""

    @property
    def holds(self) -> bool:
        """True when something was tried, nothing surprised at any level, and nothing succeeded at the default one."""
        fates = [tried.fate for tried in self.tried]
        effects = [exploited.effect for exploited in self.exploited]
        return (
            bool(fates or effects)
            and all(fate in (Fate.CAUGHT, Fate.OPEN) for fate in fates)
            and all(effect in (Effect.HELD, Effect.EXPECTED) for effect in effects)
            and not any(tried.succeeds for tried in self.tried if tried.level is self.default)
            and not any(exploited.harm for exploited in self.exploited if exploited.level is self.default)
            and all(judged.is_accepted for judged in self.judged)
        )


def attack_table(
    curriculum: Curriculum,
    only: Sequence[str] | None = None,
    *,
    device: str = "auto",
    sandbox: str = "auto",
    on_event: OnEvent | None = None,
) -> AttackTable:
    """Try all of them, one after the other.

    Args:
        curriculum: what they attack.
        only: names of attacks and exploits; then no honest solution is tried.
        device: as in `grading.session.check`.
        sandbox: a level, `auto` for the one that submissions are graded at, or `all` that this machine offers.
        on_event: gets a few words whenever a file starts.

    Raises:
        CurriculumError: there are no attacks here, or one declares what makes no sense.
        UsageError: no attack and no exploit has that name, or the level can't be had here.
    """
    from gpuprep.grading.confining import AUTO, chosen_level, offered
    from gpuprep.grading.pool import WarmPool

    chosen, harmful = _chosen(curriculum, only)
    default = chosen_level(AUTO)
    missing = {level: why for level, why in offered().items() if why}
    levels = tuple(level for level in Level if level not in missing) if sandbox == ALL else (chosen_level(sandbox),)
    has_card = device != "cpu" and any(attack.needs_gpu for attack in chosen) and _has_card()
    not_run = [f"{attack.name}: needs a GPU" for attack in chosen if attack.needs_gpu and not has_card]
    can_run = [attack for attack in chosen if has_card or not attack.needs_gpu]
    honest = () if only else honest_files(curriculum)
    tell = _counting(on_event, len(levels) * (len(can_run) + len(harmful)) + len(honest))
    tried, exploited, judged = [], [], []
    with WarmPool() as pool:
        for level in levels:
            for attack in can_run:
                tell(f"{attack.name} at {level}")
                # The others mean the same without a card, and are over sooner.
                on = "auto" if attack.needs_gpu else "cpu"
                tried.append(try_attack(attack, curriculum, device=on, pool=pool, level=level))
            for exploit in harmful:
                tell(f"{exploit.name} at {level}")
                exploited.append(try_exploit(exploit, curriculum, level, pool))
        for each in honest:
            tell(each.name)
            judged.append(judge_honest(each, curriculum, device=device, pool=pool))
    return AttackTable(
        tuple(tried),
        tuple(judged),
        tuple(not_run),
        tuple(exploited),
        levels,
        default,
        tuple(f"{level}: {why}" for level, why in missing.items()),
    )


def _counting(on_event: OnEvent | None, total: int) -> OnEvent:
    count = iter(range(1, total + 1))
    return lambda event: on_event(f"{next(count)} of {total}: {event}") if on_event else None


def _chosen(curriculum: Curriculum, only: Sequence[str] | None) -> tuple[tuple[Attack, ...], tuple[Exploit, ...]]:
    on_verdicts, on_machines = attacks(curriculum), exploits(curriculum)
    if not on_verdicts:
        raise CurriculumError(
            f"no attacks in {curriculum.root / 'tests' / 'attacks'}: they come with a checkout, not with the wheel"
        )
    names = {attack.name for attack in on_verdicts} | {exploit.name for exploit in on_machines}
    unknown = sorted(set(only or ()) - names)
    if unknown:
        raise UsageError(f"no attack and no exploit is called {unknown[0]}", next_step="gpuprep dev attacks")
    if not only:
        return on_verdicts, on_machines
    return (
        tuple(attack for attack in on_verdicts if attack.name in only),
        tuple(exploit for exploit in on_machines if exploit.name in only),
    )


def _has_card() -> bool:
    import torch

    return torch.cuda.is_available()
