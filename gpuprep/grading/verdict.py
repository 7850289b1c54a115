"""From the results of all cases to one Report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gpuprep.model import CaseResult, Evidence, Outcome, Report, SourceLine, Tier, TierResult, Timing

_WORK_OUTCOMES = (Outcome.BANNED_CALL, Outcome.TOO_MUCH_WORK)


@dataclass(frozen=True)
class Stop:
    """Why grading ended early: the learner's process died, hung or never loaded."""

    outcome: Outcome
    message: str
    where: SourceLine | None = None


@dataclass(frozen=True)
class Graded:
    """Everything that a session found out."""

    results: tuple[CaseResult, ...]
    """Of the cases that were run, in order."""
    tiers: frozenset[Tier]
    """The tiers that the exercise has cases for."""
    timings: tuple[Timing, ...]
    why_no_speed: str
    """Why not all was timed, where that had nothing to do with the learner's code; else empty."""
    stop: Stop | None
    device: str
    versions: Mapping[str, str]
    seed: int
    stdout: str
    why_inconclusive: str = ""
    """What on the card kept a time from being measured; else empty."""
    why_unwitnessed: str = ""
    """What the counting worker could not follow, where one was asked for; else empty."""
    evidence: Evidence = Evidence.SELF_REPORTED
    """Who counted."""

    @property
    def failures(self) -> list[CaseResult]:
        """The cases in which the learner's code was found wanting."""
        return [result for result in self.results if result.outcome.is_failure]


def report_of(graded: Graded, identity: Mapping[str, Any]) -> Report:
    """The verdict: the first outcome by precedence, and what each tier says.

    Args:
        graded: what was found.
        identity: the Report's fields that say what was graded against what.
    """
    tiers = tuple(tier for tier in (_correct(graded), _work(graded), _speed(graded)) if tier is not None)
    outcome = _outcome(tiers)
    message, where = _explanation(graded, outcome)
    fields = {**identity, "versions": {**identity["versions"], **graded.versions}}
    return Report(
        outcome=outcome,
        tiers=tiers,
        cases=graded.results,
        timings=graded.timings if not graded.failures else (),
        message=message,
        where=where,
        device=graded.device,
        seed=graded.seed,
        stdout=graded.stdout,
        **fields,
    )


def _correct(graded: Graded) -> TierResult:
    others = [result for result in graded.failures if not _is_about_work(result) and not _is_about_speed(result)]
    failures = [result.outcome for result in others]
    if graded.stop is not None and graded.stop.outcome.is_failure:
        failures.append(graded.stop.outcome)
    if failures:
        return TierResult(Tier.CORRECT, _first(failures))
    ran = [result for result in graded.results if result.case.tier is not Tier.WORK]
    # Somewhere every case must have run: code that can do without a card in the easy cases only has not been graded.
    for device in {result.device for result in ran}:
        here = [result for result in ran if result.device == device]
        if all(result.outcome.is_pass or _is_about_speed(result) for result in here):
            return TierResult(Tier.CORRECT, Outcome.PASSED)
    return TierResult(Tier.CORRECT, Outcome.SKIPPED, _why_skipped(graded))


def _work(graded: Graded) -> TierResult | None:
    if Tier.WORK not in graded.tiers:
        return None
    failures = [result.outcome for result in graded.failures if _is_about_work(result)]
    if failures:
        return TierResult(Tier.WORK, _first(failures), evidence=graded.evidence)
    if _correct(graded).outcome.is_failure:
        return None
    if graded.why_unwitnessed:
        return TierResult(Tier.WORK, Outcome.SKIPPED, graded.why_unwitnessed)
    counted = [result for result in graded.results if result.case.tier is Tier.WORK]
    if counted and all(result.outcome.is_pass for result in counted):
        return TierResult(Tier.WORK, Outcome.PASSED, evidence=graded.evidence)
    return TierResult(Tier.WORK, Outcome.SKIPPED, _why_skipped(graded))


def _is_about_work(result: CaseResult) -> bool:
    # A banned call in a correctness case leaves nothing that could count as correct.
    return result.outcome in _WORK_OUTCOMES and result.case.tier is Tier.WORK


def _is_about_speed(result: CaseResult) -> bool:
    # The timed case's trace and clocks; wrong values in a timed round are wrong values.
    return result.case.tier is Tier.SPEED and result.outcome in (Outcome.BANNED_CALL, Outcome.INVALID)


def _speed(graded: Graded) -> TierResult | None:
    if Tier.SPEED not in graded.tiers:
        return None
    found = [result.outcome for result in graded.failures if _is_about_speed(result)]
    if found:
        return TierResult(Tier.SPEED, _first(found))
    if graded.failures or (graded.stop and graded.stop.outcome.is_failure):
        return None
    if why := _why_inconclusive(graded):
        return TierResult(Tier.SPEED, Outcome.INCONCLUSIVE, why)
    worst = _first([Outcome.PASSED, *(timing.outcome for timing in graded.timings)])
    if worst is Outcome.PASSED and (graded.why_no_speed or not graded.timings):
        return TierResult(Tier.SPEED, Outcome.SKIPPED, graded.why_no_speed or _why_skipped(graded))
    return TierResult(Tier.SPEED, worst)


def _why_inconclusive(graded: Graded) -> str:
    """What about the card leaves no figure to judge: of one operation it says enough about the others."""
    for timing in graded.timings:
        state = timing.card
        if state is not None and state.is_spoiled:
            why = f"the card was slowing itself down ({', '.join(state.throttling)}): let it cool, then check again"
            return f"{timing.case.name}: {why}"
        if state is not None and state.strangers:
            why = f"{', '.join(state.strangers)} kept the card busy: check again when it is free"
            return f"{timing.case.name}: {why}"
    return graded.why_inconclusive


def _outcome(tiers: Sequence[TierResult]) -> Outcome:
    found = {tier.tier: tier.outcome for tier in tiers}
    decided = [outcome for outcome in found.values() if outcome not in (Outcome.SKIPPED, Outcome.PASSED)]
    if decided:
        return _first(decided)
    if found[Tier.CORRECT] is Outcome.SKIPPED:
        return Outcome.SKIPPED
    # Where a card has timed it, the interpreter's count may be missing; where there is no speed tier, it may not.
    deciding = found.get(Tier.SPEED, found.get(Tier.WORK))
    return Outcome.PROVISIONAL if deciding is Outcome.SKIPPED else Outcome.PASSED


def _explanation(graded: Graded, outcome: Outcome) -> tuple[str, SourceLine | None]:
    if outcome.is_pass or any(result.outcome is outcome and result.outcome.is_failure for result in graded.results):
        return "", None
    if graded.stop is not None and graded.stop.outcome is outcome:
        return graded.stop.message, graded.stop.where
    if outcome is Outcome.SKIPPED:
        n_skipped = sum(result.outcome is Outcome.SKIPPED for result in graded.results)
        is_some = any(result.outcome.is_pass for result in graded.results)
        what = f"{n_skipped} cases could not" if is_some else "nothing could"
        return f"{what} be graded here: {_why_skipped(graded)}", None
    if why := _why_inconclusive(graded):
        return why, None
    # TOO_SLOW and INCONCLUSIVE come from a figure.
    found = ((timing, figure) for timing in graded.timings for figure in timing.figures)
    timing, missed = next((timing, figure) for timing, figure in found if figure.outcome is outcome)
    name, target = missed.target.figure.replace("_", " "), missed.target.pass_at
    return f"{timing.case.name}: {name} is {missed.value:.2f}, the target is {target:.2f} ({missed.detail})", None


def _why_skipped(graded: Graded) -> str:
    if graded.stop is not None:
        return graded.stop.message
    skipped = next((result for result in graded.results if result.outcome is Outcome.SKIPPED), None)
    return skipped.message if skipped else "no case of this tier runs here"


def _first(outcomes: Sequence[Outcome]) -> Outcome:
    return min(outcomes, key=lambda outcome: outcome.precedence)
