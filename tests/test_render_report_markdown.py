"""The report as Markdown: the shape of a project's README, with nothing in it that was not measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import sample_attempts as samples
from golden_files import assert_golden

from gpuprep.curriculum import Curriculum
from gpuprep.portfolio import ExerciseStory, Portfolio
from gpuprep.practice.reporting import portfolio
from gpuprep.render.report_markdown import plain, report_markdown
from gpuprep.render.report_written import written_page

DAY = "2026-11-21T10:00:00.000+00:00"
EXERCISES = ("ex_01", "ex_02", "ex_04")


@pytest.fixture
def told(tmp_path: Path, curriculum: Curriculum) -> Portfolio:
    """A day's work on three exercises."""
    reports = [report for report in samples.story() if report.exercise_id in EXERCISES]
    desk = samples.desk_with(tmp_path, curriculum, reports)
    found = portfolio(desk, [curriculum.exercise(key) for key in EXERCISES], made_at=DAY)
    modules = tuple(replace(module, stories=tuple(map(fixed, module.stories))) for module in found.modules)
    return replace(found, modules=modules, version="0.1.0")


def fixed(story: ExerciseStory) -> ExerciseStory:
    """The same story, with a day and a summary that stay as the golden files have them."""
    exercise = replace(story.exercise, title="A title", summary="`f(x)`: what is written")
    return replace(story, exercise=exercise, steps=tuple(replace(step, at=DAY) for step in story.steps))


def test_text_is_what_it_was(told: Portfolio) -> None:
    """Performance, benchmarks and usage of each; what only the learner can write is left as a comment."""
    assert_golden("portfolio_md", report_markdown(told))


def test_what_is_said_when_it_is_written(told: Portfolio) -> None:
    """Where it is, what is in it, and which speeds are missing."""
    text = written_page(told, "gpuprep-report.html", 48_500).text()
    assert_golden("portfolio_written", text)
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("text", ["<script>", "a | b", "*x*", "_y_", "[z](http://x)", "# head", "a\n\n- b", "`c`"])
def test_plain_text_makes_no_markup(text: str) -> None:
    """Whatever a title holds, it neither ends a table's cell nor starts an element."""
    shown = plain(text)
    assert "\n" not in shown
    assert "<" not in shown
    assert all(shown[place - 1] == "\\" for place, letter in enumerate(shown) if letter in "|*_[`#")
