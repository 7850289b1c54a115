"""Who sees a solution, and what of the reference they see."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpuprep import curriculum as curriculum_module
from gpuprep.curriculum import Curriculum, Module
from gpuprep.errors import CurriculumError, GpuprepError, ProgressError
from gpuprep.exercise import Exercise, Hint
from gpuprep.model import Case, CaseResult, Outcome, Report
from gpuprep.practice.solutions import solution, without_markers
from gpuprep.progress import Progress

EXERCISE = Exercise("ex_01", "thing", "Thing", "00_first", "triton", "", 10, (Hint("think"),))

REFERENCE = '''"""The task."""


def double(x):
    # BEGIN PROMPT
    # # TODO: write it.
    # raise NotImplementedError
    # END PROMPT
    # BEGIN SOLUTION
    # Twice is enough.
    return 2 * x
    # END SOLUTION
'''

SHOWN = '''"""The task."""


def double(x):
    # Twice is enough.
    return 2 * x
'''


@pytest.fixture
def curriculum(tmp_path: Path) -> Curriculum:
    found = Curriculum(tmp_path, "All", (Module("00_first", "First", ("ex_01",)),), (EXERCISE,), ())
    path = found.reference_path(EXERCISE)
    path.parent.mkdir(parents=True)
    path.write_text(REFERENCE)
    return found


@pytest.fixture
def progress(tmp_path: Path) -> Iterator[Progress]:
    with Progress(tmp_path / ".gpuprep" / "progress.db") as opened:
        yield opened


def _pass_it(progress: Progress) -> None:
    results = (CaseResult(Case({"n": 1}), "cpu", Outcome.PASSED),)
    progress.record(Report("ex_01", Outcome.PROVISIONAL, cases=results))


def test_after_a_pass_the_solution_is_shown_for_free(curriculum: Curriculum, progress: Progress) -> None:
    """A pass, even one with a failure after it, opens the solution, and nothing is held against the learner."""
    _pass_it(progress)
    progress.record(Report("ex_01", Outcome.RAISED, message="no"))

    shown = solution(curriculum, progress, EXERCISE)

    assert (shown.path, shown.text, shown.forced) == (curriculum.reference_path(EXERCISE), SHOWN, False)
    assert not progress.solution_seen("ex_01")


def test_force_after_a_pass_costs_nothing(curriculum: Curriculum, progress: Progress) -> None:
    """--force where it wasn't needed leaves no mark."""
    _pass_it(progress)
    assert not solution(curriculum, progress, EXERCISE, force=True).forced
    assert not progress.solution_seen("ex_01")


@pytest.mark.parametrize("n_failures", [0, 2])
def test_before_a_pass_the_price_is_named(curriculum: Curriculum, progress: Progress, n_failures: int) -> None:
    """Without a pass nothing is shown, and the error says what --force costs."""
    for _ in range(n_failures):
        progress.record(Report("ex_01", Outcome.RAISED, message="no"))

    with pytest.raises(GpuprepError) as caught:
        solution(curriculum, progress, EXERCISE)

    assert "--force" in caught.value.message
    assert "progress" in caught.value.message
    assert caught.value.next_step
    assert not progress.solution_seen("ex_01")


def test_force_shows_and_records(curriculum: Curriculum, progress: Progress) -> None:
    """--force before a pass shows the same text and leaves the mark."""
    shown = solution(curriculum, progress, EXERCISE, force=True)

    assert (shown.text, shown.forced) == (SHOWN, True)
    assert progress.solution_seen("ex_01")


def test_what_cannot_be_recorded_is_not_shown(curriculum: Curriculum, tmp_path: Path) -> None:
    """Where the mark can't be written, the solution stays closed."""
    (tmp_path / "blocked").write_text("no folder")
    with Progress(tmp_path / "blocked" / "progress.db") as progress, pytest.raises(ProgressError):
        solution(curriculum, progress, EXERCISE, force=True)


def test_a_missing_reference_costs_nothing(curriculum: Curriculum, progress: Progress) -> None:
    """Where there is nothing to show, nothing is marked as seen."""
    curriculum.reference_path(EXERCISE).unlink()
    with pytest.raises(CurriculumError, match="ex_01_thing"):
        solution(curriculum, progress, EXERCISE, force=True)
    assert not progress.solution_seen("ex_01")


def test_the_cuda_file_belongs_to_the_solution(curriculum: Curriculum, progress: Progress) -> None:
    """A .cu beside the reference is shown too, its `//` markers removed."""
    cuda = curriculum.reference_path(EXERCISE).with_suffix(".cu")
    cuda.write_text("// BEGIN PROMPT\n// // TODO\n// END PROMPT\n// BEGIN SOLUTION\nint x;\n// END SOLUTION\n")
    _pass_it(progress)

    text = solution(curriculum, progress, EXERCISE).text

    assert SHOWN in text
    assert "int x;" in text
    assert "ex_01_thing.cu" in text
    assert "SOLUTION" not in text
    assert "TODO" not in text


def test_the_shipped_references_stay_python(tmp_path: Path) -> None:
    """Every reference of the package, without its markers, still parses and keeps no prompt."""
    shipped = curriculum_module.load()
    for exercise in shipped.exercises:
        path = shipped.reference_path(exercise)
        text = without_markers(path.read_text(encoding="utf-8"), path)
        ast.parse(text)
        assert "TODO" not in text
        assert "NotImplementedError" not in text


@pytest.mark.parametrize(
    "text",
    [
        "# BEGIN PROMPT\n# x\n",
        "# END SOLUTION\n",
        "# BEGIN SOLUTION\n# BEGIN PROMPT\n# END PROMPT\n# END SOLUTION\n",
        "# BEGIN SOLUTION\n# END PROMPT\n",
    ],
)
def test_markers_out_of_place_are_an_error(text: str) -> None:
    """A region that is open at the end, closed twice or nested must not silently swallow the solution."""
    with pytest.raises(CurriculumError, match="where"):
        without_markers(text, Path("where.py"))
