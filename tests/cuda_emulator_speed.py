"""Prints how long the CUDA emulator takes, with every counter on, beside numba's CUDA simulator.

Run as `python tests/cuda_emulator_speed.py`. numba is optional, and both are compared at a size that it can finish.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from gpuprep.counters.cuda_emulator import Buffer, Launched, Pointer, Program, build, why_unsupported

REPEATS = 5

SOURCE = r"""
extern "C" {
__global__ void add(const float* x, const float* y, float* out, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) out[i] = x[i] + y[i];
}
__global__ void transpose(const float* x, float* out, int n) {
  __shared__ float tile[32][33];
  int col = blockIdx.x * 32 + threadIdx.x, row = blockIdx.y * 32 + threadIdx.y;
  for (int k = 0; k < 32; k += 8) tile[threadIdx.y + k][threadIdx.x] = x[(row + k) * n + col];
  __syncthreads();
  col = blockIdx.y * 32 + threadIdx.x;
  row = blockIdx.x * 32 + threadIdx.y;
  for (int k = 0; k < 32; k += 8) out[(row + k) * n + col] = tile[threadIdx.x][threadIdx.y + k];
}
__global__ void sgemm(const float* a, const float* b, float* c, int n) {
  __shared__ float a_tile[16][16];
  __shared__ float b_tile[16][16];
  int tx = threadIdx.x, ty = threadIdx.y, row = blockIdx.y * 16 + ty, col = blockIdx.x * 16 + tx;
  float sum = 0.0f;
  for (int t = 0; t < n; t += 16) {
    a_tile[ty][tx] = a[row * n + t + tx];
    b_tile[ty][tx] = b[(t + ty) * n + col];
    __syncthreads();
    for (int k = 0; k < 16; ++k) sum += a_tile[ty][k] * b_tile[k][tx];
    __syncthreads();
  }
  c[row * n + col] = sum;
}
}
"""

Grid = tuple[int, int, int]


@dataclass(frozen=True)
class Kernel:
    """One timed kernel, at the size that is promised and at one that numba's simulator can finish."""

    name: str
    limit_s: float
    size: int
    small: int
    n_inputs: int
    grid: Callable[[int], Grid]
    block: Grid
    shape: Callable[[int], tuple[int, ...]]
    expected: Callable[[Sequence[np.ndarray]], np.ndarray]


def _square(n: int) -> tuple[int, ...]:
    return (n, n)


KERNELS = (
    Kernel(
        "add", 0.15, 1 << 20, 1 << 12, 2, lambda n: (n // 256, 1, 1), (256, 1, 1), lambda n: (n,), lambda x: x[0] + x[1]
    ),
    Kernel("transpose", 0.15, 1024, 64, 1, lambda n: (n // 32, n // 32, 1), (32, 8, 1), _square, lambda x: x[0].T),
    Kernel("sgemm", 0.6, 256, 32, 2, lambda n: (n // 16, n // 16, 1), (16, 16, 1), _square, lambda x: x[0] @ x[1]),
)


def emulated(program: Program, kernel: Kernel, n: int) -> float:
    """Seconds of the fastest launch, copies and start of the process included."""
    rng = np.random.default_rng(0)
    inputs = [rng.random(kernel.shape(n), dtype=np.float32) for _ in range(kernel.n_inputs)]
    out = np.zeros(kernel.shape(n), dtype=np.float32)
    arrays = [*inputs, out]
    buffers = [Buffer(f"array {i}", array.ctypes.data, array.nbytes) for i, array in enumerate(arrays)]
    arguments = [*(Pointer(i) for i in range(len(arrays))), np.int32(n).tobytes()]

    def launch() -> Launched:
        return program.launch(kernel.name, kernel.grid(n), kernel.block, arguments, buffers=buffers)

    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        launched = launch()
        seconds.append(time.perf_counter() - began)
        if launched.findings or not np.allclose(out, kernel.expected(inputs), rtol=1e-4):
            raise SystemExit(f"{kernel.name} is wrong: {launched.findings}")
    return min(seconds)


def numba_kernels() -> SimpleNamespace | None:
    """The same kernels for numba's simulator; None where numba is not installed."""
    # The simulator puts something else in the place of a kernel's global `cuda`.
    global cuda
    os.environ["NUMBA_ENABLE_CUDASIM"] = "1"
    try:
        from numba import cuda, float32
    except ImportError:
        return None

    @cuda.jit
    def add(x, y, out, n):  # type: ignore[no-untyped-def]
        i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        if i < n:
            out[i] = x[i] + y[i]

    @cuda.jit
    def transpose(x, out, n):  # type: ignore[no-untyped-def]
        tile = cuda.shared.array((32, 33), float32)
        tx, ty = cuda.threadIdx.x, cuda.threadIdx.y
        col, row = cuda.blockIdx.x * 32 + tx, cuda.blockIdx.y * 32 + ty
        for k in range(0, 32, 8):
            tile[ty + k, tx] = x[row + k, col]
        cuda.syncthreads()
        col, row = cuda.blockIdx.y * 32 + tx, cuda.blockIdx.x * 32 + ty
        for k in range(0, 32, 8):
            out[row + k, col] = tile[tx, ty + k]

    @cuda.jit
    def sgemm(a, b, c, n):  # type: ignore[no-untyped-def]
        a_tile = cuda.shared.array((16, 16), float32)
        b_tile = cuda.shared.array((16, 16), float32)
        tx, ty = cuda.threadIdx.x, cuda.threadIdx.y
        row, col = cuda.blockIdx.y * 16 + ty, cuda.blockIdx.x * 16 + tx
        total = float32(0.0)
        for t in range(0, n, 16):
            a_tile[ty, tx] = a[row, t + tx]
            b_tile[ty, tx] = b[t + ty, col]
            cuda.syncthreads()
            for k in range(16):
                total += a_tile[ty, k] * b_tile[k, tx]
            cuda.syncthreads()
        c[row, col] = total

    return SimpleNamespace(add=add, transpose=transpose, sgemm=sgemm)


def simulated(kernels: SimpleNamespace, kernel: Kernel) -> float:
    """Seconds of one launch in numba's simulator, at the small size."""
    n = kernel.small
    rng = np.random.default_rng(0)
    inputs = [rng.random(kernel.shape(n), dtype=np.float32) for _ in range(kernel.n_inputs)]
    out = np.zeros(kernel.shape(n), dtype=np.float32)
    began = time.perf_counter()
    getattr(kernels, kernel.name)[kernel.grid(n), kernel.block](*inputs, out, n)
    seconds = time.perf_counter() - began
    if not np.allclose(out, kernel.expected(inputs), rtol=1e-4):
        raise SystemExit(f"numba's {kernel.name} is wrong")
    return seconds


def report() -> list[str]:
    """A line for each kernel."""
    program = build(SOURCE)
    kernels = numba_kernels()
    lines = [f"{'kernel':<12}{'size':>8}{'seconds':>10}{'promised':>10}   beside numba's simulator"]
    for kernel in KERNELS:
        seconds = emulated(program, kernel, kernel.size)
        beside = "numba is not installed"
        if kernels is not None:
            theirs, ours = simulated(kernels, kernel), emulated(program, kernel, kernel.small)
            beside = (
                f"{theirs / ours:,.0f} times as fast at {kernel.small} ({ours * 1e3:.1f} ms, {theirs * 1e3:.0f} ms)"
            )
        lines.append(f"{kernel.name:<12}{kernel.size:>8}{seconds:>10.3f}{kernel.limit_s:>10.2f}   {beside}")
    return lines


if __name__ == "__main__":
    if why := why_unsupported():
        raise SystemExit(why)
    sys.stdout.write("\n".join(report()) + "\n")
