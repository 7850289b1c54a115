"""The cases of an exercise before a check: names that stay, and the results that belong to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpuprep import curriculum as curricula
from gpuprep.curriculum import Curriculum
from gpuprep.errors import GraderFaultError
from gpuprep.grading import loading
from gpuprep.model import Case, CaseResult, Outcome, Tier
from gpuprep.practice.case_list import FILE_NAME, CaseList, ListedCase, listed_cases

YAML = """\
format_version: 1
title: Small
modules:
  - id: 00_all
    title: All
    exercises:
      - {id: ex_01, name: one, title: One, language: triton, summary: one, minutes: 5, hints: [Try.]}
"""
GRADER = """\
from gpuprep.grader import Case, Grader, Tier

class One(Grader):
    function = "one"
    parameters = ("x",)

    def cases(self, rng):
        drawn = 100 + rng.randrange(50)
        return [
            Case({"n": 1, "dtype": "float32"}),
            Case({"n": drawn, "dtype": "float32"}),
            Case({"n": drawn + 1, "dtype": "float32"}),
            Case({"n": drawn, "dtype": "float16", "layout": "offset"}),
            Case({"n": 4096, "dtype": "float32"}, tier=Tier.WORK),
            Case({"op": "a", "n": 9}, tier=Tier.SPEED, devices=("cuda",)),
            Case({"op": "a", "n": 8}, tier=Tier.SPEED, devices=("cuda",)),
            Case({"op": "b", "n": 9}, tier=Tier.SPEED, devices=("cuda",)),
        ][MORE]

    def inputs(self, case, draw): ...
    def oracle(self, case, *args): ...
    def honest(self, case, *args, order=None): ...
    def error_model(self, case): ...

GRADER = One()
"""


def make(root: Path, more: str = ":") -> Curriculum:
    """A curriculum of one exercise; `more` picks among its cases."""
    (root / "graders" / "00_all").mkdir(parents=True)
    (root / "curriculum.yaml").write_text(YAML)
    (root / "graders" / "00_all" / "ex_01_one.py").write_text(GRADER.replace("[MORE]", f"[{more}]"))
    return curricula.load(root)


def listed(curriculum: Curriculum, state_dir: Path) -> CaseList:
    return listed_cases(curriculum, curriculum.exercises[0], state_dir)


def test_drawn_sizes_have_no_number(tmp_path: Path) -> None:
    """What differs from seed to seed is called random; names are unique; timed cases are told by operation."""
    found = listed(make(tmp_path / "c"), tmp_path)
    assert [case.name for case in found.cases] == [
        "n=1 float32",
        "n=random float32 (1)",
        "n=random float32 (2)",
        "n=random float16 offset",
        "n=4096 float32",
    ]
    assert (found.function, found.timed_ops) == ("one", ("a", "b"))


def test_drawn_number_of_cases(tmp_path: Path) -> None:
    """Where even the number of cases is drawn, none is listed."""
    found = listed(make(tmp_path / "c", ": rng.randrange(2, 8)"), tmp_path)
    assert found.cases == ()


def test_list_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The grader is asked once, and again when it has changed; a spoilt file is made anew."""
    small = make(tmp_path / "c")
    first = listed(small, tmp_path)
    asked: list[str] = []
    load_grader = loading.load_grader

    def counted(*args: object) -> object:
        asked.append("asked")
        return load_grader(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(loading, "load_grader", counted)
    assert listed(small, tmp_path) == first
    assert asked == []
    path = small.grader_path(small.exercises[0])
    path.write_text(path.read_text().replace('"n": 1,', '"n": 2,'))
    assert listed(small, tmp_path).cases[0].name == "n=2 float32"
    assert asked == ["asked"]
    (tmp_path / FILE_NAME).write_text("{}")
    assert listed(small, tmp_path).cases[0].name == "n=2 float32"
    assert asked == ["asked"] * 2


def test_broken_cases(tmp_path: Path) -> None:
    """A grader that can't say its cases is the grader's fault."""
    with pytest.raises(GraderFaultError):
        listed(make(tmp_path / "c", "0/0"), tmp_path)


def result(device: str = "cpu", tier: Tier = Tier.CORRECT, **params: int | str) -> CaseResult:
    return CaseResult(Case(params, tier), device, Outcome.PASSED)


def test_results_find_their_case() -> None:
    """By what is fixed; where a fixed case and a drawn one fit, the fixed one counts, and drawn ones come in order."""
    fixed = ListedCase("n=33", Tier.CORRECT, {"n": 33})
    first, second = (ListedCase(f"n=random ({place})", Tier.CORRECT, {}, ("n",)) for place in (1, 2))
    work = ListedCase("n=33", Tier.WORK, {"n": 33})
    found = [result(n=33), result(n=50), result(n=51), result(n=33, tier=Tier.WORK), result("cuda", n=51), result(m=1)]
    of = CaseList("f", (fixed, first, second, work)).results(found)
    assert of == [[found[0]], [found[1]], [found[2], found[4]], [found[3]]]


def test_results_of_a_check_that_stopped() -> None:
    """Cases that were not run have no results."""
    cases = tuple(ListedCase(f"n={n}", Tier.CORRECT, {"n": n}) for n in (1, 2))
    assert CaseList("f", cases).results([result(n=1)])[1] == []
