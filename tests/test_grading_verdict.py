"""From the results of all cases to the verdict, and what each tier says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from gpuprep.exercise import Target
from gpuprep.grading.verdict import Graded, Stop, report_of
from gpuprep.model import CardState, Case, CaseResult, Evidence, Measurement, Outcome, Report, SourceLine, Tier, Timing

IDENTITY = {"exercise_id": "ex_01", "path": "x.py", "versions": {"gpuprep": "1"}}
ALL_TIERS = frozenset(Tier)
NO_GPU = "no GPU found"
SPEED_CASE = Case({"n": 2**28}, tier=Tier.SPEED, devices=("cuda",))


def result(
    outcome: Outcome = Outcome.PASSED, *, tier: Tier = Tier.CORRECT, device: str = "cpu", n: int = 1
) -> CaseResult:
    return CaseResult(Case({"n": n}, tier=tier), device, outcome, "" if outcome.is_pass else f"{outcome} at n={n}")


def work(outcome: Outcome = Outcome.PASSED) -> CaseResult:
    return result(outcome, tier=Tier.WORK)


def timed(*shares: float, spread: float = 0.0, op: str = "", card: CardState | None = None) -> Timing:
    """One timed case with these shares of the copy rate, of which 0.8 pass and 0.95 are gold."""
    figures = tuple(
        Measurement(Target("share_of_copy", 0.8, 0.95, op), share, share - spread, share + spread) for share in shares
    )
    case = replace(SPEED_CASE, params={**SPEED_CASE.params, **({"op": op} if op else {})})
    return Timing(case, "card", 1.0, 1.0, 1.0, 20, figures, card=card)


def verdict(results: Sequence[CaseResult], **more: Any) -> Report:
    """The report of these results; without a card unless there are timings."""
    fields = {
        "tiers": ALL_TIERS,
        "timings": (),
        "why_no_speed": "" if more.get("timings") else NO_GPU,
        "stop": None,
        "device": "cpu",
        "versions": {"torch": "2"},
        "seed": 7,
        "stdout": "",
    }
    return report_of(Graded(results=tuple(results), **{**fields, **more}), IDENTITY)


def tiers(report: Report) -> dict[Tier, Outcome]:
    return {tier.tier: tier.outcome for tier in report.tiers}


# Passes


def test_provisional_without_a_card() -> None:
    """Everything right, nothing timed: provisional, and the reason stands in the speed tier."""
    report = verdict([result(), work()])
    assert report.outcome is Outcome.PROVISIONAL
    assert tiers(report) == {Tier.CORRECT: Outcome.PASSED, Tier.WORK: Outcome.PASSED, Tier.SPEED: Outcome.SKIPPED}
    assert report.tier(Tier.SPEED).reason == NO_GPU  # type: ignore[union-attr]
    assert report.tier(Tier.WORK).evidence is Evidence.SELF_REPORTED  # type: ignore[union-attr]


def test_passed_with_a_card() -> None:
    """Right, within its budgets and fast enough: passed; gold is another matter."""
    report = verdict([result(), work(), result(device="cuda")], timings=(timed(0.9),))
    assert report.outcome is Outcome.PASSED
    assert not report.is_gold
    assert verdict([result(), work()], timings=(timed(0.96),)).is_gold


def test_passed_where_there_is_no_speed_tier() -> None:
    """An exercise that isn't timed can be passed anywhere."""
    assert verdict([result(), work()], tiers={Tier.CORRECT, Tier.WORK}).outcome is Outcome.PASSED
    assert verdict([result()], tiers={Tier.CORRECT}).outcome is Outcome.PASSED


def test_speed_without_a_target() -> None:
    """A speed case of an exercise without targets is timed, and any time will do."""
    assert verdict([result(), work()], timings=(timed(),)).outcome is Outcome.PASSED


def test_identity_and_versions_are_kept() -> None:
    """The report says what was graded against what, with which versions."""
    report = verdict([result(), work()], stdout="hello")
    assert (report.exercise_id, report.path, report.seed, report.stdout) == ("ex_01", "x.py", 7, "hello")
    assert report.versions == {"gpuprep": "1", "torch": "2"}


# Failures

FAILURES = [outcome for outcome in Outcome if outcome.is_failure and outcome not in (Outcome.INVALID, Outcome.TOO_SLOW)]


@pytest.mark.parametrize("outcome", FAILURES)
def test_each_failure_decides(outcome: Outcome) -> None:
    """A single failed case fails the check with its own outcome, whatever else passed."""
    tier = Tier.WORK if outcome is Outcome.TOO_MUCH_WORK else Tier.CORRECT
    report = verdict([result(), result(outcome, tier=tier, n=2), work()])
    assert report.outcome is outcome
    assert report.first_failure is not None
    assert report.first_failure.outcome is outcome
    assert report.tier(Tier.SPEED) is None


@pytest.mark.parametrize("first", FAILURES)
def test_first_by_precedence_wins(first: Outcome) -> None:
    """Of two failures, the one that comes first in the order decides, in whichever order they were found."""
    for second in FAILURES:
        for pair in ((first, second), (second, first)):
            results = [result(outcome, tier=Tier.CORRECT, n=place) for place, outcome in enumerate(pair)]
            assert verdict([*results, work()]).outcome is min(pair, key=lambda outcome: outcome.precedence)


def test_work_failures_leave_the_correct_tier_alone() -> None:
    """Too much work is no wrong result."""
    report = verdict([result(), work(Outcome.TOO_MUCH_WORK)])
    assert tiers(report) == {Tier.CORRECT: Outcome.PASSED, Tier.WORK: Outcome.TOO_MUCH_WORK}
    assert report.outcome is Outcome.TOO_MUCH_WORK


def test_work_is_not_judged_where_results_are_wrong() -> None:
    """A wrong result says nothing about its work."""
    report = verdict([result(Outcome.WRONG_VALUES), work()])
    assert tiers(report) == {Tier.CORRECT: Outcome.WRONG_VALUES}


def test_banned_call_in_a_correctness_case() -> None:
    """A banned call fails the check also where the exercise counts no work."""
    for kinds in (ALL_TIERS, frozenset({Tier.CORRECT})):
        assert verdict([result(), result(Outcome.BANNED_CALL, n=3)], tiers=kinds).outcome is Outcome.BANNED_CALL


def test_wrong_on_the_card_only() -> None:
    """What passes in the interpreter and fails on the card fails; no time is reported with it."""
    report = verdict([result(), work(), result(Outcome.RACE, device="cuda")], timings=(timed(0.99),))
    assert report.outcome is Outcome.RACE
    assert report.timings == ()


# Endings before the end


@pytest.mark.parametrize(
    "outcome", [Outcome.CRASHED, Outcome.TIMED_OUT, Outcome.WRONG_SIGNATURE, Outcome.COMPILE_FAILED]
)
def test_stop_decides(outcome: Outcome) -> None:
    """A process that died, hung or never loaded fails the check, with its message and line."""
    stop = Stop(outcome, "it went away", SourceLine("x.py", 3))
    report = verdict([], stop=stop)
    assert report.outcome is outcome
    assert (report.message, report.where) == ("it went away", SourceLine("x.py", 3))


def test_stop_after_passing_cases() -> None:
    """Cases that passed before don't help."""
    report = verdict([result(), result(Outcome.TIMED_OUT, n=2)], stop=Stop(Outcome.TIMED_OUT, "endless"))
    assert report.outcome is Outcome.TIMED_OUT
    assert verdict([result(), work()], stop=Stop(Outcome.CRASHED, "while timed")).outcome is Outcome.CRASHED


def test_earlier_failure_of_higher_precedence_wins_over_the_stop() -> None:
    """The order holds between a stop and the cases before it."""
    results = [result(Outcome.RAISED), result(Outcome.TIMED_OUT, n=2)]
    assert verdict(results, stop=Stop(Outcome.TIMED_OUT, "endless")).outcome is Outcome.RAISED
    results = [result(Outcome.WRONG_VALUES), result(Outcome.CRASHED, n=2)]
    assert verdict(results, stop=Stop(Outcome.CRASHED, "dead")).outcome is Outcome.CRASHED


# Skips


def test_nothing_graded() -> None:
    """Code that needs a card everywhere is SKIPPED, never green, with the reason."""
    skipped = [result(Outcome.SKIPPED), result(Outcome.SKIPPED, tier=Tier.WORK)]
    report = verdict(skipped)
    assert report.outcome is Outcome.SKIPPED
    assert "SKIPPED at n=1" in report.message
    assert set(tiers(report).values()) == {Outcome.SKIPPED}


def test_file_that_needs_a_card_to_be_imported() -> None:
    """The same where not even the import worked."""
    report = verdict([], stop=Stop(Outcome.SKIPPED, "needs a GPU"))
    assert report.outcome is Outcome.SKIPPED
    assert "needs a GPU" in report.message


def test_skipping_the_hard_cases_is_no_pass() -> None:
    """Code that asks for a card in some cases has not been graded in those."""
    report = verdict([result(n=1), result(Outcome.SKIPPED, n=1025), work()])
    assert report.outcome is Outcome.SKIPPED
    assert report.tier(Tier.CORRECT).outcome is Outcome.SKIPPED  # type: ignore[union-attr]


def test_card_makes_up_for_the_interpreter() -> None:
    """What the interpreter could not run counts where the card ran it all."""
    results = [result(n=1), result(Outcome.SKIPPED, n=1025), result(device="cuda", n=1), result(device="cuda", n=1025)]
    report = verdict(results, timings=(timed(0.9),))
    assert report.outcome is Outcome.PASSED
    assert report.tier(Tier.WORK).outcome is Outcome.SKIPPED  # type: ignore[union-attr]


def test_skipped_work() -> None:
    """Where nothing could be counted and nothing was timed, the pass is provisional; a timed one is whole."""
    results = [result(), work(Outcome.SKIPPED)]
    assert verdict(results).outcome is Outcome.PROVISIONAL
    assert verdict(results, tiers={Tier.CORRECT, Tier.WORK}).outcome is Outcome.PROVISIONAL
    assert verdict([*results, result(device="cuda")], timings=(timed(0.9),)).outcome is Outcome.PASSED


def test_failure_hides_skips() -> None:
    """A failed case fails the check, however many were skipped."""
    assert verdict([result(Outcome.SKIPPED), result(Outcome.RAISED, n=2)]).outcome is Outcome.RAISED


# Speed


@pytest.mark.parametrize(
    ("share", "spread", "expected"),
    [
        (0.8, 0.0, Outcome.PASSED),
        (0.9, 0.05, Outcome.PASSED),
        (0.7, 0.05, Outcome.TOO_SLOW),
        (0.799, 0.0, Outcome.TOO_SLOW),
        (0.81, 0.05, Outcome.INCONCLUSIVE),
        (0.78, 0.05, Outcome.INCONCLUSIVE),
    ],
)
def test_interval_against_the_target(share: float, spread: float, expected: Outcome) -> None:
    """Above the target is a pass, below it a fail, across it neither."""
    report = verdict([result(), work()], timings=(timed(share, spread=spread),))
    assert report.outcome is expected
    assert len(report.timings) == 1
    assert expected.is_pass or "share of copy" in report.message


def test_slowest_figure_decides() -> None:
    """Of several figures the worst one decides, and is named."""
    report = verdict([result(), work()], timings=(timed(0.96, 0.5),))
    assert report.outcome is Outcome.TOO_SLOW
    assert "0.50" in report.message
    assert not report.is_gold


def test_too_slow_is_decided_before_inconclusive() -> None:
    """One figure that is surely too low is enough."""
    figures = (*timed(0.5).figures, *timed(0.8, spread=0.1).figures)
    report = verdict([result(), work()], timings=(replace(timed(), figures=figures),))
    assert report.outcome is Outcome.TOO_SLOW


def test_wrong_and_slow_is_wrong() -> None:
    """Speed is only judged where the result is right."""
    report = verdict([result(), work(Outcome.TOO_MUCH_WORK)], timings=(timed(0.1),))
    assert report.outcome is Outcome.TOO_MUCH_WORK
    assert report.tier(Tier.SPEED) is None


# Several operations

FAST, SLOW, SLOW_ADD = timed(0.97, op="add"), timed(0.5, op="total"), timed(0.5, op="add")
ACROSS = timed(0.8, spread=0.1, op="total")


@pytest.mark.parametrize(
    ("timings", "expected"),
    [
        ((FAST, timed(0.97, op="total")), Outcome.PASSED),
        ((FAST, SLOW), Outcome.TOO_SLOW),
        ((SLOW, FAST), Outcome.TOO_SLOW),
        ((FAST, ACROSS), Outcome.INCONCLUSIVE),
        ((timed(0.5, op="add"), ACROSS), Outcome.TOO_SLOW),
    ],
)
def test_worst_operation_decides(timings: tuple[Timing, ...], expected: Outcome) -> None:
    """Of several operations the worst one decides, all of them are reported, and the message names the case."""
    report = verdict([result(), work()], timings=timings)
    assert report.outcome is expected
    assert report.tier(Tier.SPEED).outcome is expected  # type: ignore[union-attr]
    assert report.timings == timings
    culprit = next((timing for timing in timings if timing.outcome is expected), None)
    assert expected is Outcome.PASSED or (culprit is not None and report.message.startswith(culprit.case.name))


def test_gold_takes_every_operation() -> None:
    """One operation that only passes keeps the check from being gold."""
    assert verdict([result(), work()], timings=(FAST, timed(0.96, op="total"))).is_gold
    assert not verdict([result(), work()], timings=(FAST, timed(0.9, op="total"))).is_gold


def test_operation_that_was_not_timed() -> None:
    """Where the card has no room for one operation, the others are judged, and a pass is provisional."""
    why = "1.0 GiB of free memory on card are too few to time total"
    report = verdict([result(), work()], timings=(FAST,), why_no_speed=why)
    assert report.outcome is Outcome.PROVISIONAL
    assert report.tier(Tier.SPEED).reason == why  # type: ignore[union-attr]
    assert report.timings == (FAST,)
    assert verdict([result(), work()], timings=(timed(0.5, op="add"),), why_no_speed=why).outcome is Outcome.TOO_SLOW


@pytest.mark.parametrize(
    "card", [CardState(is_spoiled=True, throttling=("power brake",)), CardState(strangers=("process 7 (python3)",))]
)
def test_spoilt_card_spoils_every_figure(card: CardState) -> None:
    """A card that slowed down in one operation leaves none to judge, and the reason names that operation's case."""
    spoilt = timed(0.97, op="total", card=card)
    for timings in ((SLOW_ADD, spoilt), (spoilt, SLOW_ADD), (FAST, spoilt)):
        report = verdict([result(), work()], timings=timings)
        assert report.outcome is Outcome.INCONCLUSIVE
        assert report.message.startswith("total n=268435456: ")
        assert report.tier(Tier.SPEED).reason == report.message  # type: ignore[union-attr]


def test_fault_in_one_operation() -> None:
    """A contradicted clock in the second operation decides, and the first one's time is not reported with it."""
    first = CaseResult(FAST.case, "cuda", Outcome.PASSED)
    second = CaseResult(SLOW.case, "cuda", Outcome.INVALID, "the measurement contradicts itself")
    report = verdict([result(), work(), first, second])
    assert report.outcome is Outcome.INVALID
    assert report.first_failure is second
    assert report.timings == ()
