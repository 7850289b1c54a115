"""Stubs: what is left of a reference, and references that no stub can be made of."""

from pathlib import Path

import pytest

from gpuprep.authoring.stubs import make_stub, stub_texts, write_stubs
from gpuprep.curriculum import load
from gpuprep.errors import CurriculumError

REFERENCE = '''\
"""The task."""

import math
import torch


def add(x, y):
    """Return x + y."""
    # BEGIN PROMPT
    # # TODO: add.
    #
    # if x is None:
    #     raise ValueError
    #raise NotImplementedError

    # END PROMPT
    # BEGIN SOLUTION
    # Because.
    out = x + math.pi

    return out
    # END SOLUTION


# BEGIN SOLUTION
def extra():
    return 1


# END SOLUTION


def last():
    return 2
'''

STUB = '''\
"""The task."""

import math
import torch


def add(x, y):
    """Return x + y."""
    # TODO: add.

    if x is None:
        raise ValueError
    raise NotImplementedError


def last():
    return 2
'''

CUDA = """\
extern "C" __global__ void add(float* y) {
    // BEGIN PROMPT
    // // TODO: add.
    // END PROMPT
    // BEGIN SOLUTION
    y[0] += 1;  // # BEGIN nothing
    // END SOLUTION
}
"""

YAML = """\
version: 1
title: Small
modules:
  - id: 00_first
    title: First
    exercises:
      - {id: ex_01, name: one, title: One, language: cuda, summary: one, minutes: 5, hints: [Try.]}
"""


@pytest.fixture
def curriculum(tmp_path):
    """A curriculum of one exercise in two files; only the `.cu` has something to solve."""
    (tmp_path / "reference/00_first").mkdir(parents=True)
    (tmp_path / "curriculum.yaml").write_text(YAML)
    (tmp_path / "reference/00_first/ex_01_one.py").write_text("x = 1\n")
    (tmp_path / "reference/00_first/ex_01_one.cu").write_text(CUDA)
    return load(tmp_path)


def test_solution_goes_and_prompt_comes():
    """Solution lines are dropped, prompt lines uncommented in place, imports kept, blank runs squeezed."""
    assert make_stub(REFERENCE, Path("ref.py")) == STUB


def test_cuda_markers():
    """In a .cu the markers and the prompt are `//` comments."""
    assert make_stub(CUDA, Path("ref.cu")) == 'extern "C" __global__ void add(float* y) {\n    // TODO: add.\n}\n'


def test_edges_are_trimmed():
    """Whatever the solution leaves at the ends, a stub starts with text and ends with one line end."""
    text = "# BEGIN SOLUTION\na = 1\n# END SOLUTION\n\n\nb = 2\r\n\n\n# BEGIN SOLUTION\nc = 3\n# END SOLUTION"
    assert make_stub(text, Path("ref.py")) == "b = 2\n"


FAULTS = {
    "never ended": ("x = 1\n# BEGIN SOLUTION\ny = 2\n", 2),
    "never begun": ("x = 1\n# END SOLUTION\n", 2),
    "ended as another": ("# BEGIN SOLUTION\n# END PROMPT\n", 2),
    "nested": ("# BEGIN SOLUTION\n# BEGIN PROMPT\n# END PROMPT\n# END SOLUTION\n", 2),
    "nested in itself": ("# BEGIN SOLUTION\n# BEGIN SOLUTION\n# END SOLUTION\n", 2),
    "prompt without comment": ("# BEGIN PROMPT\nx = 1\n# END PROMPT\n", 2),
    "lower case": ("# begin solution\nx = 1\n# end solution\n", 1),
    "nbgrader's dashes": ("x = 1\n### BEGIN SOLUTION\n### END SOLUTION\n", 2),
    "behind code": ("x = 1  # BEGIN SOLUTION\n", 1),
    "text behind it": ("# BEGIN SOLUTION: part 1\n# END SOLUTION\n", 1),
    "the other comment": ("// BEGIN SOLUTION\n// END SOLUTION\n", 1),
    "body lost": ("x = 1\ndef f():\n    # BEGIN SOLUTION\n    return 1\n    # END SOLUTION\n\n\ny = 2\n", 8),
    "all lost but a header": ("def f():\n    # BEGIN SOLUTION\n    return 1\n    # END SOLUTION\n", 1),
}


@pytest.mark.parametrize(("text", "line"), FAULTS.values(), ids=FAULTS)
def test_faults_name_the_reference_line(text, line):
    """Markers that can't be followed are refused with the reference's file and line."""
    with pytest.raises(CurriculumError) as caught:
        make_stub(text, Path("folder/ref.py"))
    assert caught.value.message.startswith(f"folder/ref.py:{line}: ")
    assert caught.value.next_step


def test_write_then_unchanged_then_stale(curriculum):
    """Stubs are written once, left alone when right, and with `check` only called stale."""
    py, cu = (curriculum.root / f"exercises/00_first/ex_01_one{suffix}" for suffix in (".py", ".cu"))
    assert [result.status for result in write_stubs(curriculum, check=True)] == ["stale", "stale"]
    assert not py.exists()
    assert [(result.path, result.status) for result in write_stubs(curriculum)] == [(py, "written"), (cu, "written")]
    cu.write_text("edited by hand\n")
    assert [result.status for result in write_stubs(curriculum, check=True)] == ["unchanged", "stale"]
    assert cu.read_text() == "edited by hand\n"
    assert [result.status for result in write_stubs(curriculum)] == ["unchanged", "written"]


def test_reference_without_solution(curriculum):
    """A reference in which nothing is marked would be handed out whole, so it is refused."""
    (curriculum.root / "reference/00_first/ex_01_one.cu").unlink()
    with pytest.raises(CurriculumError) as caught:
        stub_texts(curriculum, curriculum.exercise("ex_01"))
    assert "ex_01_one.py" in caught.value.message
    assert caught.value.next_step


@pytest.mark.parametrize("content", [None, b"\xff"], ids=["missing", "not UTF-8"])
def test_unreadable_reference_writes_nothing(curriculum, content):
    """A reference that can't be read is named, and no stub is written."""
    path = curriculum.root / "reference/00_first/ex_01_one.py"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CurriculumError) as caught:
        write_stubs(curriculum)
    assert str(path) in caught.value.message
    assert not (curriculum.root / "exercises").exists()
