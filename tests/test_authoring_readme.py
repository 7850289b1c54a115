"""The curriculum's table in a README: written between its markers, and left alone elsewhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gpuprep.authoring.readme import BEGIN, END, refresh_readme, render_table, update_readme
from gpuprep.curriculum import Curriculum
from gpuprep.errors import CurriculumError
from gpuprep.exercise import Target


@pytest.fixture
def own(curriculum: Curriculum, tmp_path: Path) -> Curriculum:
    """The checkout's curriculum as if it stood in a folder of its own."""
    return replace(curriculum, root=tmp_path)


def rows(table: str) -> list[list[str]]:
    """The cells of the rows that stand for exercises."""
    lines = [line for line in table.splitlines() if line.startswith("| ex_")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_table_has_every_exercise_in_order(curriculum: Curriculum) -> None:
    """One row an exercise, with its title and its targets."""
    table = rows(render_table(curriculum))
    assert [row[0] for row in table] == [exercise.id for exercise in curriculum.exercises]
    for row, exercise in zip(table, curriculum.exercises, strict=True):
        assert exercise.title in row[1]
        assert row[-1].count("→") == sum(target.gold_at is not None for target in exercise.targets)


def test_table_survives_a_bar_in_a_summary(curriculum: Curriculum) -> None:
    """A | in a cell is escaped, or it would begin another cell."""
    first = replace(curriculum.exercises[0], summary="a|b", targets=())
    table = render_table(replace(curriculum, exercises=(first, *curriculum.exercises[1:])))
    assert rows(table)[0][2:] == ["a\\|b", "Triton", str(first.minutes), "not timed"]


def test_each_operation_has_its_targets(curriculum: Curriculum) -> None:
    """Operations that are timed apart are named, each before its targets."""
    targets = (
        Target("share_of_copy", 0.85, 0.95, "add"),
        Target("times_eager", 2.0, None, "add"),
        Target("share_of_copy", 0.7, None, "total"),
    )
    first = replace(curriculum.exercises[0], targets=targets)
    table = render_table(replace(curriculum, exercises=(first, *curriculum.exercises[1:])))
    assert rows(table)[0][-1] == "add: 0.85 → 0.95 of the copy rate, 2 × torch eager; total: 0.70 of the copy rate"


def test_only_the_table_is_written(own: Curriculum, tmp_path: Path) -> None:
    """What stands around the markers stays; a second time there is nothing to write."""
    path = tmp_path / "README.md"
    path.write_text(f"# Mine\n\n{BEGIN}\nfrom last year\n{END}\n\nThe end.\n", encoding="utf-8")
    assert update_readme(path, own)
    text = path.read_text(encoding="utf-8")
    assert text.startswith(f"# Mine\n\n{BEGIN}\n")
    assert text.endswith(f"{END}\n\nThe end.\n")
    assert render_table(own) in text
    assert "from last year" not in text
    assert not update_readme(path, own)


def test_check_writes_nothing(own: Curriculum, tmp_path: Path) -> None:
    """A stale table is only reported."""
    path = tmp_path / "README.md"
    path.write_text(f"{BEGIN}\n{END}\n", encoding="utf-8")
    assert [result.status for result in refresh_readme(own, check=True)] == ["stale"]
    assert path.read_text(encoding="utf-8") == f"{BEGIN}\n{END}\n"
    assert [result.status for result in refresh_readme(own)] == ["written"]
    assert [result.status for result in refresh_readme(own)] == ["unchanged"]


@pytest.mark.parametrize("text", [None, "# No table here\n"])
def test_curriculum_without_a_table_is_left_alone(own: Curriculum, tmp_path: Path, text: str | None) -> None:
    """No README, or one without markers, has nothing to refresh."""
    if text is not None:
        (tmp_path / "README.md").write_text(text, encoding="utf-8")
    assert refresh_readme(own) == ()


@pytest.mark.parametrize("text", [BEGIN, END, f"{END}\n{BEGIN}", f"{BEGIN}{END}{BEGIN}{END}"])
def test_markers_must_be_a_pair(own: Curriculum, tmp_path: Path, text: str) -> None:
    """With half a pair nobody knows where the table ends, so nothing is written."""
    path = tmp_path / "README.md"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CurriculumError):
        update_readme(path, own)
    assert path.read_text(encoding="utf-8") == text


def test_unreadable_readme_is_an_error(own: Curriculum, tmp_path: Path) -> None:
    """A file that isn't UTF-8 is named, not overwritten."""
    path = tmp_path / "README.md"
    path.write_bytes(b"\xff" + BEGIN.encode())
    with pytest.raises(CurriculumError, match=r"README\.md"):
        refresh_readme(own)
