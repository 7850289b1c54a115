"""A curriculum of one exercise for several ranks, and solutions of it."""

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
        name: exchange
        title: Exchange
        language: distributed
        summary: "`exchanged(x)`: what the next rank has"
        minutes: 5
        targets:
          two_gpus: {times_all_reduce: {pass: 0.1}}
        hints: [A nudge.]
"""

GRADER = """
from gpuprep.grader import ARITHMETIC, HOST_OPS, MESSAGES, Budget, Case, ErrorModel, Expected
from gpuprep.grader import GroupGrader, Tier, Traffic

class Exchange(GroupGrader):
    function = "exchanged"
    parameters = ("x",)
    allowed_ops = HOST_OPS | ARITHMETIC | MESSAGES
    baseline = "a plain exchange"
    baseline_key = "all_reduce"

    def cases(self, rng):
        return [
            *(Case({"world": w, "n": n, "dtype": "float32"}) for w in (1, 2, 4) for n in (1, 33)),
            *(Case({"world": w, "n": 1024, "dtype": "float32"}, Tier.WORK, ("cpu",)) for w in (2, 4)),
            Case({"op": "two_gpus", "world": 2, "n": 2**26, "dtype": "float32"}, Tier.SPEED, ("cuda",)),
        ]

    def inputs(self, case, draw):
        return (draw.like(case, case["world"], case["n"]),)

    def shard(self, case, args, rank):
        return (args[0][rank].clone(),)

    def oracle(self, case, x):
        return tuple(Expected(row.double(), "float32") for row in x.roll(-1, 0))

    def honest(self, case, x, order=None):
        return tuple(x.roll(-1, 0))

    def error_model(self, case):
        return ErrorModel(roundings=0)

    def budgets(self, case):
        n_bytes = 4 * case["n"]
        return (Budget("sent_bytes", n_bytes, n_bytes, "n·4"), Budget("messages", 1, 2, "one, or halves"))

    def traffic(self, case):
        return Traffic(bytes=4 * case["n"])

GRADER = Exchange()
"""

DRIVER = """
import torch
import torch.distributed as dist

def drive(solution, x):
    return solution.exchanged(x)

def timed_args(params, rank, world, seed):
    generator = torch.Generator("cuda").manual_seed(seed + rank)
    return (torch.randn(params["n"], generator=generator, device="cuda"),)

def baseline(x):
    out = torch.empty_like(x)
    rank, world = dist.get_rank(), dist.get_world_size()
    for work in dist.batch_isend_irecv([
        dist.P2POp(dist.isend, x, (rank - 1) % world), dist.P2POp(dist.irecv, out, (rank + 1) % world)
    ]):
        work.wait()
    return out
"""

SOLUTION = """
import torch
import torch.distributed as dist


def exchanged(x):
    rank, world = dist.get_rank(), dist.get_world_size()
    if world == 1:
        return x.clone()
    out = torch.empty_like(x)
    messages = [dist.P2POp(dist.isend, x, (rank - 1) % world), dist.P2POp(dist.irecv, out, (rank + 1) % world)]
    for work in dist.batch_isend_irecv(messages):
        work.wait()
    return out
"""


def made(root: Path) -> Curriculum:
    """That curriculum in a folder."""
    for path, text in {
        "curriculum.yaml": CURRICULUM,
        "graders/00_first/ex_01_exchange.py": GRADER,
        "graders/00_first/ex_01_exchange_driver.py": DRIVER,
        "reference/00_first/ex_01_exchange.py": SOLUTION,
        "exercises/00_first/ex_01_exchange.py": "def exchanged(x):\n    raise NotImplementedError\n",
    }.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return curricula.load(root)
