"""Tiny programs, one a back end, each run in a process of its own and held against an answer that is known.

A broken installation may hang, abort or print anything: what counts is the last line of the output.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_S = 60.0
"""For one process. Importing torch from a cold disk alone can take most of it."""


@dataclass(frozen=True)
class Canary:
    """A Python program and its last line of output where all is well."""

    name: str
    needs: tuple[str, ...]
    """Python packages."""
    needs_gpu: bool
    program: str
    answer: str
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Ran:
    """What became of a process. `problem` is empty where it exited with 0."""

    output: str
    problem: str

    @property
    def last_line(self) -> str:
        """The last line that was printed to stdout."""
        return self.output.strip().rpartition("\n")[2].strip()


# Both tails count: 100 elements in blocks of 64, so the second block must be masked. The sum of 3·k for k < 100.
_TRITON = """
import torch
import triton
import triton.language as tl


@triton.jit
def _triple_kernel(x_ptr, out_ptr, n, BLOCK_SIZE: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    mask = offsets < n
    tl.store(out_ptr + offsets, 3 * tl.load(x_ptr + offsets, mask=mask), mask=mask)


x = torch.arange(100, dtype=torch.float32, device="DEVICE")
out = torch.zeros(128, device="DEVICE")
_triple_kernel[(2,)](x, out, 100, BLOCK_SIZE=64)
print(int(out.sum()))
"""

_CUPY = r"""
import cupy

source = '''
extern "C" __global__ void triple(const float* x, float* out, int n) {
    int k = blockIdx.x * blockDim.x + threadIdx.x;
    if (k < n) out[k] = 3.0f * x[k];
}
'''
x = cupy.arange(100, dtype=cupy.float32)
out = cupy.zeros(128, dtype=cupy.float32)
cupy.RawModule(code=source).get_function("triple")((2,), (64,), (x, out, cupy.int32(100)))
print(int(out.sum()))
"""

_EMULATED = r"""
import torch
from gpuprep.cuda import RawModule

source = '''
extern "C" __global__ void triple(const float* x, float* out, int n) {
    int k = blockIdx.x * blockDim.x + threadIdx.x;
    if (k < n) out[k] = 3.0f * x[k];
}
'''
x = torch.arange(100, dtype=torch.float32)
out = torch.zeros(128)
RawModule(code=source).get_function("triple")((2,), (64,), (x, out, 100))
print(int(out.sum()))
"""

_GLOO = """
import torch
import torch.distributed as dist

dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
x = torch.arange(100)
dist.all_reduce(x)
print(3 * int(x.sum()))
dist.destroy_process_group()
"""

_CPP = """
#include <cstdio>
#include <numeric>
#include <thread>
#include <vector>

int main() {
    std::vector<int> x(100);
    std::iota(x.begin(), x.end(), 0);
    long sum = 0;
    std::thread([&] { for (int value : x) sum += 3 * value; }).join();
    std::printf("%ld\\n", sum);
}
"""

ANSWER = "14850"
"""3 · (0 + 1 + … + 99): what every canary computes."""

TRITON_CPU = Canary(
    "Triton in the interpreter",
    ("torch", "triton"),
    False,
    _TRITON.replace("DEVICE", "cpu"),
    ANSWER,
    {"TRITON_INTERPRET": "1"},
)
TRITON_GPU = Canary("Triton on the GPU", ("torch", "triton"), True, _TRITON.replace("DEVICE", "cuda"), ANSWER, {})
CUPY_GPU = Canary("CuPy on the GPU", ("cupy",), True, _CUPY, ANSWER, {})
GLOO = Canary("torch.distributed (gloo)", ("torch",), False, _GLOO, ANSWER, {})
EMULATOR = Canary(
    "CUDA C in the emulator",
    ("torch",),
    False,
    _EMULATED,
    ANSWER,
    {"PYTHONPATH": str(Path(__file__).resolve().parents[2]), "CUDA_VISIBLE_DEVICES": ""},
)
PYTHON_CANARIES = (TRITON_CPU, TRITON_GPU, CUPY_GPU, GLOO)


def run_canary(canary: Canary) -> str:
    """Runs the program; what is wrong, or nothing."""
    # From a file, not with -c: triton.jit reads its kernels' source back.
    with tempfile.TemporaryDirectory(prefix="gpuprep-doctor-") as folder:
        path = Path(folder) / "canary.py"
        path.write_text(canary.program, encoding="utf-8")
        return _wrong(run_process([sys.executable, str(path)], canary.environment), canary.answer)


def run_compiler(compiler: str) -> str:
    """Compiles a C++ program, threads and all, and runs it; what is wrong, or nothing."""
    with tempfile.TemporaryDirectory(prefix="gpuprep-doctor-") as folder:
        source, program = Path(folder) / "canary.cpp", Path(folder) / "canary"
        source.write_text(_CPP, encoding="utf-8")
        arguments = [compiler, "-std=c++17", "-O1", "-pthread", "-o", str(program), str(source)]
        compiled = run_process(arguments, {})
        return compiled.problem or _wrong(run_process([str(program)], {}), ANSWER)


def run_process(arguments: Sequence[str], environment: Mapping[str, str]) -> Ran:
    """Runs a program to its end, at most for TIMEOUT_S.

    Args:
        arguments: the program and its arguments.
        environment: what is added to our own; TRITON_INTERPRET is never inherited.
    """
    inherited = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    try:
        done = subprocess.run(
            list(arguments),
            env={**inherited, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Ran("", f"no answer after {TIMEOUT_S:.0f} s")
    except OSError as error:
        return Ran("", f"can't be started: {error.strerror or error}")
    return Ran(done.stdout, _problem(done))


def _problem(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode == 0:
        return ""
    # A traceback names its error on the last line; a program that only prints to stdout, nvidia-smi say, does so there.
    said = (done.stderr.strip() or done.stdout.strip()).splitlines()
    how = f"killed by signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
    return f"{said[-1].strip()} ({how})" if said else how


def _wrong(ran: Ran, answer: str) -> str:
    if ran.problem or ran.last_line == answer:
        return ran.problem
    return f"computed {ran.last_line or 'nothing'} where the answer is {answer}"
