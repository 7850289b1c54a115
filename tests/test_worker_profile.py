"""The workers' half of a profile: what the assembler says, and what is compiled without a card."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gpuprep.grading.process import WorkerProcess
from gpuprep.worker.profile_assembler import AssemblerError, Resources, assembled, built, resources_in

SAID = """ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'first' for 'sm_90'
ptxas info    : Function properties for helper
    64 bytes stack frame, 60 bytes spill stores, 60 bytes spill loads
ptxas info    : Function properties for first
    24 bytes stack frame, 16 bytes spill stores, 20 bytes spill loads
ptxas info    : Used 128 registers, used 1 barriers, 33280 bytes smem, 400 bytes cmem[0]
ptxas info    : Compiling entry function 'second' for 'sm_90'
ptxas info    : Function properties for second
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 8 registers
"""

LEARNERS = """
import torch, triton, triton.language as tl

@triton.jit
def _twice_kernel(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + offsets, 2 * tl.load(x_ptr + offsets, mask=offsets < n), mask=offsets < n)

@triton.autotune([triton.Config({"BLOCK": 256}, num_warps=2), triton.Config({"BLOCK": 512}, num_warps=8)], key=["n"])
@triton.jit
def _tuned_kernel(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + offsets, 2 * tl.load(x_ptr + offsets, mask=offsets < n), mask=offsets < n)

def twice(x, kind):
    out = torch.empty_like(x)
    n = x.numel()
    if kind == "looks":
        return out if x.sum().item() else x
    if kind == "tuned":
        _tuned_kernel[lambda meta: (triton.cdiv(n, meta["BLOCK"]),)](x, out, n)
        return out
    for _ in range(3):
        _twice_kernel[(triton.cdiv(n, 1024),)](x, out, n, BLOCK=1024, num_warps=8)
    return out
"""


def test_what_ptxas_says_is_read() -> None:
    """Each kernel gets its own figures: not those of a function that it calls, nor of the kernel before it."""
    assert resources_in(SAID) == {"first": Resources(128, 16, 24, 33280), "second": Resources(8, 0, 0, 0)}
    assert resources_in("nothing of the kind") == {}


def test_ptx_without_a_target_is_refused() -> None:
    """The assembler would guess one."""
    with pytest.raises(AssemblerError, match="target"):
        assembled(".version 8.0", "ptxas")


def test_missing_assembler_is_said() -> None:
    """A program that is not there is no traceback."""
    with pytest.raises(AssemblerError, match="can't be run"):
        assembled(".target sm_90", "/nowhere/ptxas")


def test_no_nvcc_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a card and without nvcc nobody knows a CUDA kernel's registers."""
    monkeypatch.setattr(shutil, "which", lambda *_args, **_options: None)
    with pytest.raises(AssemblerError, match="nvcc"):
        built("", (), (), "sm_90")


@pytest.mark.skipif(not (shutil.which("nvcc") and shutil.which("g++")), reason="needs nvcc and g++")
def test_cuda_source_is_built_with_its_templates() -> None:
    """Static shared memory is told, and an instance goes by the name that it is asked for by."""
    code = (
        "template <typename T> __global__ void copy(const T* x, T* out) { out[threadIdx.x] = x[threadIdx.x]; }\n"
        'extern "C" __global__ void tile(float* out) {\n'
        "  __shared__ float rows[WIDTH]; rows[threadIdx.x] = out[threadIdx.x]; __syncthreads();\n"
        "  out[threadIdx.x] = rows[WIDTH - 1 - threadIdx.x];\n}\n"
    )
    found = built(code, ("-DWIDTH=256",), ("copy<float>",), "sm_90")
    assert found.keys() == {"copy<float>", "tile"}
    assert found["tile"].shared_bytes == 4 * 256
    assert found["tile"].registers > 0
    with pytest.raises(AssemblerError, match="error"):
        built("__global__ void broken( {", (), (), "sm_90")


@pytest.fixture(scope="module")
def compiler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerProcess]:
    """A compiling worker that has LEARNERS loaded."""
    path = tmp_path_factory.mktemp("profile") / "twice.py"
    path.write_text(LEARNERS)
    with WorkerProcess("compiler") as worker:
        worker.wait_until_ready()
        loaded = ask(worker, do="load", path=str(path), function="twice", driver=None)
        assert loaded["status"] == "loaded"
        yield worker


def ask(worker: WorkerProcess, **request: Any) -> dict[str, Any]:
    """Its answer."""
    return worker.ask(request, deadline=time.monotonic() + 120)


def compiled(worker: WorkerProcess, kind: str, n: int = 2**30) -> dict[str, Any]:
    """What it says of a call on a vector that nobody has the memory for."""
    args = [{"blank": [n], "strides": [1], "dtype": "float32"}, kind]
    return ask(worker, do="profile_compile", capability=90, args=args)


def test_launches_are_compiled_as_they_are_launched(compiler: WorkerProcess) -> None:
    """Grid, warps and constants are the launcher's; the same launch three times is one kernel."""
    answer = compiled(compiler, "plain")
    assert answer["status"] == "compiled"
    (kernel,) = answer["kernels"]
    assert (kernel["kernel"], kernel["grid"], kernel["threads"]) == ("_twice_kernel", [2**20, 1, 1], 256)
    assert (kernel["launches"], kernel["constants"], kernel["configurations"]) == (3, {"BLOCK": "1024"}, 0)
    assert kernel["registers"] > 0
    assert (kernel["spill_bytes"], kernel["why_not"]) == (0, "")


def test_tuner_takes_its_first_configuration(compiler: WorkerProcess) -> None:
    """There is nothing to time, and the answer says of how many it was the first."""
    (kernel,) = compiled(compiler, "tuned")["kernels"]
    assert (kernel["constants"]["BLOCK"], kernel["threads"], kernel["configurations"]) == ("256", 64, 2)
    assert kernel["grid"] == [2**22, 1, 1]


def test_host_code_that_looks_at_values_is_answered(compiler: WorkerProcess) -> None:
    """There are none: that is told like anything else that a call raises."""
    answer = compiled(compiler, "looks")
    assert answer["status"] == "raised"
    assert Path(answer["path"]).name == "twice.py"


def test_broken_source_is_answered(compiler: WorkerProcess) -> None:
    """Whatever the compiler has against a module is an answer, not the worker's end."""
    request = {"code": "nonsense", "options": [], "name_expressions": [], "architecture": "sm_90"}
    answer = ask(compiler, do="profile_build", **request)
    assert answer["status"] == "unbuilt"
    assert answer["why"]
