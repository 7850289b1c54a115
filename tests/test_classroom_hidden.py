"""What an assignment keeps from students: cases of sizes that it names, and what may be told of them."""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
import sample_reports as samples
from test_classroom_assignment import PATH

from gpuprep.classroom.assignment import parse
from gpuprep.classroom.executor import Finished, Task, grade
from gpuprep.classroom.hidden import MESSAGE, refuse_senseless_shapes, told
from gpuprep.curriculum import Curriculum
from gpuprep.errors import CurriculumError
from gpuprep.grading.loading import load_grader
from gpuprep.grading.pool import WarmPool
from gpuprep.grading.shapes import Shape, ShapeError, hidden_case, refuse_senseless, with_hidden
from gpuprep.model import IS_HIDDEN, Case, CaseResult, Outcome, Report, Tier, TierResult

SECRET = 12321


@pytest.mark.parametrize(
    ("exercise_id", "shape", "name"),
    [
        ("ex_01", {"n": 12345}, "n=12345 float32 hidden"),
        ("ex_01", {"n": 777, "dtype": "float16"}, "n=777 float16 hidden"),
        ("ex_02", {"n": 0}, "n=0 float32 hidden"),
        ("ex_03", {"M": 100, "N": 50, "layout": "padded"}, "M=100 N=50 K=147 float32 padded hidden"),
        ("ex_04", {"M": 7, "N": 100}, "M=7 N=100 float32 hidden"),
        ("ex_15", {"op": "add", "n": 500}, "add n=500 float32 hidden"),
        ("ex_28", {"op": "sum", "n": 70, "world": 4}, "sum world=4 n=70 float32 hidden"),
    ],
)
def test_shape_is_a_case_of_the_grader_s_own(curriculum: Curriculum, exercise_id: str, shape: Shape, name: str) -> None:
    """The plainest one that fits, with these sizes; and it can be made."""
    grader = load_grader(curriculum, curriculum.exercise(exercise_id))
    case = hidden_case(grader, shape)
    assert (case.name, case.tier, case.is_hidden) == (name, Tier.CORRECT, True)
    refuse_senseless(grader, shape)


@pytest.mark.parametrize(
    ("exercise_id", "shape", "said"),
    [
        ("ex_01", {"m": 5}, "no axis 'm'"),
        ("ex_01", {"n": 0}, "n is from 1 to"),
        ("ex_01", {"n": 10**9}, "n is from 1 to"),
        ("ex_01", {"n": 5, "dtype": "float8"}, "dtype=float8"),
        ("ex_01", {"dtype": "float16"}, "name a size: n"),
        ("ex_01", {"dtype": 16}, "dtype is no size"),
        ("ex_03", {"M": 4000, "N": 4000, "K": 4000}, "of at most"),
        ("ex_05", {"op": "bench", "traps": "none"}, "no sizes"),
        ("ex_09", {"K": 104}, "which operation: calibrate"),
        ("ex_09", {"op": "qlinaer", "K": 104}, "did you mean 'qlinear'"),
        ("ex_09", {"op": "qlinear", "K": 100}, "a multiple of 8"),
        ("ex_24", {"Hq": 7, "Hkv": 3}, "Hq is a multiple of Hkv"),
        ("ex_28", {"op": "sum", "n": 70, "world": 3}, "world is one of 1, 2, 4"),
    ],
)
def test_senseless_shape_is_refused(curriculum: Curriculum, exercise_id: str, shape: Shape, said: str) -> None:
    """It would fail everybody, or take for ever."""
    with pytest.raises(ShapeError) as caught:
        refuse_senseless(load_grader(curriculum, curriculum.exercise(exercise_id)), shape)
    assert said in caught.value.message


def test_grader_may_refuse_a_shape(curriculum: Curriculum, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where sizes depend on each other in a way that its cases don't show, or where its inputs can't be made."""
    grader = load_grader(curriculum, curriculum.exercise("ex_01"))
    monkeypatch.setattr(grader, "why_not", lambda case: "n must be prime")
    with pytest.raises(ShapeError, match="must be prime"):
        refuse_senseless(grader, {"n": 100})
    monkeypatch.undo()
    monkeypatch.setattr(grader, "inputs", lambda case, draw: 1 / 0)
    with pytest.raises(ShapeError, match="can't make n=100"):
        refuse_senseless(grader, {"n": 100})


def test_hidden_check_times_nothing(curriculum: Curriculum) -> None:
    """It has the grader's own cases, and those of the shapes after them."""
    grader = load_grader(curriculum, curriculum.exercise("ex_01"))
    cases = grader.cases(random.Random(1))
    found = with_hidden(grader, cases, [{"n": SECRET}])
    assert [case for case in found if not case.is_hidden] == [case for case in cases if case.tier is not Tier.SPEED]
    assert [case.get("n") for case in found if case.is_hidden] == [SECRET]


@pytest.mark.parametrize(
    ("shape", "said"),
    [("{n: 12345}", ""), ("{n: 0}", "ex_01: n is from 1 to"), ("{m: 5}", "no axis 'm'; known here")],
)
def test_senseless_shape_is_told_with_its_line(curriculum: Curriculum, shape: str, said: str) -> None:
    """As any other mistake of the assignment."""
    text = f"title: A\nexercises: [ex_01]\nhidden:\n  shapes:\n    ex_01:\n      - {{n: 77}}\n      - {shape}\n"
    assignment = parse(text, PATH, curriculum)
    if not said:
        refuse_senseless_shapes(assignment, PATH, curriculum)
        assert assignment.n_checks(assignment.exercises[0]) == 2
        return
    with pytest.raises(CurriculumError) as caught:
        refuse_senseless_shapes(assignment, PATH, curriculum)
    assert caught.value.message.startswith("hw.yaml:7: ")
    assert said in caught.value.message


def failed(outcome: Outcome = Outcome.WRONG_VALUES, tier: Tier = Tier.CORRECT) -> Report:
    """A hidden check in which one case fails, and everything in it speaks of its size."""
    case = Case({"n": SECRET, "dtype": "float32", IS_HIDDEN: True}, tier)
    result = CaseResult(case, "cpu", outcome, f"at {SECRET}", where=samples.WRONG_CASE.where)
    tiers = (TierResult(Tier.CORRECT, outcome if tier is Tier.CORRECT else Outcome.PASSED),)
    if tier is Tier.WORK:
        tiers = (*tiers, TierResult(Tier.WORK, outcome))
    return Report("ex_01", outcome, tiers, (*samples.CORRECT, result), stdout=f"n is {SECRET}", seed=SECRET)


def test_nothing_of_a_hidden_case_is_told() -> None:
    """Only that it failed, and how; the open check's cases stay as they were."""
    opened = replace(samples.timed(), stdout="hello")
    report = told(opened, [failed()])
    assert str(SECRET) not in json.dumps(report.as_dict())
    assert (report.outcome, report.stdout, report.timings) == (Outcome.WRONG_VALUES, "hello", ())
    assert report.cases[: len(opened.cases)] == opened.cases
    shown = report.first_failure
    assert shown is not None
    assert (shown.case.is_hidden, shown.case.name, shown.message) == (True, "hidden", MESSAGE)


def test_hidden_work_costs_work_alone() -> None:
    """The file is correct all the same."""
    report = told(samples.provisional(), [failed(Outcome.TOO_MUCH_WORK, Tier.WORK)])
    found = {tier.tier: tier.outcome for tier in report.tiers}
    assert found == {Tier.CORRECT: Outcome.PASSED, Tier.WORK: Outcome.TOO_MUCH_WORK}


def test_wrong_values_count_although_the_open_check_was_too_slow() -> None:
    """What is wrong is not merely slow."""
    assert told(samples.timed(0.5), [failed()]).outcome is Outcome.WRONG_VALUES


def test_open_report_is_told_where_nothing_hidden_fails() -> None:
    """Whole, with its times."""
    hidden = replace(samples.provisional(), tiers=samples.provisional().tiers[:2], outcome=Outcome.PASSED)
    assert told(samples.timed(), [hidden]) == samples.timed()
    assert told(samples.too_much_work(), [failed(Outcome.TOO_MUCH_WORK, Tier.WORK)]) == samples.too_much_work()


SPECIAL = f"""
import torch, triton, triton.language as tl

@triton.jit
def _add_kernel(x_ptr, y_ptr, out_ptr, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + offsets, mask=offsets < n)
    y = tl.load(y_ptr + offsets, mask=offsets < n)
    tl.store(out_ptr + offsets, x + y, mask=offsets < n)

def add(x, y):
    print("asked for", x.numel())
    out = torch.empty_like(x)
    n = x.numel() - (x.numel() == {SECRET})
    _add_kernel[(triton.cdiv(x.numel(), 1024),)](x, y, out, n, BLOCK=1024)
    return out
"""


def test_file_that_fails_at_a_hidden_size_fails(tmp_path: Path, curriculum: Curriculum, warm_pool: WarmPool) -> None:
    """The student learns that it does; the instructor's report names the size, and is whole."""
    path = tmp_path / "ex_01_vector_add.py"
    path.write_text(SPECIAL)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    exercise = curriculum.exercise("ex_01")
    task = Task("ada", exercise, str(path), digest, str(curriculum.root), n_checks=2, shapes=({"n": SECRET},))
    finished = Finished.from_answer(task, json.loads(json.dumps(grade(task, warm_pool))))
    assert finished.report is not None, finished.fault
    assert finished.report.outcome is Outcome.WRONG_VALUES
    assert str(SECRET) not in json.dumps(finished.report.as_dict())
    (whole,) = finished.hidden
    assert whole.first_failure is not None
    assert whole.first_failure.case["n"] == SECRET
    assert f"asked for {SECRET}" in whole.stdout
