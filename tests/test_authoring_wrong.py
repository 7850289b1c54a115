"""The outcomes that wrong solutions declare, and where the files lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpuprep import curriculum as curricula
from gpuprep.authoring.wrong import expected_outcomes, solutions_in, staged, wrong_files
from gpuprep.curriculum import Curriculum
from gpuprep.errors import CurriculumError
from gpuprep.exercise import Exercise
from gpuprep.model import Outcome

CURRICULUM = curricula.load(Path(__file__).resolve().parent.parent)
FILES = [path for exercise in CURRICULUM.exercises for path in wrong_files(CURRICULUM, exercise)]
ENOUGH = 6
"""Wrong solutions that each exercise has at least."""


def declared(tmp_path: Path, text: str, *, on_card: bool = False, suffix: str = ".py") -> frozenset[Outcome]:
    path = tmp_path / f"wrong{suffix}"
    path.write_text(text)
    return expected_outcomes(path, on_card=on_card)


@pytest.mark.parametrize(
    ("text", "outcomes"),
    [
        ("# expect: RACE\n", {Outcome.RACE}),
        ("# expect: RACE|WRONG_VALUES\n", {Outcome.RACE, Outcome.WRONG_VALUES}),
        ("#expect: RACE | WRONG_VALUES  \n", {Outcome.RACE, Outcome.WRONG_VALUES}),
        ("// expect: OUT_OF_BOUNDS\n", {Outcome.OUT_OF_BOUNDS}),
        ("# Why.\n# expect: RACE\n", {Outcome.RACE}),
        ("# expect: RACE", {Outcome.RACE}),
    ],
)
def test_declared_outcomes(tmp_path: Path, text: str, outcomes: set[Outcome]) -> None:
    """The header names one outcome or several, in either language's comments."""
    assert declared(tmp_path, text) == outcomes


def test_what_a_card_sees(tmp_path: Path) -> None:
    """On a card its own line counts where there is one; elsewhere it says nothing."""
    text = "# expect: PROVISIONAL\n# expect-gpu: WRONG_VALUES\n"
    assert declared(tmp_path, text) == {Outcome.PROVISIONAL}
    assert declared(tmp_path, text, on_card=True) == {Outcome.WRONG_VALUES}
    assert declared(tmp_path, "# expect: RACE\n", on_card=True) == {Outcome.RACE}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "import torch\n",
        "# expects: RACE\n",
        "# expect: \n",
        "# expect: WRONG\n",
        "# expect: RACE|\n",
        "# expect: RACE|SLOW\n",
        "# expect: race\n",
        "# expect-gpu: RACE\n",
        "import torch\n\n\n# expect: RACE\n",
        "x = '# expect: RACE'\n",
    ],
)
def test_nothing_declared(tmp_path: Path, text: str) -> None:
    """A file that declares nothing, or no outcome that exists, is named with its line."""
    with pytest.raises(CurriculumError, match=r"wrong\.py:1: "):
        declared(tmp_path, text)


def test_files_of_an_exercise(curriculum: Curriculum) -> None:
    """A folder's Python files in order; an exercise without a folder has none."""
    exercise = curriculum.exercise("ex_01")
    files = wrong_files(curriculum, exercise)
    assert list(files) == sorted(files)
    assert {path.parent.name for path in files} == {exercise.slug}
    assert wrong_files(curricula.Curriculum(Path("/nowhere"), "", (), (), ()), exercise) == ()


def two_sources(root: Path) -> tuple[Curriculum, Exercise]:
    """A curriculum whose exercise has a launcher and kernels, both by the reference."""
    exercise = Exercise("ex_01", "both", "Both", "m", "cuda", "both", 5, ())
    curriculum = Curriculum(root, "", (), (exercise,), ())
    reference = curriculum.reference_path(exercise)
    reference.parent.mkdir(parents=True)
    reference.write_text("reference launcher")
    reference.with_suffix(".cu").write_text("reference kernels")
    return curriculum, exercise


@pytest.mark.parametrize("suffixes", [(".py",), (".cu",), (".py", ".cu")], ids="+".join)
def test_a_solution_of_one_file_gets_the_other_from_the_reference(tmp_path: Path, suffixes: tuple[str, ...]) -> None:
    """A `.cu` by itself is graded with the reference's launcher, a `.py` with its kernels; two belong together."""
    curriculum, exercise = two_sources(tmp_path / "curriculum")
    for suffix in suffixes:
        (tmp_path / f"mistake{suffix}").write_text("own")
    (path,) = solutions_in(tmp_path)
    with staged(curriculum, exercise, path) as launcher:
        assert launcher.name == "mistake.py"
        assert launcher.read_text() == ("own" if ".py" in suffixes else "reference launcher")
        assert launcher.with_suffix(".cu").read_text() == ("own" if ".cu" in suffixes else "reference kernels")
    assert launcher.is_file() == (suffixes == (".py", ".cu"))
    assert sorted(file.suffix for file in tmp_path.glob("mistake.*")) == sorted(suffixes)


def test_a_solution_in_python_is_graded_where_it_lies(curriculum: Curriculum) -> None:
    """Where the exercise has no kernels in C, nothing is put anywhere."""
    exercise = curriculum.exercise("ex_01")
    path = wrong_files(curriculum, exercise)[0]
    with staged(curriculum, exercise, path) as launcher:
        assert launcher == path


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_wrong_file_declares_and_explains(path: Path) -> None:
    """Every file in the checkout declares failures, or what only a card sees, and says who would write such a thing."""
    outcomes = expected_outcomes(path, on_card=True)
    assert all(outcome.is_failure for outcome in outcomes)
    lines = path.read_text(encoding="utf-8").splitlines()
    comments = [line for line in lines[:4] if line.startswith(("# ", "// ")) and "expect" not in line]
    assert comments


@pytest.mark.parametrize("exercise", CURRICULUM.exercises, ids=lambda exercise: exercise.id)
def test_exercise_has_enough(exercise: Exercise) -> None:
    """At least six wrong solutions, with several outcomes among them."""
    files = wrong_files(CURRICULUM, exercise)
    assert len(files) >= ENOUGH
    # Code that accesses no memory by address goes wrong in fewer ways.
    kinds = 3 if exercise.language in ("triton", "cuda") else 2
    assert len(frozenset().union(*(expected_outcomes(path) for path in files))) >= kinds
