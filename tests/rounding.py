"""A curriculum of one PyTorch exercise whose results are graded by their quality and by the memory that they take."""

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
        name: rounding
        title: Rounding
        language: pytorch
        summary: "`rounded(x)`"
        minutes: 5
        targets:
          sqnr_db: {pass: 20, gold: 40}
        hints: [A nudge.]
"""

GRADER = """
from gpuprep.grader import ARITHMETIC, HOST_OPS, Budget, Case, ErrorModel, Expected, Grader, Tier

N = 2**12

class Rounding(Grader):
    function = "rounded"
    parameters = ("x",)
    allowed_ops = HOST_OPS | ARITHMETIC

    def cases(self, rng):
        return [Case({"n": n, "dtype": "float32"}, tier) for n, tier in ((33, Tier.CORRECT), (N, Tier.WORK))]

    def inputs(self, case, draw):
        return (draw.like(case, case["n"]),)

    def oracle(self, case, x):
        return (Expected(x.double(), "float32", scale=x.double() * 0 + 1),)

    def honest(self, case, x, order=None):
        return (x.clone(),)

    def error_model(self, case):
        return ErrorModel(roundings=2**23)

    def quality(self, case, args, outputs):
        noise = (outputs[0] - args[0]).double().square().sum()
        return {"sqnr_db": float(10 * (args[0].double().square().sum() / noise).log10())}

    def budgets(self, case):
        return (
            Budget("largest_tensor_bytes", 0, 4 * N, "one tensor like x"),
            Budget("peak_bytes", 0, 10 * N, "two and a half of them"),
        )

    def uses_kernels(self, case):
        return False

GRADER = Rounding()
"""

SOLUTION = "def rounded(x):\n    return (x * {steps}).round() / {steps}\n"


def made(root: Path) -> Curriculum:
    """That curriculum in a folder."""
    for path, text in {
        "curriculum.yaml": CURRICULUM,
        "graders/00_first/ex_01_rounding.py": GRADER,
        "reference/00_first/ex_01_rounding.py": SOLUTION.format(steps=256),
        "exercises/00_first/ex_01_rounding.py": "def rounded(x):\n    raise NotImplementedError\n",
    }.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return curricula.load(root)
