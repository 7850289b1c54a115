"""`assignment.yaml`: what it says is read, and what it must not say is refused with its line."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from gpuprep.classroom.assignment import Assignment, Late, parse
from gpuprep.curriculum import Curriculum
from gpuprep.errors import CurriculumError
from gpuprep.model import Tier

FULL = """\
title: Homework 1
exercises:
  - id: ex_01
    weight: 2
    tiers: [work, correct]
    targets: {share_of_copy: {pass: 0.5, gold: 0.6}}
  - ex_02
limits: {seconds: 20}
hidden: {seeds: 2, shapes: {ex_01: [{n: 12345, dtype: float16}]}}
due: 2026-03-01T23:59+01:00
late: {per_day: 0.1, days: 3, grace_minutes: 10}
"""
PATH = Path("hw.yaml")


def at(text: str) -> datetime:
    """A moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def refusal(curriculum: Curriculum, text: str) -> str:
    """The message about a text that is refused."""
    with pytest.raises(CurriculumError) as caught:
        parse(text, PATH, curriculum)
    return caught.value.message


@pytest.fixture
def full(curriculum: Curriculum) -> Assignment:
    """An assignment with every key."""
    return parse(FULL, PATH, curriculum)


def test_every_key_is_read(full: Assignment) -> None:
    """Weights, tiers, targets, limits, hidden seeds, the due date and what is late."""
    first, second = full.exercises
    assert (full.title, first.id, first.weight) == ("Homework 1", "ex_01", 2.0)
    assert first.tiers == (Tier.CORRECT, Tier.WORK)
    assert [(target.figure, target.pass_at, target.gold_at) for target in first.exercise.targets] == [
        ("share_of_copy", 0.5, 0.6)
    ]
    assert (second.id, second.weight, second.tiers) == ("ex_02", 1.0, tuple(Tier))
    assert (full.limit_s, full.n_hidden_seeds) == (20.0, 2)
    assert [(each.shape, each.line) for each in first.shapes] == [({"n": 12345, "dtype": "float16"}, 9)]
    assert (full.n_checks(first), full.n_checks(second), second.shapes) == (3, 3, ())
    assert full.due == at("2026-03-01T22:59")
    assert full.late == Late(0.1, 3, 600.0)


def test_short_form_is_enough(curriculum: Curriculum) -> None:
    """A title and ids will do."""
    found = parse("title: A\nexercises: [ex_03]\n", PATH, curriculum)
    assert [assigned.id for assigned in found.exercises] == ["ex_03"]
    assert found.days_late(at("2030-01-01")) == 0


@pytest.mark.parametrize(
    ("submitted", "n_days", "kept"),
    [
        ("2026-03-01T22:00", 0, 1.0),
        ("2026-03-01T23:08", 0, 1.0),
        ("2026-03-01T23:10", 1, 0.9),
        ("2026-03-02T23:00", 2, 0.8),
        ("2026-03-05T12:00", 4, 0.0),
    ],
)
def test_late_days_that_have_begun_cost(full: Assignment, submitted: str, n_days: int, kept: float) -> None:
    """Grace minutes cost nothing, a day that has begun costs its share, and after the last day nothing is left."""
    assert full.days_late(at(submitted)) == n_days
    assert full.kept(n_days) == pytest.approx(kept)


def test_hash_is_of_what_it_says(curriculum: Curriculum, full: Assignment) -> None:
    """A comment changes nothing, a weight does."""
    assert parse(f"# for the autumn\n{FULL}", PATH, curriculum).hash == full.hash
    assert parse(FULL.replace("weight: 2", "weight: 3"), PATH, curriculum).hash != full.hash
    assert parse(FULL.replace("pass: 0.5", "pass: 0.4"), PATH, curriculum).hash != full.hash
    assert parse(FULL.replace("12345", "12346"), PATH, curriculum).hash != full.hash


@pytest.mark.parametrize(
    ("before", "after", "line", "said"),
    [
        ("hidden:", "hiden:", 9, "did you mean 'hidden'?"),
        ("weight: 2", "wieght: 2", 4, "did you mean 'weight'?"),
        ("- ex_02", "- ex_01", 7, "twice"),
        ("- ex_02", "- ex_99", 7, "no exercise 'ex_99'"),
        ("weight: 2", "weight: 0", 4, "above 0"),
        ("[work, correct]", "[work, corect]", 5, "did you mean 'correct'?"),
        ("[work, correct]", "[]", 5, "at least one tier"),
        ("share_of_copy", "share_of_matmul", 6, "ex_01 has no target share_of_matmul"),
        ("seconds: 20", "seconds: -1", 8, "above 0"),
        ("seeds: 2", "seeds: 200", 9, "from 0 to"),
        ("seeds: 2, shapes: {ex_01: [{n: 12345, dtype: float16}]}", "", 9, "`seeds`, `shapes` or both"),
        ("{ex_01: [{n", "{ex_04: [{n", 9, "'ex_04' is not assigned"),
        ("[{n: 12345, dtype: float16}]", "[]", 9, "1 to 20 shapes"),
        ("{n: 12345, dtype: float16}", "{}", 9, "name a size"),
        ("12345", "[12345]", 9, "want a number, have a list"),
        ("2026-03-01T23:59+01:00", "2026-03-01T23:59", 10, "offset"),
        ("2026-03-01T23:59+01:00", "tomorrow", 10, "2026-03-01"),
        ("2026-03-01T23:59+01:00", "9999-12-31T23:59-14:00", 10, "beyond the calendar"),
        ("per_day: 0.1", "per_day: 10", 11, "from 0 to 1"),
        ("days: 3", "days: -3", 11, "number of days"),
        ("minutes: 10", "minutes: -1", 11, "number of minutes"),
        ("due: 2026-03-01T23:59+01:00\n", "", 10, "add `due`"),
        ("- id: ex_01", "- idx: ex_01", 3, "did you mean 'id'?"),
    ],
)
def test_mistake_is_refused_with_its_line(
    curriculum: Curriculum, before: str, after: str, line: int, said: str
) -> None:
    """The message names file and line, and what would be right."""
    message = refusal(curriculum, FULL.replace(before, after, 1))
    assert message.startswith(f"hw.yaml:{line}: ")
    assert said in message


def test_assignment_without_exercises_is_refused(curriculum: Curriculum) -> None:
    """There would be nothing to grade."""
    assert "at least one exercise" in refusal(curriculum, "title: A\nexercises: []\n")
