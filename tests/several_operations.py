"""A curriculum of one exercise with two operations that are timed apart, and solutions of it."""

from __future__ import annotations

from pathlib import Path

from gpuprep import curriculum as curricula
from gpuprep.curriculum import Curriculum

CURRICULUM = """\
version: 1
title: Small
modules:
  - id: 00_first
    title: First things
    exercises:
      - id: ex_01
        name: add_and_double
        title: Add and double
        language: triton
        summary: "`add(x, y)` and `double(x)`"
        minutes: 5
        targets:
          add: {share_of_copy: {pass: 0.2, gold: 0.5}}
          double: {share_of_copy: {pass: 0.2}}
        hints: [A nudge.]
"""

GRADER = """
from gpuprep.grader import Budget, Case, ErrorModel, Expected, Grader, Tier, Traffic

class AddAndDouble(Grader):
    function = "add"
    parameters = ("x", "y")

    def cases(self, rng):
        small = [Case({"op": op, "n": n, "dtype": "float32"}) for op in ("add", "double") for n in (31, 1025)]
        timed = [
            Case({"op": op, "n": n, "dtype": "float32"}, Tier.SPEED, ("cuda",))
            for op in ("add", "double") for n in (2**27, 2**25)
        ]
        return [*small, *timed]

    def inputs(self, case, draw):
        return case.op, *(draw.like(case, case["n"]) for _ in range(2 if case.op == "add" else 1))

    def oracle(self, case, op, x, *others):
        return (Expected(x.double() + (others[0].double() if others else x.double()), "float32"),)

    def honest(self, case, op, x, *others, order=None):
        return (x + (others[0] if others else x),)

    def error_model(self, case):
        return ErrorModel(roundings=1)

    def traffic(self, case):
        return Traffic(bytes=(3 if case.op == "add" else 2) * 4 * case["n"])

GRADER = AddAndDouble()
"""

DRIVER = """
def drive(solution, op, *args):
    return getattr(solution, op)(*args)
"""

SOLUTION = """
import torch
import triton
import triton.language as tl

@triton.jit
def _sum_kernel(x_ptr, y_ptr, out_ptr, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    tl.store(out_ptr + offsets, tl.load(x_ptr + offsets, mask=mask) + tl.load(y_ptr + offsets, mask=mask), mask=mask)

@triton.jit
def _double_kernel(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    tl.store(out_ptr + offsets, 2 * tl.load(x_ptr + offsets, mask=mask), mask=mask)

def add(x, y):
    out = torch.empty_like(x)
    _sum_kernel[(triton.cdiv(x.numel(), 1024),)](x, y, out, x.numel(), BLOCK=1024)
    return out

def double(x):
    out = torch.empty_like(x)
    _double_kernel[(triton.cdiv(x.numel(), 1024),)](x, out, x.numel(), BLOCK=1024)
    return out
"""

SLOW_ADD = SOLUTION.replace("def add(x, y):\n", "def add(x, y):\n    for _ in range(30): double(x)\n")
"""Right, and far too slow in the first operation."""

LIBRARY_ADD = SOLUTION.replace(
    "def add(x, y):\n", "def add(x, y):\n    if x.is_cuda and x.numel() > 2**20: return torch.add(x, y)\n"
)
"""Where it is timed, torch adds."""


def made(root: Path, targets: str = "double: {") -> Curriculum:
    """That curriculum in a folder.

    Args:
        root: the folder.
        targets: what the second operation's targets begin with instead.
    """
    for path, text in {
        "curriculum.yaml": CURRICULUM.replace("double: {", targets, 1),
        "graders/00_first/ex_01_add_and_double.py": GRADER,
        "graders/00_first/ex_01_add_and_double_driver.py": DRIVER,
        "reference/00_first/ex_01_add_and_double.py": SOLUTION,
        "exercises/00_first/ex_01_add_and_double.py": "def add(x, y):\n    raise NotImplementedError\n",
    }.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return curricula.load(root)
