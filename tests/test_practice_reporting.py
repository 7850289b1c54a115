"""What the report is made of: the record's own figures, compared only where they can be, and nothing else."""

from __future__ import annotations

import json
import math
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import sample_attempts as samples

from gpuprep.curriculum import Curriculum
from gpuprep.exercise import Target
from gpuprep.model import CardState, Case, Measurement, Outcome, Report
from gpuprep.portfolio import LEAST_BYTES, ExerciseStory, Portfolio, differ_by
from gpuprep.practice.desk import Desk
from gpuprep.practice.reporting import portfolio
from gpuprep.render.report_words import _counted_table

MakeDesk = Callable[[list[Report]], Desk]


@pytest.fixture
def make_desk(tmp_path: Path, curriculum: Curriculum) -> MakeDesk:
    """Makes a workspace with a record."""
    return lambda reports: samples.desk_with(tmp_path, curriculum, reports)


def only(told: Portfolio) -> ExerciseStory:
    """The one exercise that was tried."""
    (story,) = told.stories
    return story


def test_before_is_the_first_time_and_after_the_best(make_desk: MakeDesk) -> None:
    """Failed attempts have no times, and a later slower one changes nothing."""
    reports = [
        samples.failed("ex_01"),
        samples.timed("ex_01", samples.timing(2.4), outcome=Outcome.TOO_SLOW),
        samples.timed("ex_01", samples.timing(0.78)),
        samples.timed("ex_01", samples.timing(0.80)),
    ]
    story = only(portfolio(make_desk(reports)))
    (change,) = story.timed
    assert change.before is not None
    assert (change.before.number, change.after.number) == (2, 3)
    assert (change.before.timing.median_ms, change.after.timing.median_ms) == (2.4, 0.78)
    (curve,) = story.curves
    assert [point.number for point in curve.points] == [2, 3, 4]
    assert [step.cause for step in story.steps] == ["tail", "", "", ""]


def test_one_time_has_no_before(make_desk: MakeDesk) -> None:
    """Nothing takes the place of what was not measured."""
    (change,) = only(portfolio(make_desk([samples.timed("ex_01", samples.timing(0.8))]))).timed
    assert change.before is None


def test_times_of_other_cards_sizes_and_dtypes_are_not_compared(make_desk: MakeDesk) -> None:
    """Each has its own place in the report."""
    other_card = replace(samples.timing(0.5), device="NVIDIA L4")
    times = [
        samples.timing(2.4),
        samples.timing(0.6, n=2**26),
        other_card,
        samples.timing(1.2, dtype="float16"),
        samples.timing(2.2, n=2**28 - 4096),
    ]
    story = only(portfolio(make_desk([samples.timed("ex_01", time) for time in times])))
    pairs = [(change.before.number if change.before else None, change.after.number) for change in story.timed]
    assert pairs == [(1, 5), (None, 2), (None, 3), (None, 4)]


def test_times_of_a_throttling_card_are_left_out_and_said(make_desk: MakeDesk) -> None:
    """Not even as a before."""
    spoilt = samples.timing(5.0, card=CardState(is_spoiled=True))
    reports = [
        samples.timed("ex_01", spoilt, outcome=Outcome.INCONCLUSIVE),
        samples.timed("ex_01", samples.timing(0.8)),
    ]
    story = only(portfolio(make_desk(reports)))
    assert [(change.before, change.after.number) for change in story.timed] == [(None, 2)]
    assert any("attempt 1" in sentence for sentence in story.missing)


def test_each_operation_is_told_apart(make_desk: MakeDesk) -> None:
    """A curve, a table and a point on the roofline for each."""
    reports = [samples.timed("ex_15", samples.timing(0.9, op="add"), samples.timing(0.9, op="total"))] * 2
    told = portfolio(make_desk(reports))
    story = only(told)
    assert [curve.op for curve in story.curves] == ["add", "total"]
    assert [change.after.timing.case.op for change in story.timed] == ["add", "total"]
    points = [point for module in told.modules for roofline in module.rooflines for point in roofline.points]
    assert [(point.exercise_id, point.op) for point in points] == [("ex_15", "add"), ("ex_15", "total")]


def test_roofline_has_what_computes_and_names_what_does_not(make_desk: MakeDesk) -> None:
    """The place of a point follows from the record: FLOP a byte, and what was computed in the best time."""
    reports = [
        samples.timed("ex_15", samples.timing(2.0, op="add", flops_a_byte=0.5)),
        samples.timed("ex_16", samples.timing(0.8, flops_a_byte=0.0)),
        samples.timed("ex_17", samples.timing(0.8, has_roof=False)),
    ]
    module = next(m for m in portfolio(make_desk(reports)).modules if m.stories)
    (roofline,) = module.rooflines
    (point,) = roofline.points
    assert point.flop_per_byte == 0.5
    assert point.tflop_per_s == pytest.approx(0.5 * 12 * 2**28 / 1e12 / 2e-3)
    assert (roofline.copy_gb_per_s, roofline.matmul_tflop_per_s) == (4300.0, {"float32": 700.0})
    assert [sentence.split(":")[0] for sentence in module.missing] == ["ex_16"]
    assert any("no point on a roofline" in sentence for sentence in module.stories[-1].missing)


def test_without_a_card_counted_work_is_told(make_desk: MakeDesk) -> None:
    """The curve is the least bytes over those counted; speed is said to be missing, on the whole and here."""
    told = portfolio(make_desk([samples.counted("ex_02", times) for times in (3, 2, 1, 1)]))
    story = only(told)
    (curve,) = story.curves
    assert (curve.figure, [point.value for point in curve.points]) == (LEAST_BYTES, [0.5, 2 / 3, 1.0, 1.0])
    (change,) = story.counted
    assert change.before is not None
    assert (change.before.number, change.after.number) == (1, 3)
    assert not story.timed
    assert any("Never timed" in sentence for sentence in story.missing)
    assert any("No attempt was timed" in sentence for sentence in told.missing)


def test_work_of_a_wrong_attempt_does_not_count(make_desk: MakeDesk) -> None:
    """What loads too little because it forgets the tail is no best."""
    wrong = samples.failed("ex_02")
    cheap = replace(wrong, cases=(*wrong.cases, samples.counted("ex_02", 1).cases[-1]))
    story = only(portfolio(make_desk([cheap])))
    assert story.counted == ()
    assert any("right results" in sentence for sentence in story.missing)


def test_untried_workspace_says_so(make_desk: MakeDesk) -> None:
    """No story, no figure, a sentence; every exercise is listed as not tried."""
    told = portfolio(make_desk([]))
    assert told.stories == ()
    assert told.missing
    assert sum(len(module.untried) for module in told.modules) == sum(module.total for module in told.modules)


def test_only_the_exercises_that_were_asked_for(make_desk: MakeDesk) -> None:
    """Modules without any of them are left out."""
    desk = make_desk(samples.story())
    told = portfolio(desk, [desk.curriculum.exercise("ex_03")])
    assert [module.id for module in told.modules] == ["00_foundations"]
    assert [story.exercise.id for story in told.stories] == ["ex_03"]


def test_records_of_other_versions_are_read_as_far_as_they_go(make_desk: MakeDesk) -> None:
    """Version 1 had one `timing` and no ceilings; a later one may have keys and figures that nobody knows here."""
    desk = make_desk([samples.timed("ex_01", samples.timing(2.4)), samples.timed("ex_01", samples.timing(0.8))])
    connection = sqlite3.connect(desk.workspace.progress_path)
    (old, new) = (json.loads(text) for (text,) in connection.execute("SELECT report FROM attempts ORDER BY id"))
    old["timing"] = old.pop("timings")[0]
    del old["timing"]["roof"], old["timing"]["figures"][0]["target"]["of"]
    new["timings"][0]["figures"].append({"target": {"figure": "share_of_moon"}, "value": 1, "low": 1, "high": 1})
    new["timings"][0]["mood"] = "fine"
    new["timings"].append({"strange": True})
    new["cases"].append({"case": None})
    for number, report in ((1, {**old, "version": 1}), (2, new)):
        connection.execute("UPDATE attempts SET report = ? WHERE id = ?", (json.dumps(report), number))
    connection.commit()
    connection.close()
    (change,) = only(portfolio(desk)).timed
    assert change.before is not None
    assert (change.before.timing.median_ms, change.before.timing.roof) == (2.4, None)
    assert (change.after.timing.median_ms, len(change.after.timing.figures)) == (0.8, 1)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ({"n": 100}, {"n": 100}, 0.0),
        ({"M": 100, "N": 8}, {"M": 96, "N": 8}, 0.04),
        ({"n": 100, "dtype": "float32"}, {"n": 100, "dtype": "float16"}, math.inf),
        ({"n": 100}, {"m": 100}, math.inf),
    ],
)
def test_sizes_differ_by(one: dict[str, int | str], other: dict[str, int | str], expected: float) -> None:
    """The largest relative difference of sizes; anything else that differs makes them another case."""
    assert differ_by(Case(one), Case(other)) == pytest.approx(expected)


def run(desk: Desk, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, as a person would type it in the workspace."""
    command = [sys.executable, "-m", "gpuprep", "report", *arguments]
    return subprocess.run(command, cwd=desk.workspace.root, capture_output=True, text=True, timeout=60, check=False)


def test_command_writes_the_page_and_says_where(make_desk: MakeDesk) -> None:
    """By default beside one's work; `--md` is another file, `--out` any other place, `-` stdout."""
    desk = make_desk(samples.story())
    done = run(desk)
    assert done.returncode == 0, done.stderr
    assert "gpuprep-report.html" in done.stdout
    assert (desk.workspace.root / "gpuprep-report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert run(desk, "--md", "--out", "-").stdout.startswith("# ")
    assert run(desk, "--md", "--out", "docs/mine.md").returncode == 0
    assert (desk.workspace.root / "docs" / "mine.md").is_file()


def test_command_as_json_names_the_file(make_desk: MakeDesk) -> None:
    """And has every curve and table in it."""
    desk = make_desk(samples.story())
    document = json.loads(run(desk, "ex_01", "--json").stdout)
    assert document["path"] == str(desk.workspace.root / "gpuprep-report.html")
    (exercise,) = document["modules"][0]["exercises"]
    assert [point["attempt"] for point in exercise["curves"][0]["points"]] == [3, 4, 5, 6]
    assert exercise["tables"][0]["headers"] == ["Metric", "Before (attempt 3)", "After (attempt 5)", "Speedup"]


def test_command_that_can_not_write_says_so(make_desk: MakeDesk) -> None:
    """A folder in the way is a person's to mend."""
    desk = make_desk([])
    (desk.workspace.root / "gpuprep-report.html").mkdir()
    done = run(desk)
    assert (done.returncode, done.stdout) == (2, "")
    assert "gpuprep-report.html" in done.stderr


def test_quality_is_told_beside_counted_work(make_desk: MakeDesk) -> None:
    """Decibels are measured on every machine; of two attempts with the same work, the better one counts."""

    def quantized(decibels: float) -> Report:
        report = samples.counted("ex_09", 1)
        figure = Measurement(Target("sqnr_db", 30.0, 40.0), decibels, decibels, decibels)
        worked = replace(report.cases[-1], figures=(figure,))
        return replace(report, cases=(*report.cases[:-1], worked))

    (change,) = only(portfolio(make_desk([quantized(35.0), quantized(41.5)]))).counted
    assert change.before is not None
    assert [found.figures[0].value for found in (change.before, change.after)] == [35.0, 41.5]
    assert ("dB of signal over quantization noise", "35.0", "41.5", "") in _counted_table(change).rows
