"""Recipes as a card follows them, without a card: what is prepared, what memory becomes, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from gpuprep.worker.card_replay import CardReplay, followed

ROOT = Path(__file__).resolve().parent.parent
X = torch.arange(6.0).view(2, 3)


def place(number: int, tensor: torch.Tensor) -> list[Any]:
    """A whole tensor, as a recipe names it."""
    dtype = str(tensor.dtype).removeprefix("torch.")
    return [number, dtype, list(tensor.shape), list(tensor.stride()), tensor.storage_offset()]


def recipe(*steps: dict[str, Any], outputs: tuple[Any, ...] = (), **more: Any) -> dict[str, Any]:
    return {"functions": [], "modules": [], "steps": list(steps), "outputs": list(outputs), **more}


def on_host(*steps: dict[str, Any], outputs: tuple[Any, ...]) -> CardReplay:
    return CardReplay(recipe(*steps, outputs=outputs), "cpu")


def make(number: int, n_bytes: int, fill: str | None = None, dtype: str = "float32") -> dict[str, Any]:
    return {"make": number, "bytes": n_bytes, "dtype": dtype, "fill": fill}


def test_storages_are_made_copied_and_filled() -> None:
    """Arguments come first; then what host code made, filled or not, or brought along."""
    seven = torch.tensor([7.0, 7.0, 7.0]).view(torch.uint8)
    replay = on_host(
        make(1, 24),
        make(2, 8, torch.tensor([2.5]).numpy().tobytes().hex()),
        {"make": 3, "contents": seven},
        {"copy": place(0, X), "into": place(1, X)},
        {"copy": 4, "into": [2, "float32", [], [], 1]},
        {"compute": ["add", [2, "float32", [], [], 0], 0.5], "into": [2, "float32", [], [], 0]},
        outputs=(place(1, X), [2, "float32", [2], [1], 0], [3, "float32", [3], [1], 0], [0, "int32", [1], [1], 5]),
    )
    copied, small, brought, other = replay(X)
    assert torch.equal(copied, X)
    assert copied.data_ptr() != X.data_ptr()
    assert small.tolist() == [3.0, 4.0]
    assert brought.tolist() == [7.0] * 3
    assert other.item() == X.view(-1).view(torch.int32)[5].item()


def test_each_call_has_memory_of_its_own() -> None:
    """Results of two calls lie apart; arguments that share a storage are one."""
    view = X.t()
    replay = on_host(make(1, 24), {"copy": place(0, view), "into": [1, "float32", [3, 2], [2, 1], 0]}, outputs=(
        [1, "float32", [3, 2], [2, 1], 0],
    ))  # fmt: skip
    (first,), (second,) = replay(X, view), replay(X, view)
    assert torch.equal(first, view)
    assert first.data_ptr() != second.data_ptr()


def test_view_outside_its_storage_is_refused() -> None:
    """What a recipe says of strides is not believed."""
    with pytest.raises(RuntimeError, match="out of bounds"):
        on_host(outputs=([0, "float32", [7], [1], 0],))(X)


def test_recipe_for_other_arguments_is_refused() -> None:
    """One more storage, and every number after it would mean something else."""
    with pytest.raises(RuntimeError, match="storage 1 after 2 others"):
        on_host(make(1, 4), outputs=())(X, X.clone())


@pytest.mark.parametrize(
    ("broken", "status"),
    [
        ({}, "broken"),
        (recipe({"launch": 0, "grid": [1, 1, 1], "args": {}, "options": {}}), "broken"),
        (recipe({"run": 0, "kernel": "k", "grid": [1, 1], "block": [1], "shared_bytes": 0, "args": []}), "broken"),
        (recipe(make(1, -4)), "broken"),
        (recipe(make(1, 4, dtype="complex64")), "unfollowed"),
        (recipe({"compute": ["sort", 1], "into": [0, "float32", [], [], 0]}), "broken"),
        (recipe({"compute": ["add", 1, 2], "into": [0, "float32", [6], [1], 0]}), "unfollowed"),
        (recipe(outputs=([0, "float32", [-1], [1], 0],)), "broken"),
        (recipe(outputs=([0, "float32", [2**33], [0], 0],)), "unfollowed"),
        (recipe(functions=[{"name": "f", "source": "def f():\n    import os", "line": 1, "path": "", "globals": {}}]),
         "forbidden"),
    ],
)  # fmt: skip
def test_what_is_no_recipe(broken: dict[str, Any], status: str) -> None:
    """Whatever comes, an answer says what it is, and nothing is followed."""
    function, answer = followed(broken)
    assert function is None
    assert answer["status"] == status
    assert answer["message"]


COMPILES = """
import sys

import torch
from triton.runtime.driver import driver

from gpuprep.worker.glossary import Glossary
from gpuprep.worker.profile_compiling import _Target
from gpuprep.worker.sandbox import jitted

driver.set_active(_Target(90))
sys.path.insert(0, sys.argv[1])
import kernels

glossary = Glossary()
place = glossary.function(kernels.scale)
again = jitted(glossary.functions)[place]
assert again.do_not_specialize == ["n"]
x = torch.empty(64, device="meta")


def instructions(function):
    compiled = function.run(x, x, 64, BLOCK=64, grid=(1,), warmup=True, num_warps=2)
    lines = [line.strip() for line in compiled.asm["ptx"].splitlines()]
    return [line for line in lines if line.endswith(";") and not line.startswith((".", "$"))]


assert instructions(again) == instructions(kernels.scale)
print(len(instructions(again)) > 10)
"""
KERNELS = """
import triton
import triton.language as tl

FACTOR = tl.constexpr(3.0)


@triton.jit
def twice(x):
    return x + x


@triton.jit(do_not_specialize=["n"])
def scale(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + offsets, mask=offsets < n)  # a comment
    tl.store(out_ptr + offsets, twice(x) * FACTOR + tl.cdiv(n, 4), mask=offsets < n)
"""


def test_source_alone_compiles_to_the_same(tmp_path: Path) -> None:
    """A kernel that was put into words and back is the same program, helpers, constants and options included."""
    (tmp_path / "kernels.py").write_text(KERNELS)
    environment = {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    ran = subprocess.run(
        [sys.executable, "-c", COMPILES, str(tmp_path)], capture_output=True, text=True, env=environment, check=False
    )
    assert ran.stdout == "True\n", ran.stderr
