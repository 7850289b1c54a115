"""`dev check`: a curriculum that is what it claims to be is proved; whatever is wrong with another is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gpuprep.authoring import proof
from gpuprep.authoring.proof import Proof, ProofItem, prove
from gpuprep.authoring.scaffold import scaffold
from gpuprep.authoring.stubs import write_stubs
from gpuprep.curriculum import Curriculum, load
from gpuprep.exercise import Exercise
from gpuprep.grading import session
from gpuprep.model import Case, CaseResult, Outcome, Report, Tier, TierResult, Timing

YAML = """\
version: 1
title: Small
modules:
  - id: 00_first
    title: First
    exercises: []
"""
NO_SPEED = TierResult(Tier.SPEED, Outcome.SKIPPED, "no GPU found")
CASE = Case({"n": 1})


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Curriculum:
    """A curriculum of one scaffolded exercise with its guide; it needs one wrong solution and no card."""
    monkeypatch.setattr(proof, "MIN_WRONG_FILES", 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (tmp_path / "curriculum.yaml").write_text(YAML)
    scaffold(load(tmp_path), "ex_01", module="00_first", name="double_it", title="Double it")
    curriculum = load(tmp_path)
    curriculum.guide_path("00_first").write_text("# First\n")
    return curriculum


@pytest.fixture
def answers(small: Curriculum, monkeypatch: pytest.MonkeyPatch) -> dict[str, Report]:
    """Stands in for grading: what each kind of file gets, by the folder that it is in."""

    def report(outcome: Outcome, **more: Any) -> Report:
        message = "" if outcome.is_pass else f"it is {outcome}"
        return Report("ex_01", outcome, cases=(CaseResult(CASE, "cpu", Outcome.PASSED),), message=message, **more)

    found = {
        "exercises": report(Outcome.NOT_STARTED),
        "touched": report(Outcome.NOT_STARTED),
        "reference": report(Outcome.PROVISIONAL, tiers=(TierResult(Tier.CORRECT, Outcome.PASSED), NO_SPEED)),
        "wrong": report(Outcome.WRONG_VALUES),
    }

    def check(exercise: Exercise, curriculum: Curriculum, path: Path, **_options: object) -> Report:
        return found[next((kind for kind in found if kind in path.parts), "touched")]

    monkeypatch.setattr(session, "check", check)
    return found


def files(curriculum: Curriculum) -> dict[str, Path]:
    exercise = curriculum.exercises[0]
    return {
        "stub": curriculum.stub_path(exercise),
        "reference": curriculum.reference_path(exercise),
        "grader": curriculum.grader_path(exercise),
        "guide": curriculum.guide_path(exercise.module),
        "wrong": curriculum.root / "tests/wrong" / exercise.slug / "forgets_the_factor.py",
    }


def replaced(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def failures(found: Proof) -> dict[str, str]:
    """The claims that don't hold, with all that is said of each."""
    said: dict[str, str] = {}
    for item in found.failures:
        said[item.claim] = f"{said.get(item.claim, '')} {item.subject}: {item.detail}".strip()
    return said


# With real grading


def test_sound_curriculum_is_proved(small: Curriculum) -> None:
    """A new exercise proves as it is: every claim is tried, and what could not be graded here is listed."""
    events: list[str] = []
    found = prove(small, on_event=events.append)
    assert found.failures == ()
    assert found.holds
    assert {item.claim for item in found.items} == {
        "files are there",
        "has its hints",
        "has wrong solutions",
        "no stray files",
        "stub is current",
        "tolerance is sharp",
        "signature agrees",
        "stub is NOT_STARTED",
        "reference passes",
        "wrong file is rejected",
    }
    assert len(events) == 3


def test_failing_reference_and_passing_wrong_file_are_named(small: Curriculum) -> None:
    """A reference that is wrong, and a wrong file that isn't, are told apart and told."""
    paths = files(small)
    right = "".join(f"{line}\n" for line in paths["reference"].read_text().splitlines() if "PROMPT" not in line)
    paths["wrong"].write_text(f"# expect: WRONG_VALUES\n{right}")
    replaced(paths["reference"], "2 * x, mask", "3 * x, mask")
    said = failures(prove(small))
    assert set(said) == {"reference passes", "wrong file is rejected"}
    assert "WRONG_VALUES" in said["reference passes"]
    assert "forgets_the_factor.py" in said["wrong file is rejected"]
    assert "must get WRONG_VALUES; got P" in said["wrong file is rejected"]


# Without


def test_stand_in_holds(small: Curriculum, answers: dict[str, Report]) -> None:
    """What the tests below break holds before they do."""
    found = prove(small)
    assert found.failures == ()
    assert found.not_graded == ("ex_01: speed: no GPU found",)


def break_hints(small: Curriculum) -> None:
    path = small.root / "curriculum.yaml"
    path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if "A nudge" not in line))


def drop(name: str) -> Callable[[Curriculum], None]:
    return lambda small: files(small)[name].unlink()


def write(name: str, text: str) -> Callable[[Curriculum], None]:
    def change(small: Curriculum) -> None:
        path = small.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    return change


def edit(name: str, old: str, new: str) -> Callable[[Curriculum], None]:
    return lambda small: replaced(files(small)[name], old, new)


BROKEN: dict[str, tuple[Callable[[Curriculum], None], str, str]] = {
    "stale stub": (edit("stub", "TODO 1", "TODO 7"), "stub is current", "ex_01_double_it.py"),
    "stale reference": (edit("reference", "# # TODO 1", "# # TODO 7"), "stub is current", "ex_01_double_it.py"),
    "missing stub": (drop("stub"), "files are there", "ex_01_double_it.py"),
    "missing reference": (drop("reference"), "files are there", "ex_01_double_it.py"),
    "missing grader": (drop("grader"), "can be tried", "no grader"),
    "missing guide": (drop("guide"), "files are there", "README.md"),
    "empty guide": (write("exercises/00_first/README.md", " \n"), "files are there", "README.md"),
    "missing wrong files": (drop("wrong"), "has wrong solutions", "0 of 1"),
    "missing hints": (break_hints, "has its hints", "2 of 3"),
    "stray stub": (write("exercises/00_first/ex_99_gone.py", "x"), "no stray files", "ex_99_gone.py"),
    "stray grader": (write("graders/01_other/x.py", "x"), "no stray files", "01_other/x.py"),
    "stray notes": (write("reference/00_first/notes.txt", "x"), "no stray files", "notes.txt"),
    "stray wrong folder": (write("tests/wrong/ex_01_dubble_it/x.py", "x"), "no stray files", "ex_01_dubble_it"),
    "markers that don't match": (edit("reference", "# END PROMPT", ""), "stub is current", ""),
    "reference that isn't Python": (write("reference/00_first/ex_01_double_it.py", "def ("), "stub is current", ""),
    "grader that isn't Python": (write("graders/00_first/ex_01_double_it.py", "def ("), "can be tried", "SyntaxError"),
    "grader without GRADER": (write("graders/00_first/ex_01_double_it.py", "x = 1"), "can be tried", "GRADER"),
    "grader with a bug": (edit("grader", "2 * x.double()", "1 / 0"), "can be tried", "ZeroDivisionError"),
    "loose tolerance": (edit("grader", "roundings=1)", "roundings=1e5)"), "tolerance is sharp", "ex_01 float32"),
    "other signature": (edit("grader", 'parameters = ("x",)', 'parameters = ("y",)'), "signature agrees", "['x']"),
    "other function": (edit("grader", 'function = "double_it"', 'function = "twice"'), "signature agrees", "None"),
    "nothing declared": (edit("wrong", "# expect: WRONG_VALUES", "# Hm."), "can be tried", "forgets_the_factor.py"),
    "other outcome": (edit("wrong", "WRONG_VALUES", "RACE"), "wrong file is rejected", "forgets_the_factor.py"),
}


@pytest.mark.parametrize(("change", "claim", "detail"), BROKEN.values(), ids=BROKEN)
def test_what_is_broken_is_named(
    small: Curriculum,
    answers: dict[str, Report],
    change: Callable[[Curriculum], None],
    claim: str,
    detail: str,
) -> None:
    """Each way to break a curriculum fails the claim that is about it, and names the file or the exercise."""
    change(small)
    said = failures(prove(load(small.root)))
    assert claim in said
    assert detail in said[claim]


@pytest.mark.parametrize(
    ("kind", "outcome", "claim"),
    [
        ("exercises", Outcome.WRONG_VALUES, "stub is NOT_STARTED"),
        ("touched", Outcome.RAISED, "stub is NOT_STARTED"),
        ("reference", Outcome.TOO_SLOW, "reference passes"),
        ("reference", Outcome.SKIPPED, "reference passes"),
        ("wrong", Outcome.OUT_OF_BOUNDS, "wrong file is rejected"),
    ],
)
def test_outcome_that_must_not_be(
    small: Curriculum, answers: dict[str, Report], kind: str, outcome: Outcome, claim: str
) -> None:
    """A file that gets another outcome fails its claim, and the outcome is said."""
    answers[kind] = Report("ex_01", outcome, message="why")
    said = failures(prove(small))
    assert set(said) == {claim}
    assert f"{outcome} why" in said[claim]


def test_timed_reference_must_be_gold(small: Curriculum, answers: dict[str, Report]) -> None:
    """Where there is a card, passing is not enough for a reference."""
    tiers = (TierResult(Tier.CORRECT, Outcome.PASSED), TierResult(Tier.SPEED, Outcome.PASSED))
    timing = Timing(CASE, "card", 1.0, 1.0, 1.0, 20, ())
    case = CaseResult(CASE, "cuda", Outcome.PASSED)
    answers["reference"] = Report("ex_01", Outcome.PASSED, tiers=tiers, cases=(case,), timings=(timing,))
    assert set(failures(prove(small))) == {"reference is gold"}


def test_files_that_belong_to_an_exercise_are_not_stray(small: Curriculum, answers: dict[str, Report]) -> None:
    """CUDA sources, a driver and compiled Python may lie there."""
    for name in (
        "exercises/00_first/ex_01_double_it.cu",
        "graders/00_first/ex_01_double_it_driver.py",
        "graders/00_first/__pycache__/ex_01_double_it.cpython-311.pyc",
    ):
        write(name, "x")(small)
    assert "no stray files" not in failures(prove(small))


def test_curriculum_without_tests(small: Curriculum, answers: dict[str, Report]) -> None:
    """An installed curriculum has no wrong solutions, and isn't asked for them."""
    path = files(small)["wrong"]
    path.unlink()
    for folder in (path.parent, path.parent.parent, path.parent.parent.parent):
        folder.rmdir()
    found = prove(small)
    assert found.holds
    assert "has wrong solutions" not in {item.claim for item in found.items}


def test_one_exercise_of_several(small: Curriculum, answers: dict[str, Report]) -> None:
    """Asked for one exercise, the others' faults don't matter."""
    scaffold(small, "ex_02", module="00_first", name="triple_it", title="Triple it")
    both = load(small.root)
    replaced(both.stub_path(both.exercise("ex_02")), "TODO 1", "TODO 7")
    assert prove(both, [both.exercise("ex_01")]).holds
    assert set(failures(prove(both, [both.exercise("ex_02")]))) == {"stub is current"}
    write_stubs(both)
    assert prove(both).holds


def test_nothing_proved_is_no_proof() -> None:
    """An empty list of claims proves nothing."""
    assert not Proof(()).holds
    assert Proof((ProofItem("a", "b", True),)).holds
    assert not Proof((ProofItem("a", "b", True), ProofItem("c", "d", False))).holds
