"""The nouns can't hold an impossible state, and a report is plain data."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sample_reports import BUDGETS, CORRECT, CORRECT_TIER, NO_SPEED, WORK, WORK_CASE, WORK_TIER, WORKED

from gpuprep import curriculum as curricula
from gpuprep.exercise import QUALITIES, Exercise, Target
from gpuprep.grading.loading import case_seed, load_grader
from gpuprep.model import (
    REPORT_VERSION,
    Budget,
    CardState,
    Case,
    CaseResult,
    Diagnosis,
    Measurement,
    Outcome,
    Report,
    Sample,
    Tier,
    TierResult,
    Timing,
    Work,
)
from gpuprep.work import FIGURES

CURRICULUM = curricula.load(Path(__file__).resolve().parent.parent)
CASE = Case({"n": 33, "dtype": "float32"})
SPEED_CASE = Case({"n": 2**28}, tier=Tier.SPEED, devices=("cuda",))
TARGET = Target("share_of_copy", 0.8, 0.95)
FAST = Measurement(TARGET, 0.96, 0.96, 0.96)
FASTER_THAN_GOOD = Measurement(TARGET, 0.9, 0.9, 0.9)
NAN = float("nan")

# In the order in which the first that applies wins: see docs/grading.md.
PRECEDENCE = """
    GRADER_FAULT COMPILE_FAILED WRONG_SIGNATURE RAISED CRASHED DEADLOCK TIMED_OUT OUT_OF_BOUNDS MISALIGNED
    BAD_SYNC RACE WRONG_SHAPE WRONG_DTYPE WRONG_STRIDES ALIASED_INPUT MUTATED_INPUT BANNED_CALL WRONG_VALUES
    NOT_STARTED TOO_MUCH_WORK INVALID TOO_SLOW INCONCLUSIVE SKIPPED PROVISIONAL PASSED
""".split()


def failed(outcome: Outcome = Outcome.WRONG_VALUES, **more: Any) -> CaseResult:
    return CaseResult(more.pop("case", CASE), "cpu", outcome, "some are wrong", **more)


def timed(**more: Any) -> Timing:
    fields = {"median_ms": 2.0, "low_ms": 1.0, "high_ms": 3.0, "n_samples": 20, "figures": (FAST,)}
    return Timing(SPEED_CASE, "card", **{**fields, **more})


def timed_op(op: str, *figures: Measurement) -> Timing:
    """A timing of one of several operations."""
    case = replace(SPEED_CASE, params={"op": op, **SPEED_CASE.params})
    own = tuple(replace(figure, target=replace(figure.target, of=op)) for figure in figures)
    return Timing(case, "card", 2.0, 1.0, 3.0, 20, own)


def report(outcome: Outcome = Outcome.PROVISIONAL, **more: Any) -> Report:
    """A provisional pass, or what it becomes with other fields."""
    fields: dict[str, Any] = {"tiers": (CORRECT_TIER, WORK_TIER, NO_SPEED), "cases": (*CORRECT, WORKED)}
    return Report("ex_01", outcome, **{**fields, **more})


# Outcomes


def test_precedence() -> None:
    """The order of the outcomes is the documented one, and has no ties."""
    assert list(Outcome.__members__) == PRECEDENCE
    assert [outcome.precedence for outcome in Outcome] == list(range(len(PRECEDENCE)))


def test_documented_precedence() -> None:
    """The page that explains the outcomes names all of them in this order."""
    page = (Path(__file__).resolve().parent.parent / "docs" / "grading.md").read_text(encoding="utf-8")
    named = list(dict.fromkeys(re.findall(r"`([A-Z]+(?:_[A-Z]+)*)`", page)))
    assert [name for name in named if name in PRECEDENCE] == PRECEDENCE


def test_passes_failures_and_neither() -> None:
    """Only two outcomes let a learner go on; three say nothing about the learner's code."""
    assert [outcome for outcome in Outcome if outcome.is_pass] == [Outcome.PROVISIONAL, Outcome.PASSED]
    neither = [outcome for outcome in Outcome if not outcome.is_pass and not outcome.is_failure]
    assert neither == [Outcome.GRADER_FAULT, Outcome.INCONCLUSIVE, Outcome.SKIPPED]


def test_outcomes_are_their_names() -> None:
    """An outcome in a record, in JSON or in a wrong file's first line is its name."""
    assert all(outcome == outcome.name == str(outcome) for outcome in Outcome)


# Impossible states

IMPOSSIBLE: dict[str, Callable[[], object]] = {
    "unknown figure": lambda: Target("share_of_luck", 0.5),
    "share in percent": lambda: Target("share_of_copy", 80.0, 95.0),
    "target of nothing": lambda: Target("share_of_copy", 0.0),
    "gold below pass": lambda: Target("share_of_copy", 0.8, 0.7),
    "budget of no figure": lambda: Budget("bytes_lodaed", 1, 2, ""),
    "budget upside down": lambda: Budget("launches", 2, 1, ""),
    "negative budget": lambda: Budget("launches", -1, 1, ""),
    "passed case with wrong elements": lambda: CaseResult(CASE, "cpu", Outcome.PASSED, n_wrong=1, n_total=2),
    "passed case with samples": lambda: CaseResult(CASE, "cpu", Outcome.PASSED, samples=(Sample((0,), 1.0, 2.0),)),
    "passed case with a diagnosis": lambda: CaseResult(CASE, "cpu", Outcome.PASSED, diagnosis=Diagnosis("tail", "x")),
    "failed case without a message": lambda: CaseResult(CASE, "cpu", Outcome.WRONG_VALUES),
    "skipped case without a reason": lambda: CaseResult(CASE, "cpu", Outcome.SKIPPED),
    "more wrong than there are": lambda: failed(n_wrong=3, n_total=2),
    "more samples than wrong": lambda: failed(n_wrong=0, n_total=2, samples=(Sample((0,), 1.0, 2.0),)),
    "value outside its interval": lambda: Measurement(TARGET, 0.5, 0.6, 0.7),
    "interval upside down": lambda: Measurement(TARGET, 0.65, 0.7, 0.6),
    "figure that is none": lambda: Measurement(TARGET, NAN, NAN, NAN),
    "no time": lambda: timed(low_ms=0.0, median_ms=0.0, high_ms=0.0),
    "negative time": lambda: timed(low_ms=-1.0),
    "times out of order": lambda: timed(low_ms=2.5),
    "time that is none": lambda: timed(median_ms=NAN),
    "skipped tier without a reason": lambda: TierResult(Tier.SPEED, Outcome.SKIPPED),
    "provisional tier": lambda: TierResult(Tier.SPEED, Outcome.PROVISIONAL),
    "pass with a failed case": lambda: report(cases=(*CORRECT, failed())),
    "pass with a message": lambda: report(message="but"),
    "pass of nothing": lambda: report(cases=()),
    "pass of skipped cases alone": lambda: report(cases=(failed(Outcome.SKIPPED),)),
    "pass with a failed tier": lambda: report(tiers=(TierResult(Tier.CORRECT, Outcome.WRONG_VALUES), NO_SPEED)),
    "pass with a slow tier": lambda: report(tiers=(CORRECT_TIER, TierResult(Tier.SPEED, Outcome.TOO_SLOW))),
    "pass without the speed tier": lambda: report(Outcome.PASSED),
    "time with a failed case": lambda: report(Outcome.WRONG_VALUES, cases=(failed(),), timings=(timed(),)),
    "operation timed twice": lambda: report(timings=(timed(), timed(median_ms=1.5))),
    "figure of another operation": lambda: timed(figures=(replace(FAST, target=replace(TARGET, of="add")),)),
    "failure without a reason": lambda: report(Outcome.CRASHED),
    "skip without a reason": lambda: report(Outcome.SKIPPED),
    "fault without a reason": lambda: report(Outcome.GRADER_FAULT),
}


@pytest.mark.parametrize("make", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_impossible_state_cannot_be_built(make: Callable[[], object]) -> None:
    """What can't be true can't be constructed."""
    with pytest.raises(ValueError, match=r"\S"):
        make()


def test_impossible_state_cannot_be_reached_by_changing() -> None:
    """Neither by assignment nor by `replace`."""
    with pytest.raises(AttributeError):
        report().outcome = Outcome.PASSED  # type: ignore[misc]
    with pytest.raises(ValueError, match="PROVISIONAL"):
        replace(report(), outcome=Outcome.PASSED)


def test_possible_states_can_be_built() -> None:
    """The other side of the same rules."""
    assert report().outcome is Outcome.PROVISIONAL
    assert report(Outcome.PASSED, tiers=(CORRECT_TIER,)).outcome is Outcome.PASSED
    assert report(Outcome.TOO_SLOW, message="0.5 of 0.8", timings=(timed(),)).timings == (timed(),)
    assert Report("ex_01", Outcome.GRADER_FAULT, message="broken").cases == ()
    assert failed(n_wrong=2, n_total=2, samples=(Sample((0,), 1.0, NAN),)).n_wrong == 2


def test_every_figure_of_work_can_have_a_budget() -> None:
    """Each number in Work, and their sum."""
    numbers = [figure for figure in Work.__dataclass_fields__ if figure != "bytes_loaded_of"]
    work = Work(**{figure: place for place, figure in enumerate(numbers, start=1)})
    counted = {figure: Budget(figure, 0, 1, "").used(work) for figure in FIGURES}
    assert [counted[figure] for figure in numbers] == [*range(1, len(numbers) + 1)]
    assert counted["bytes_moved"] == work.bytes_loaded + work.bytes_stored
    assert counted["sectors_per_load"] == work.sectors_loaded / work.load_requests
    assert counted["sectors_per_store"] == work.sectors_stored / work.store_requests


def test_ratio_without_requests_is_zero() -> None:
    """A kernel that loads nothing, or that has no warps to count, has no sectors a request."""
    assert (Work(sectors_loaded=4).sectors_per_load, Work(sectors_stored=4).sectors_per_store) == (0.0, 0.0)


def test_budget_can_be_a_ratio() -> None:
    """A bound on sectors a request has room for a fraction."""
    assert Budget("sectors_per_load", 4, 4.4, "").most == 4.4


# What to show first


def test_first_failure_has_the_reports_outcome() -> None:
    """Of several failures, one that decided is shown; a pass has none."""
    cases = (failed(), failed(Outcome.OUT_OF_BOUNDS))
    assert report(Outcome.OUT_OF_BOUNDS, cases=cases).first_failure is cases[1]
    assert report().first_failure is None


def test_first_failure_tells_most() -> None:
    """A recognised pattern comes first, then a case that is partly right, then the first of all."""
    whole, partly = failed(n_wrong=3, n_total=3), failed(n_wrong=1, n_total=3)
    unnamed = failed(n_wrong=1, n_total=3, diagnosis=Diagnosis("wrong_values", "no pattern"))
    named = failed(n_wrong=3, n_total=3, diagnosis=Diagnosis("tail", "the mask"))
    assert report(Outcome.WRONG_VALUES, cases=(whole, failed())).first_failure is whole
    assert report(Outcome.WRONG_VALUES, cases=(whole, partly, unnamed)).first_failure is partly
    assert report(Outcome.WRONG_VALUES, cases=(whole, partly, named)).first_failure is named


def test_first_failure_is_a_plain_case() -> None:
    """Of cases that tell as much, the one with the plainest inputs is shown."""
    plain, odd = failed(), failed(case=Case({**CASE.params, "distribution": "wide"}), n_wrong=1, n_total=3)
    odder = failed(case=Case({**CASE.params, "distribution": "wide", "layout": "strided"}))
    assert report(Outcome.WRONG_VALUES, cases=(odder, odd, plain)).first_failure is plain
    assert report(Outcome.WRONG_VALUES, cases=(odder, odd)).first_failure is odd


def test_views_are_not_blamed_for_what_plain_inputs_show() -> None:
    """A stride is suspected in every view that goes wrong; where plain inputs go wrong too, that means nothing."""
    plain = failed(diagnosis=Diagnosis("wrong_values", "no pattern"))
    view = failed(case=Case({**CASE.params, "layout": "strided"}), diagnosis=Diagnosis("stride", "the stride"))
    assert report(Outcome.WRONG_VALUES, cases=(view, plain)).first_failure is plain
    assert report(Outcome.WRONG_VALUES, cases=(view,)).first_failure is view


def named(pattern: str, **more: Any) -> CaseResult:
    return failed(diagnosis=Diagnosis(pattern, "why"), **more)


def test_first_failure_is_one_of_many_alike() -> None:
    """What most cases show is shown: some patterns fit a small case by chance."""
    chance, first, second = named("tail"), named("stride"), named("stride", n_wrong=2, n_total=3)
    assert report(Outcome.WRONG_VALUES, cases=(chance, first, second)).first_failure is second
    assert report(Outcome.WRONG_VALUES, cases=(chance, first)).first_failure is chance


@pytest.mark.parametrize("pattern", ["precision", "stride", "tail", "scaled", "dropped_term"])
def test_first_failure_is_none_that_fits_by_chance(pattern: str) -> None:
    """A pattern that one of several failed cases shows is no cause of theirs, and would mislead."""
    odd = Case({**CASE.params, "distribution": "wide"})
    unnamed, chance = named("wrong_values", case=odd), named(pattern)
    assert report(Outcome.WRONG_VALUES, cases=(chance, *[unnamed] * 6)).first_failure is unnamed
    assert report(Outcome.WRONG_VALUES, cases=(chance, unnamed)).first_failure is chance
    elsewhere = named("wrong_values", case=Case({**CASE.params, "op": "other"}))
    assert report(Outcome.WRONG_VALUES, cases=(chance, *[elsewhere] * 6)).first_failure is chance
    lost = named("never_written")
    assert report(Outcome.WRONG_VALUES, cases=(chance, *[lost] * 6)).first_failure is chance


def test_a_value_that_is_known_is_never_by_chance() -> None:
    """Memory that nobody wrote in one case of many is what to look at first."""
    unnamed, exact = named("wrong_values"), named("never_written")
    assert report(Outcome.WRONG_VALUES, cases=(*[unnamed] * 9, exact)).first_failure is exact


@pytest.mark.parametrize("wholesale", ["constant", "never_written"])
def test_first_failure_says_more_than_that_all_is_lost(wholesale: str) -> None:
    """Where small cases have nothing right, a larger one that shows more is shown, however few there are of it."""
    lost, more = named(wholesale), named("dropped_term")
    assert report(Outcome.WRONG_VALUES, cases=(lost, lost, more)).first_failure is more
    assert report(Outcome.WRONG_VALUES, cases=(lost, named("wrong_values"))).first_failure is lost


# Gold


def test_gold() -> None:
    """Gold is a pass in which every figure with a gold target reaches it."""
    tiers = (CORRECT_TIER, WORK_TIER, TierResult(Tier.SPEED, Outcome.PASSED))
    without = Measurement(Target("times_eager", 2.0), 2.5, 2.4, 2.6)
    figures = {(FAST,): True, (FAST, without): True, (FAST, FASTER_THAN_GOOD): False, (without,): False, (): False}
    for measured, is_gold in figures.items():
        assert report(Outcome.PASSED, tiers=tiers, timings=(timed(figures=measured),)).is_gold is is_gold
    assert not report().is_gold
    assert not report(Outcome.TOO_SLOW, message="x", timings=(timed(figures=(FAST,)),)).is_gold


def test_gold_of_several_operations() -> None:
    """With one operation short of gold, the others don't make it: nor does one that has no gold target spoil it."""
    tiers = (CORRECT_TIER, WORK_TIER, TierResult(Tier.SPEED, Outcome.PASSED))
    fast = timed_op("add", FAST)
    for other, is_gold in (
        (timed_op("total", FAST), True),
        (timed_op("total", FASTER_THAN_GOOD), False),
        (timed_op("total", Measurement(Target("times_eager", 2.0), 2.5, 2.4, 2.6)), True),
        (timed_op("total"), True),
    ):
        assert report(Outcome.PASSED, tiers=tiers, timings=(fast, other)).is_gold is is_gold


# Timings


def test_outcome_of_a_timing() -> None:
    """The worst of its figures; any time will do without one; nothing holds on a card that slowed itself down."""
    slow, across = Measurement(TARGET, 0.5, 0.5, 0.5), Measurement(TARGET, 0.8, 0.7, 0.9)
    assert timed(figures=(FAST, across, slow)).outcome is Outcome.TOO_SLOW
    assert timed(figures=(FAST, across)).outcome is Outcome.INCONCLUSIVE
    assert timed(figures=()).outcome is Outcome.PASSED
    assert timed(figures=(FAST,)).is_gold
    for card in (CardState(is_spoiled=True), CardState(strangers=("process 7",))):
        assert timed(figures=(FAST, slow), card=card).outcome is Outcome.INCONCLUSIVE
        assert not timed(figures=(FAST,), card=card).is_gold
    assert timed(card=CardState(strangers=(), throttling=("power cap",))).outcome is Outcome.PASSED


# As data


def test_report_is_json() -> None:
    """A report with everything in it is plain data: JSON takes it, and gives the same back."""
    whole = report(
        Outcome.TOO_SLOW,
        message="0.5",
        tiers=(CORRECT_TIER, WORK_TIER, TierResult(Tier.SPEED, Outcome.TOO_SLOW)),
        timings=(timed_op("add", FAST), timed_op("total")),
        versions={"torch": "2"},
    )
    wrong = report(
        Outcome.WRONG_VALUES,
        cases=(
            failed(n_wrong=1, n_total=2, samples=(Sample((0, 1), 1.0, 2.0),), diagnosis=Diagnosis("tail", "the mask")),
            CaseResult(WORK_CASE, "cpu", Outcome.TOO_MUCH_WORK, "too much", work=WORK, budgets=BUDGETS),
        ),
    )
    for one in (whole, wrong, report()):
        data = one.as_dict()
        again = json.loads(json.dumps(data, allow_nan=False))
        assert again["outcome"] == one.outcome
        assert again["version"] == REPORT_VERSION
        assert next(iter(again)) == "version"
        assert len(again["cases"]) == len(one.cases)


def test_first_failure_as_data() -> None:
    """The case to show is a place in the list of cases, or nothing."""
    cases = (*CORRECT, failed())
    assert report(Outcome.WRONG_VALUES, cases=cases).as_dict()["first_failure"] == len(CORRECT)
    assert report().as_dict()["first_failure"] is None


def test_elapsed_time_is_added() -> None:
    """The same report, with the time that the check took."""
    assert report().with_elapsed(1.5) == report(elapsed_s=1.5)


# Names of cases


def test_name_of_a_case() -> None:
    """The operation, axes by name, then what is unusual about dtype, distribution and layout."""
    params = {"dtype": "float16", "M": 3, "N": 5, "layout": "padded", "distribution": "normal"}
    assert Case(params).name == "M=3 N=5 float16 padded"
    assert Case({"n": 1, "layout": "contiguous"}).name == "n=1"
    assert Case({"n": 1, "op": "total"}).name == "total n=1"
    assert (Case({"n": 1, "op": "total"}).op, Case({"n": 1}).op) == ("total", "")


@pytest.mark.parametrize("exercise", CURRICULUM.exercises, ids=lambda exercise: exercise.id)
def test_names_are_unique(exercise: Exercise) -> None:
    """No two cases of an exercise share a name on a device, or a seed, whatever the sizes that are drawn."""
    grader = load_grader(CURRICULUM, exercise)
    for seed in range(200):
        cases = grader.cases(random.Random(seed))
        for device in ("cpu", "cuda"):
            names = [case.name for case in cases if device in case.devices]
            assert len(set(names)) == len(names), sorted(names)
        assert len({case_seed(seed, case) for case in cases}) == len(cases)


@pytest.mark.parametrize("exercise", CURRICULUM.exercises, ids=lambda exercise: exercise.id)
def test_cases_stay_within_their_rules(exercise: Exercise) -> None:
    """Work cases run on the CPU, speed cases on a card alone; every tier that is there has its figures."""
    grader = load_grader(CURRICULUM, exercise)
    cases = grader.cases(random.Random(5))
    judged = {target.of for target in exercise.targets if target.figure in QUALITIES}
    for case in cases:
        if case.tier is Tier.WORK:
            # What is counted has budgets; what is only judged by its quality may have none.
            assert "cpu" in case.devices
            assert grader.budgets(case) or case.op in judged
        assert case.tier is not Tier.SPEED or (case.devices == ("cuda",) and grader.traffic(case).bytes > 0)
    timed = {target.of for target in exercise.targets if target.figure not in QUALITIES}
    assert {case.op for case in cases if case.tier is Tier.SPEED} == timed
