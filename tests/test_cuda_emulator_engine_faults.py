"""Every fault that compute-sanitizer would report is found, at its line, with thread, block, buffer and index."""

from __future__ import annotations

import numpy as np
import pytest

from gpuprep.counters import findings as kinds
from gpuprep.counters.cuda_emulator import Buffer, Launched, Pointer, Program, build, why_unsupported
from gpuprep.counters.extents import Extent
from gpuprep.counters.findings import Finding

pytestmark = pytest.mark.skipif(bool(why_unsupported()), reason=why_unsupported() or "supported")

N = 256

# Each kernel's faulty line ends in `// here`, the other line of a race in `// other`.
SOURCE = r"""
#define I (blockIdx.x * blockDim.x + threadIdx.x)
extern "C" {
__global__ void past_the_end(float* x, float* y) {
  y[I + 200] = x[I];  // here
}
__global__ void before_the_start(float* x, float* y) {
  int back = -1;
  y[I] = x[back - 2];  // here
}
__global__ void wide_tail(float* x, float* y) {
  float4 four = reinterpret_cast<float4*>(x + 244)[threadIdx.x];  // here
  y[I] = four.x;
}
__global__ void misaligned(float* x, float* y) {
  float4 four = reinterpret_cast<float4*>(x + 1)[I];  // here
  y[I] = four.x;
}
__global__ void null_pointer(float* x, float* y) {
  y = nullptr;
  y[I + 3] = 1.0f;  // here
}
__global__ void stray_pointer(float* x, float* y) {
  y = reinterpret_cast<float*>(0x123456789000ull);
  y[I] = 1.0f;  // here
}
__global__ void static_index(float* x, float* y) {
  __shared__ float tile[8][9];
  tile[threadIdx.x / 8][threadIdx.x % 8] = 1.0f;
  __syncthreads();
  y[I] = tile[threadIdx.x / 8][threadIdx.x + 1];  // here
}
__global__ void shared_overrun(float* x, float* y) {
  extern __shared__ float cells[];
  cells[threadIdx.x + 1] = x[I];  // here
}
__global__ void no_dynamic(float* x, float* y) {
  extern __shared__ float cells[];
  cells[threadIdx.x] = x[I];  // here
}
__device__ float weights[4];
__global__ void past_a_variable(float* x, float* y) {
  float* w = weights;
  y[I] = w[threadIdx.x];  // here
}
__constant__ float table[4];
__global__ void stores_to_constant(float* x, float* y) {
  const_cast<float*>(table)[threadIdx.x & 3] = 1.0f;  // here
}
__global__ void missing_barrier(float* x, float* y) {
  __shared__ float tile[64];
  tile[threadIdx.x] = x[I];  // other
  y[I] = tile[63 - threadIdx.x];  // here
}
__global__ void missing_second_barrier(float* x, float* y) {
  __shared__ float tile[64];
  for (int i = 0; i < 2; ++i) {
    tile[threadIdx.x] = x[I];  // here
    __syncthreads();
    y[I] = tile[63 - threadIdx.x];  // other
  }
}
__global__ void missing_syncwarp(float* x, float* y) {
  __shared__ float tile[64];
  tile[threadIdx.x] = x[I];  // other
  y[I] = tile[threadIdx.x ^ 1];  // here
}
__global__ void with_syncwarp(float* x, float* y) {
  __shared__ float tile[64];
  tile[threadIdx.x] = x[I];
  __syncwarp();
  y[I] = tile[threadIdx.x ^ 1];
}
__global__ void blocks_collide(float* x, float* y) {
  y[threadIdx.x] = x[I];  // here
}
__global__ void blocks_agree(float* x, float* y) {
  y[threadIdx.x] = 1.0f;  // here
}
__device__ unsigned arrived;
__global__ void last_block_fenced(float* x, float* y) {
  __shared__ bool is_last;
  if (threadIdx.x == 0) {
    y[1 + blockIdx.x] = x[I];
    __threadfence();
    is_last = atomicAdd(&arrived, 1u) == gridDim.x - 1;
  }
  __syncthreads();
  if (is_last && threadIdx.x < gridDim.x) y[100 + threadIdx.x] = y[1 + threadIdx.x];
}
__device__ unsigned arrived_unfenced;
__global__ void last_block_unfenced(float* x, float* y) {
  __shared__ bool is_last;
  if (threadIdx.x == 0) {
    y[1 + blockIdx.x] = x[I];  // other
    is_last = atomicAdd(&arrived_unfenced, 1u) == gridDim.x - 1;
  }
  __syncthreads();
  if (is_last && threadIdx.x < gridDim.x) y[100 + threadIdx.x] = y[1 + threadIdx.x];  // here
}
__global__ void handed_between_warps(float* x, float* y) {
  __shared__ float value;
  __shared__ int flag;
  if (threadIdx.x == 0) flag = 0;
  __syncthreads();
  if (threadIdx.x == 63) {
    value = x[5];
    __threadfence_block();
    atomicExch(&flag, 1);
  }
  if (threadIdx.x == 0) {
    while (atomicAdd(&flag, 0) == 0) {}
    __threadfence_block();
    y[0] = value;
  }
}
__global__ void uninitialised(float* x, float* y) {
  __shared__ float tile[64];
  if (threadIdx.x < 32) tile[threadIdx.x] = x[I];
  __syncthreads();
  y[I] = tile[threadIdx.x];  // here
}
__global__ void barrier_in_branch(float* x, float* y) {
  if (threadIdx.x < 32) {
    y[I] = 1.0f;
    __syncthreads();  // here
  } else {
    y[I] = 2.0f;
    __syncthreads();  // other
  }
}
__global__ void barrier_after_return(float* x, float* y) {
  if (threadIdx.x > 40) return;
  __syncthreads();  // here
  y[I] = x[I];
}
__global__ void shuffle_of_half(float* x, float* y) {
  if (threadIdx.x < 16) y[I] = __shfl_down_sync(0xffffffffu, x[I], 1);  // here
}
__global__ void shuffle_across_barrier(float* x, float* y) {
  if (threadIdx.x < 16) y[I] = __shfl_down_sync(0xffffffffu, x[I], 1);  // here
  __syncthreads();  // other
}
__global__ void shuffle_without_itself(float* x, float* y) {
  y[I] = __shfl_down_sync(0x0000ffffu, x[I], 1);  // here
}
__global__ void different_masks(float* x, float* y) {
  unsigned mask = (threadIdx.x & 31) < 16 ? 0xffffffffu : 0xffff0000u;
  y[I] = __shfl_down_sync(mask, x[I], 1);  // here
}
__global__ void divides(float* x, float* y) {
  int divisor = int(x[0]);
  int quotient = int(I) / divisor;  // here
  y[I] = quotient;
}
__device__ __noinline__ int deeper(int n) {
  volatile int local[64];
  local[n & 63] = n;
  return deeper(n + 1) + local[n & 63];  // here
}
__global__ void recurses(float* x, float* y) { y[I] = deeper(1); }
__global__ void asserts(float* x, float* y) {
  assert(I < 10);  // here
}
__global__ void never_ends(float* x, float* y) {
  while (x[I] >= 0.0f) {  // here
  }
}
__global__ void never_ends_quietly(float* x, float* y) {
  volatile int i = 0;
  while (i >= 0) i = i & 3;  // here
}
__global__ void traps(float* x, float* y) {
  if (threadIdx.x == 5) __trap();  // here
}
}
"""


@pytest.fixture(scope="module")
def program() -> Program:
    """All kernels of this file, compiled once."""
    return build(SOURCE, path="faulty.cu")


def line_of(kernel: str, mark: str = "here") -> int:
    """The marked line of a kernel."""
    lines = SOURCE.splitlines()
    start = next(i for i, line in enumerate(lines) if f" {kernel}(" in line)
    return 1 + next(i for i in range(start, len(lines)) if lines[i].endswith(f"// {mark}"))


def launch(program: Program, kernel: str, *, blocks: int = 1, shared_bytes: int = 0, **how: object) -> Launched:
    """Runs a kernel of 64 threads a block on two tensors of 256 elements."""
    x, y = np.arange(N, dtype=np.float32), np.zeros(N, dtype=np.float32)
    buffers = [
        Buffer(name, array.ctypes.data, array.nbytes, Extent(name, array.ctypes.data, (N,), (1,), 4, array.ctypes.data))
        for name, array in (("x", x), ("y", y))
    ]
    return program.launch(
        kernel,
        (blocks, 1, 1),
        (64, 1, 1),
        [Pointer(0), Pointer(1)],
        buffers=buffers,
        shared_bytes=shared_bytes,
        time_limit_s=0.3,
        **how,  # type: ignore[arg-type]
    )


def only(launched: Launched) -> Finding:
    """The one finding of a launch."""
    assert len(launched.findings) == 1, [finding.message for finding in launched.findings]
    return launched.findings[0]


@pytest.mark.parametrize(
    ("kernel", "tensor", "index", "thread", "words"),
    [
        ("past_the_end", "y", 256, (56, 0, 0), "writes past the end of y: index 256 of 256 elements"),
        ("before_the_start", "x", -3, (0, 0, 0), "reads before the start of x: index -3"),
        ("wide_tail", "x", 256, (3, 0, 0), "past the end of x"),
        ("null_pointer", "", 0, (0, 0, 0), "null pointer"),
        ("stray_pointer", "", 0, (0, 0, 0), "in no buffer"),
        ("static_index", "tile", 9, (8, 0, 0), "declared as float [9]"),
        ("past_a_variable", "", 0, (4, 0, 0), "in no buffer"),
        ("stores_to_constant", "table", 0, (0, 0, 0), "__constant__"),
        ("shared_overrun", "cells", 64, (63, 0, 0), "past the end of cells"),
        ("no_dynamic", "", 0, (0, 0, 0), "the block has none"),
    ],
)
def test_out_of_bounds(
    program: Program, kernel: str, tensor: str, index: int, thread: tuple[int, int, int], words: str
) -> None:
    """Accesses outside buffers, arrays and variables stop the launch, and name line, thread, place and index."""
    launched = launch(program, kernel, shared_bytes=256 if kernel == "shared_overrun" else 0)
    finding = only(launched)
    assert (finding.kind, finding.severity) == (kinds.OUT_OF_BOUNDS, "error")
    assert (finding.line, finding.path, finding.kernel) == (line_of(kernel), "faulty.cu", kernel)
    assert (finding.tensor, finding.index, finding.program) == (tensor, index, (0, 0, 0))
    assert finding.thread == thread or kernel == "static_index"
    assert words in finding.message
    assert not launched.is_complete


def test_a_misaligned_access(program: Program) -> None:
    """A float4 that doesn't begin at a multiple of 16 bytes."""
    finding = only(launch(program, "misaligned"))
    assert (finding.kind, finding.line, finding.tensor) == (kinds.MISALIGNED, line_of("misaligned"), "x")
    assert "4 bytes off" in finding.message


@pytest.mark.parametrize("kernel", ["missing_barrier", "missing_second_barrier"])
def test_a_missing_barrier_is_a_race_between_warps(program: Program, kernel: str) -> None:
    """Both lines are named, whichever access the emulator happened to run first."""
    launched = launch(program, kernel)
    assert {finding.kind for finding in launched.findings} == {kinds.RACE}
    assert {finding.severity for finding in launched.findings} == {"error"}
    lines = {line_of(kernel), line_of(kernel, "other")}
    assert all({finding.line, finding.other_line} == lines for finding in launched.findings)
    assert launched.findings[0].tensor == "tile"


def test_a_missing_syncwarp_is_a_warning(program: Program) -> None:
    """Lanes of one warp may run apart; with __syncwarp all is well."""
    finding = only(launch(program, "missing_syncwarp"))
    assert (finding.kind, finding.severity) == (kinds.RACE, "warning")
    assert (finding.line, finding.other_line) == (line_of("missing_syncwarp"), line_of("missing_syncwarp", "other"))
    assert launch(program, "with_syncwarp").findings == ()


def test_blocks_that_store_to_one_place(program: Program) -> None:
    """An error where the values differ, a note where they agree, in either order of the blocks."""
    for reverse in (False, True):
        finding = only(launch(program, "blocks_collide", blocks=2, reverse=reverse))
        assert (finding.kind, finding.severity, finding.line) == (kinds.RACE, "error", line_of("blocks_collide"))
        note = only(launch(program, "blocks_agree", blocks=2, reverse=reverse))
        assert (note.severity, note.line, note.other_line) == ("note", line_of("blocks_agree"), line_of("blocks_agree"))


def test_a_fence_and_an_atomic_order_blocks(program: Program) -> None:
    """The last block may read what the others wrote if they fenced before they counted; unfenced it may not."""
    assert launch(program, "last_block_fenced", blocks=4).findings == ()
    finding = only(launch(program, "last_block_unfenced", blocks=4))
    assert (finding.kind, finding.severity) == (kinds.RACE, "error")
    assert finding.line == line_of("last_block_unfenced")
    assert finding.other_line == line_of("last_block_unfenced", "other")


def test_a_fence_and_an_atomic_order_warps(program: Program) -> None:
    """A flag in shared memory hands a value from one warp to another, and a warp that waits for it lets others run."""
    assert launch(program, "handed_between_warps").findings == ()


def test_shared_memory_that_nobody_wrote(program: Program) -> None:
    """Reading it is found, with the array and the index."""
    finding = only(launch(program, "uninitialised"))
    assert (finding.kind, finding.line) == (kinds.UNINITIALISED, line_of("uninitialised"))
    assert (finding.tensor, finding.index, finding.lanes) == ("tile", 32, 32)


@pytest.mark.parametrize(
    ("kernel", "kind"),
    [
        ("barrier_in_branch", kinds.BAD_SYNC),
        ("barrier_after_return", kinds.BAD_SYNC),
        ("shuffle_of_half", kinds.BAD_SYNC),
        ("shuffle_across_barrier", kinds.DEADLOCK),
        ("shuffle_without_itself", kinds.BAD_SYNC),
        ("different_masks", kinds.BAD_SYNC),
    ],
)
def test_synchronisation_that_not_all_reach(program: Program, kernel: str, kind: str) -> None:
    """Divergent barriers, shuffles from lanes that don't take part, masks that differ."""
    finding = only(launch(program, kernel))
    assert (finding.kind, finding.severity, finding.line) == (kind, "error", line_of(kernel))
    if "// other" in SOURCE.split(f" {kernel}(")[1].split("__global__")[0]:
        assert finding.other_line == line_of(kernel, "other")


@pytest.mark.parametrize(
    ("kernel", "kind"),
    [
        ("divides", kinds.DIVISION_BY_ZERO),
        ("asserts", kinds.ASSERT),
        ("never_ends", kinds.ENDLESS_LOOP),
        ("never_ends_quietly", kinds.ENDLESS_LOOP),
        ("traps", "trap"),
    ],
)
def test_other_faults(program: Program, kernel: str, kind: str) -> None:
    """Each ends the launch with its kind and line."""
    launched = launch(program, kernel)
    finding = only(launched)
    assert (finding.kind, finding.line) == (kind, line_of(kernel))
    assert not launched.is_complete


def test_endless_recursion(program: Program) -> None:
    """It overflows the stack within the function that calls itself."""
    finding = only(launch(program, "recurses"))
    first = line_of("deeper") - 3
    assert (finding.kind, finding.line in range(first, first + 4)) == (kinds.STACK_OVERFLOW, True)


def test_gaps_of_a_strided_tensor_are_out_of_bounds(program: Program) -> None:
    """Between the rows of a view lies memory of the storage that the kernel was not given."""
    storage = np.zeros(N, dtype=np.float32)
    base = storage.ctypes.data
    rows = Buffer("rows", base, storage.nbytes, Extent("rows", base, (4, 32), (64, 1), 4, base))
    y = Buffer("y", base, storage.nbytes)
    launched = program.launch("with_syncwarp", (1, 1, 1), (32, 1, 1), [Pointer(0), Pointer(1)], buffers=[rows, y])
    assert launched.findings == ()
    finding = only(program.launch("with_syncwarp", (1, 1, 1), (64, 1, 1), [Pointer(0), Pointer(1)], buffers=[rows, y]))
    assert (finding.kind, finding.tensor, finding.index) == (kinds.OUT_OF_BOUNDS, "rows", 32)
    assert "between the elements of rows" in finding.message


def test_faults_are_found_with_several_threads(program: Program) -> None:
    """Two threads of the operating system find what one finds."""
    for kernel in ("past_the_end", "blocks_collide", "last_block_unfenced", "barrier_in_branch", "divides"):
        one = launch(program, kernel, blocks=4)
        two = launch(program, kernel, blocks=4, n_threads=2)
        assert {(f.kind, f.line) for f in one.findings} == {(f.kind, f.line) for f in two.findings}
