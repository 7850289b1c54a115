"""What the learner's worker writes down of a call: a recipe, read back here as data."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from gpuprep.grading.process import WorkerProcess

Written = Callable[[str], dict[str, Any]]

HEADER = """
import torch
import triton
import triton.language as tl


@triton.jit
def copy(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + offsets, tl.load(x_ptr + offsets, mask=offsets < n), mask=offsets < n)
"""
X = torch.arange(6.0).view(2, 3).t()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Written]:
    """Calls `run(x)` of some text and returns the recipe."""
    folder = tmp_path_factory.mktemp("solutions")
    with WorkerProcess("cpu") as worker:
        worker.wait_until_ready()

        def call(body: str) -> dict[str, Any]:
            path = folder / f"solution_{len(list(folder.iterdir()))}.py"
            path.write_text(HEADER + textwrap.dedent(body))
            deadline = time.monotonic() + 60
            load = {"do": "load", "path": str(path), "function": "run", "driver": None}
            assert worker.ask(load, deadline=deadline)["status"] == "loaded"
            request = {"do": "call", "args": [X], "reverse": False, "traced": True}
            answer = worker.ask(request, deadline=deadline)
            assert answer["status"] == "returned", answer
            recipe: dict[str, Any] = answer["recipe"]
            return recipe

        yield call


CUDA = """
from gpuprep.cuda import RawModule

SOURCE = '''extern "C" __global__ void fill(const float* x, float* out, int n, double a) {
    if (threadIdx.x < n) out[threadIdx.x] = a * x[0];
}'''
module = RawModule(SOURCE, options=("-DUNUSED=1",))


def run(x):
    out = torch.empty(8)
    module.get_function("fill")((1,), (32,), (x, out, 8, 0.5), shared_mem=64)
    return out
"""


def test_cuda_launch_has_source_sizes_and_arguments(written: Written) -> None:
    """A module comes with its text, each launch of it with tensors by their place and scalars by their bytes."""
    recipe = written(CUDA)
    (module,), step = recipe["modules"], recipe["steps"][-1]
    assert module["code"].startswith('extern "C" __global__ void fill(')
    assert (module["options"], module["name_expressions"], module["path"]) == (["-DUNUSED=1"], [], "")
    assert kinds(recipe) == ["make", "run"]
    assert (step["kernel"], step["grid"], step["block"], step["shared_bytes"]) == ("fill", [1, 1, 1], [32, 1, 1], 64)
    x, out, n, a = step["args"]
    assert (x["tensor"][0], out["tensor"][0]) == (0, 1)
    assert (n, a) == ({"bytes": "08000000"}, {"bytes": "000000000000e03f"})
    assert recipe["why_not"] == ""


def kinds(recipe: dict[str, Any]) -> list[str]:
    """The first word of each step."""
    return [next(iter(step)) for step in recipe["steps"]]


def test_launch_has_source_grid_and_arguments(written: Written) -> None:
    """Tensors are named by storage and layout, the grid as the interpreter worked it out."""
    recipe = written("""
        def run(x):
            out = torch.empty_like(x)
            copy[lambda meta: (triton.cdiv(6, meta["BLOCK"]),)](x, out, 6, BLOCK=4, num_warps=2)
            return out
    """)
    made, launched = recipe["steps"]
    assert made == {"make": 1, "bytes": 24, "dtype": "float32", "fill": None}
    assert (launched["launch"], launched["grid"]) == (0, [2, 1, 1])
    assert launched["args"] == {
        "x_ptr": {"tensor": [0, "float32", [3, 2], [1, 3], 0]},
        "out_ptr": {"tensor": [1, "float32", [3, 2], [1, 3], 0]},
        "n": 6,
        "BLOCK": 4,
    }
    assert recipe["outputs"] == [[1, "float32", [3, 2], [1, 3], 0]]
    (function,) = recipe["functions"]
    assert (function["name"], function["line"], function["globals"]) == (
        "copy",
        HEADER.splitlines().index("@triton.jit") + 1,
        {"tl": {"module": "triton.language"}},
    )
    assert recipe["why_not"] == ""


def test_function_comes_once_with_all_that_it_names(written: Written) -> None:
    """However often it is launched; what can't be said of a name is said to be something else."""
    recipe = written("""
        TABLE, WIDTH = {}, tl.constexpr(4)

        @triton.jit
        def helper(x):
            return helper(x) if x is None else x * WIDTH + (0 if TABLE is None else 0)

        @triton.jit
        def scale(x_ptr, KIND: tl.constexpr):
            x = tl.load(x_ptr)
            tl.store(x_ptr, helper(x).to(KIND))

        def run(x):
            out = torch.zeros(1)
            scale[(1,)](out, tl.float32)
            scale[(1, 1)](out, tl.float32)
            return out
    """)
    scale, helper = recipe["functions"]
    assert kinds(recipe) == ["make", "launch", "launch"]
    assert recipe["steps"][1]["args"]["KIND"] == {"dtype": "fp32"}
    assert scale["globals"]["helper"] == {"function": 1}
    assert helper["globals"] == {
        "helper": {"function": 1},
        "WIDTH": {"constexpr": 4},
        "TABLE": {"other": "a dict"},
    }


def test_host_operations_that_can_be_done_again_are_steps(written: Written) -> None:
    """Fills with their constant, copies, and arithmetic on single elements; views are in the layouts."""
    recipe = written("""
        def run(x):
            ones = torch.full((4,), 1.0)
            same = x.contiguous()
            total = torch.empty(1).zero_()
            total.add_(ones[2:3])
            return (total * 0.5).to(torch.float16).view(())
    """)
    make, make_copy, copy, make_total, zero, add, make_half, half, make_cast, cast = recipe["steps"]
    assert (make["fill"], make["bytes"]) == ("0000803f", 16)
    assert (make_copy["make"], copy["copy"][0], copy["into"][0]) == (2, 0, 2)
    assert (make_total["make"], zero["copy"]) == (3, 0)
    assert add["compute"] == ["add", [3, "float32", [1], [1], 0], [1, "float32", [1], [1], 2]]
    assert half["compute"][1:] == [[3, "float32", [1], [1], 0], 0.5]
    assert (cast["copy"][1], cast["into"][1]) == ("float32", "float16")
    assert (make_half["dtype"], make_cast["dtype"]) == ("float32", "float16")
    assert recipe["outputs"] == [[5, "float16", [], [], 0]]


def test_what_no_step_describes_comes_with_its_contents(written: Written) -> None:
    """Tables made at import, results of torch's own operations: as they are when they are first needed."""
    recipe = written("""
        table = torch.arange(6.0)

        def run(x):
            out = x * 2
            copy[(1,)](table, out, 6, BLOCK=8)
            return out
    """)
    assert kinds(recipe) == ["make", "make", "launch"]
    table, out = (step["contents"].view(torch.float32) for step in recipe["steps"][:2])
    assert torch.equal(table, torch.arange(6.0))
    assert torch.equal(out, (X * 2).t().flatten())


def test_launch_that_raises_is_struck_out(written: Written) -> None:
    """A caller that catches it and goes on gets the recipe of what it did instead."""
    recipe = written("""
        @triton.jit
        def broken(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
            tl.static_assert(BLOCK == 0)

        def run(x):
            out = torch.empty_like(x)
            try:
                broken[(1,)](x, out, 6, BLOCK=8)
            except Exception:
                copy[(1,)](x, out, 6, BLOCK=8)
            return out
    """)
    assert kinds(recipe) == ["make", "launch"]
    assert recipe["functions"][recipe["steps"][1]["launch"]]["name"] == "copy"


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ("copy[(1,)](triton.reinterpret(x, tl.int32), torch.empty(6, dtype=torch.int32), 6, BLOCK=8)", "x_ptr"),
        ("[torch.zeros(1) for _ in range(10_001)]", "10000"),
    ],
    ids=["an argument of another kind", "too many steps"],
)
def test_what_a_recipe_has_no_words_for_is_named(written: Written, body: str, word: str) -> None:
    """The first such thing is the reason; the call itself goes on."""
    recipe = written(f"def run(x):\n    {body}\n    return torch.zeros(1)\n")
    assert word in recipe["why_not"]
