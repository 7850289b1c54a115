"""The CUDA emulator counts what a GPU's profiler would: sectors, wavefronts, requests, whatever the lanes do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gpuprep.counters.cuda_emulator import (
    ArgumentError,
    Buffer,
    Counts,
    Launched,
    LaunchError,
    Pointer,
    Program,
    build,
    why_unsupported,
)
from gpuprep.counters.extents import Extent

pytestmark = pytest.mark.skipif(bool(why_unsupported()), reason=why_unsupported() or "supported")

SOURCE = r"""
#define I (blockIdx.x * blockDim.x + threadIdx.x)
extern "C" {
__global__ void copy(const float* x, float* y) { y[I] = x[I]; }
__global__ void stride_two(const float* x, float* y) { y[I] = x[2 * I]; }
__global__ void misaligned(const float* x, float* y) { y[I] = x[I + 1]; }
__global__ void wide(const float4* x, float4* y) { y[I] = x[I]; }
__global__ void transpose(const float* x, float* y, int n) {
  y[(blockIdx.x * 32 + threadIdx.x) * n + blockIdx.y * 32 + threadIdx.y] =
      x[(blockIdx.y * 32 + threadIdx.y) * n + blockIdx.x * 32 + threadIdx.x];
}
__global__ void shared_tile(const float* x, float* y) {
  __shared__ float tile[32][32];
  tile[threadIdx.y][threadIdx.x] = x[threadIdx.y * 32 + threadIdx.x];
  __syncthreads();
  y[threadIdx.y * 32 + threadIdx.x] = tile[threadIdx.x][threadIdx.y];
}
__global__ void padded_tile(const float* x, float* y) {
  __shared__ float tile[32][33];
  tile[threadIdx.y][threadIdx.x] = x[threadIdx.y * 32 + threadIdx.x];
  __syncthreads();
  y[threadIdx.y * 32 + threadIdx.x] = tile[threadIdx.x][threadIdx.y];
}
__global__ void shared_widths(const float* x, float* y) {
  extern __shared__ float dynamic[];
  float4* four = reinterpret_cast<float4*>(dynamic);
  four[threadIdx.x] = make_float4(x[threadIdx.x], 0.0f, 0.0f, 0.0f);
  __syncthreads();
  float2 two = reinterpret_cast<float2*>(dynamic)[threadIdx.x];
  float all = dynamic[5];
  y[threadIdx.x] = two.x + all;
}
__global__ void continues(const float* x, float* y) {
  float sum = 0.0f;
  for (int j = 0; j <= (threadIdx.x & 3); ++j) {
    sum += x[32 * j];
    if (j == 1) continue;
    sum += x[32 * j + 1];
  }
  y[threadIdx.x] = sum;
}
__device__ __noinline__ float partial(const float* x, int n) {
  float sum = 0.0f;
  for (int k = 0; k <= n; ++k) sum += x[k];
  return sum;
}
__global__ void calls(const float* x, float* y) {
  float sum = 0.0f;
  for (int j = 0; j < 4; ++j) {
    if ((threadIdx.x >> j) & 1) sum += partial(x, j);
    else sum += x[100 + j];
    sum += x[128 + 32 * j];
  }
  y[threadIdx.x] = sum;
}
__global__ void nested(const float* x, float* y) {
  float sum = 0.0f;
  for (int j = 0; j < 3; ++j) {
    for (int k = 0; k < (threadIdx.x & 1) * 5 + 1; ++k) sum += x[k];
    sum += x[64 + j];
  }
  y[threadIdx.x] = sum;
}
__global__ void histogram(const int* keys, int* bins) {
  __shared__ int mine[64];
  mine[threadIdx.x] = 0;
  __syncthreads();
  atomicAdd(&mine[keys[I] & 63], 1);
  __syncthreads();
  atomicAdd(&bins[threadIdx.x], mine[threadIdx.x]);
}
__device__ int launches;
__constant__ float weights[4];
__global__ void weighted(float* y) {
  if (threadIdx.x == 0) launches++;
  y[threadIdx.x] = weights[threadIdx.x & 3];
}
__global__ void reduce(const float* x, float* y) {
  float sum = x[I];
  for (int offset = 16; offset > 0; offset >>= 1) sum += __shfl_down_sync(0xffffffffu, sum, offset);
  if ((threadIdx.x & 31) == 0) y[I / 32] = sum;
}
__global__ void prints(float* y) { if (I < 2) printf("thread %d\n", I); }
__global__ void many(char a, double b, const short* c, bool d, long long e) {}
}
template <typename T>
__global__ void scale(T* y, T by) { y[I] *= by; }
"""


@pytest.fixture(scope="module")
def program() -> Program:
    """All kernels of this file, compiled once."""
    return build(SOURCE, path="kernels.cu", name_expressions=["scale<double>"])


def run(
    program: Program, name: str, arrays: list[np.ndarray], *scalars: np.generic, grid=(1, 1, 1), block=(32, 1, 1), **how
) -> Launched:
    """Launches a kernel on arrays, then scalars."""
    buffers = [Buffer(f"a{i}", array.ctypes.data, array.nbytes) for i, array in enumerate(arrays)]
    arguments = [*(Pointer(i) for i in range(len(arrays))), *(scalar.tobytes() for scalar in scalars)]
    return program.launch(name, grid, block, arguments, buffers=buffers, **how)


def floats(n: int) -> np.ndarray:
    """1, 2, 3, …"""
    return np.arange(1, n + 1, dtype=np.float32)


@pytest.mark.parametrize(
    ("kernel", "loads", "stores"),
    [("copy", 4.0, 4.0), ("stride_two", 8.0, 4.0), ("misaligned", 5.0, 4.0), ("wide", 16.0, 16.0)],
)
def test_sectors_of_a_request(program: Program, kernel: str, loads: float, stores: float) -> None:
    """A copy takes 4 sectors a request, stride two 8, a misaligned load 5, a float4 16."""
    counts = run(program, kernel, [floats(2048), floats(2048)], grid=(4, 1, 1), block=(64, 1, 1)).counts
    assert (counts.sectors_per_load, counts.sectors_per_store) == (loads, stores)
    assert counts.load_requests == counts.store_requests == 8


def test_bytes_are_those_of_all_lanes(program: Program) -> None:
    """Each lane's bytes are counted, and blocks and threads."""
    counts = run(program, "wide", [floats(512), floats(512)], grid=(2, 1, 1), block=(64, 1, 1)).counts
    assert (counts.bytes_loaded, counts.bytes_stored) == (2048, 2048)
    assert (counts.blocks, counts.threads) == (2, 128)


def test_transposed_store(program: Program) -> None:
    """A store down a column takes 32 sectors a request, and the result is right."""
    x, y = floats(64 * 64), np.zeros(64 * 64, dtype=np.float32)
    launched = run(program, "transpose", [x, y], np.int32(64), grid=(2, 2, 1), block=(32, 32, 1))
    assert (launched.counts.sectors_per_load, launched.counts.sectors_per_store) == (4.0, 32.0)
    assert np.array_equal(y.reshape(64, 64), x.reshape(64, 64).T)


def test_bank_conflicts_of_a_tile(program: Program) -> None:
    """Reading a 32 × 32 tile down its columns is a 32-way conflict; a padded tile has none."""
    arrays = [floats(1024), floats(1024)]
    naive = run(program, "shared_tile", arrays, block=(32, 32, 1)).counts
    padded = run(program, "padded_tile", arrays, block=(32, 32, 1)).counts
    assert naive.shared_requests == padded.shared_requests == 64
    assert (naive.shared_wavefronts, naive.bank_conflicts) == (32 + 32 * 32, 32 * 31)
    assert (padded.shared_wavefronts, padded.bank_conflicts) == (64, 0)


def test_wide_shared_accesses_need_more_wavefronts_but_no_conflicts(program: Program) -> None:
    """A float4 is served in four phases and a float2 in two; a broadcast is free."""
    launched = run(program, "shared_widths", [floats(32), floats(32)], shared_bytes=512)
    by_line = {(row.kind, row.line): row for row in launched.counts.sites if row.kind.startswith("shared")}
    wavefronts = [row.wavefronts for _, row in sorted(by_line.items(), key=lambda item: item[0][1])]
    assert wavefronts == [4, 2, 1]
    assert launched.counts.bank_conflicts == 0


def test_loops_with_continue_keep_their_requests_whole(program: Program) -> None:
    """Lanes that leave a loop early, or skip part of an iteration, split no request of the others."""
    x, y = floats(256), np.zeros(32, dtype=np.float32)
    counts = run(program, "continues", [x, y]).counts
    # Four iterations; the second part runs in three of them.
    assert counts.load_requests == 4 + 3
    assert y[3] == sum(x[32 * j] + (0 if j == 1 else x[32 * j + 1]) for j in range(4))


def test_calls_keep_their_requests_whole(program: Program) -> None:
    """A function with a loop, called by some lanes: one request an iteration, and the caller's loads stay whole."""
    counts = run(program, "calls", [floats(512), floats(32)]).counts
    assert counts.load_requests == (1 + 2 + 3 + 4) + 4 + 4


def test_nested_loops_meet_again(program: Program) -> None:
    """Lanes wait behind an inner loop for those that go round it more often."""
    counts = run(program, "nested", [floats(128), floats(32)]).counts
    assert counts.load_requests == 3 * (6 + 1)


def test_rows_name_lines(program: Program) -> None:
    """Each line has its own counts."""
    rows = run(program, "copy", [floats(32), floats(32)]).counts.sites
    line = 1 + SOURCE[: SOURCE.index("void copy")].count("\n")
    assert [(row.line, row.kind, row.requests, row.sectors) for row in rows] == [
        (line, "load", 1, 4),
        (line, "store", 1, 4),
    ]


def test_atomics(program: Program) -> None:
    """Atomics work across blocks, are counted by thread, and are no race."""
    keys, bins = np.arange(256, dtype=np.int32), np.zeros(64, dtype=np.int32)
    launched = run(program, "histogram", [keys, bins], grid=(4, 1, 1), block=(64, 1, 1))
    assert bins.tolist() == [4] * 64
    assert launched.counts.atomics == 2 * 256
    assert launched.counts.barriers == 2 * 4
    assert launched.findings == ()


@pytest.mark.parametrize("how", [{}, {"n_threads": 2}, {"reverse": True}, {"n_threads": 2, "reverse": True}])
def test_counts_are_deterministic(program: Program, how: dict[str, object]) -> None:
    """Counts are the same over repeats, with one or two threads of the operating system, and in reverse order."""
    keys = np.arange(2048, dtype=np.int32) * 7
    expected: Counts | None = None
    for given in ({}, how, how):
        bins = np.zeros(64, dtype=np.int32)
        launched = run(program, "histogram", [keys, bins], grid=(32, 1, 1), block=(64, 1, 1), **given)
        assert bins.sum() == 2048
        assert launched.findings == ()
        assert expected in (None, launched.counts)
        expected = launched.counts


def test_warp_shuffles(program: Program) -> None:
    """A warp reduces through registers: no shared memory is touched."""
    x, y = floats(64), np.zeros(2, dtype=np.float32)
    launched = run(program, "reduce", [x, y], block=(64, 1, 1))
    assert y.tolist() == [x[:32].sum(), x[32:].sum()]
    assert (launched.counts.shared_requests, launched.counts.store_requests, launched.findings) == (0, 2, ())


def test_device_variables_live_as_long_as_the_program() -> None:
    """A __device__ variable keeps its value from launch to launch; __constant__ memory is set from outside."""
    program = build(SOURCE, path="kernels.cu")
    y = np.zeros(32, dtype=np.float32)
    program.write_variable("weights", np.float32([1, 2, 3, 4]).tobytes())
    for _ in range(3):
        launched = run(program, "weighted", [y])
    assert program.read_variable("launches") == np.int32(3).tobytes()
    assert y[:5].tolist() == [1, 2, 3, 4, 1]
    assert program.variables == {"launches": 4, "weights": 16}
    # Constants come through a cache of their own: only the counter's load is one of global memory.
    assert launched.counts.load_requests == 1


def test_template_instances(program: Program) -> None:
    """A template's instance is launched by its expression."""
    y = np.arange(32, dtype=np.float64)
    run(program, "scale<double>", [y], np.float64(3.0))
    assert y.tolist() == [3.0 * i for i in range(32)]


def test_parameters_come_from_the_compiler(program: Program) -> None:
    """Kind, width, constness and offset of each parameter, with the source's names."""
    parameters = program.functions["many"]
    assert [(p.name, p.kind, p.n_bytes, p.offset) for p in parameters] == [
        ("a", "int", 1, 0),
        ("b", "float", 8, 8),
        ("c", "pointer", 8, 16),
        ("d", "uint", 1, 24),
        ("e", "int", 8, 32),
    ]
    assert (parameters[2].element_bytes, parameters[2].is_const) == (2, True)
    assert [p.name for p in program.functions["scale<double>"]] == ["y", "by"]


def test_arguments_that_do_not_fit_are_refused(program: Program) -> None:
    """Wrong counts and widths, values for pointers and impossible shapes are refused before anything runs."""
    with pytest.raises(ArgumentError, match="takes 2 arguments"):
        program.launch("copy", (1, 1, 1), (32, 1, 1), [Pointer(None)])
    with pytest.raises(ArgumentError, match="8 bytes"):
        program.launch("copy", (1, 1, 1), (32, 1, 1), [Pointer(None), np.int32(1).tobytes()])
    with pytest.raises(ArgumentError, match="no pointer"):
        program.launch("many", (1, 1, 1), (32, 1, 1), [Pointer(None)] * 5)
    with pytest.raises(ValueError, match="more than 1024 threads"):
        program.launch("copy", (1, 1, 1), (64, 32, 1), [Pointer(None), Pointer(None)])
    with pytest.raises(ValueError, match="shared memory"):
        program.launch("copy", (1, 1, 1), (32, 1, 1), [Pointer(None), Pointer(None)], shared_bytes=10**6)
    with pytest.raises(KeyError):
        program.launch("nothing", (1, 1, 1), (32, 1, 1), [])


def test_written_bytes_are_marked(program: Program) -> None:
    """For each buffer the bytes that were stored to; storages that were only read have none, and keep their bytes."""
    x, y = floats(64), np.zeros(64, dtype=np.float32)
    launched = run(program, "copy", [x, y])
    assert launched.written[0] is None
    assert launched.written[1] is not None
    assert launched.written[1].tolist() == [1] * 128 + [0] * 128


def test_views_of_one_storage_share_its_bytes(program: Program) -> None:
    """Two tensors of one storage are two buffers with bounds of their own, over the same memory."""
    storage = floats(64)
    base = storage.ctypes.data
    first = Buffer("first", base, storage.nbytes, Extent("first", base, (32,), (1,), 4, base))
    second = Buffer("second", base, storage.nbytes, Extent("second", base + 128, (32,), (1,), 4, base))
    program.launch("copy", (1, 1, 1), (32, 1, 1), [Pointer(0), Pointer(1, 128)], buffers=[first, second])
    assert storage[32:].tolist() == storage[:32].tolist()
    beyond = program.launch("copy", (1, 1, 1), (32, 1, 1), [Pointer(0, 4), Pointer(1, 128)], buffers=[first, second])
    assert beyond.findings[0].tensor == "first"
    assert "past the end of first: index 32 of 32 elements" in beyond.findings[0].message


def test_printf_is_collected(program: Program) -> None:
    """What a kernel prints is part of the result."""
    assert run(program, "prints", [floats(1)]).output == "thread 0\nthread 1\n"


def test_building_again_is_a_matter_of_milliseconds(program: Program) -> None:
    """The same source is compiled once."""
    began = time.perf_counter()
    build(SOURCE, path="elsewhere.cu", name_expressions=["scale<double>"])
    assert time.perf_counter() - began < 0.25


def test_concurrent_builds_make_one_program(tmp_path: Path) -> None:
    """Processes that build the same source at the same time don't disturb one another, and leave nothing behind."""
    code = (
        "from gpuprep.counters.cuda_emulator import build\n"
        "print(*build('extern \"C\" __global__ void alone() {}').functions)"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    started = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [process.communicate()[0].strip() for process in started] == ["alone", "alone"]
    left = sorted(path.suffix for path in (tmp_path / "gpuprep" / "cuda").iterdir())
    assert left == ["", ".o"]


def test_a_kernel_dies_with_its_parent() -> None:
    """When the process that launched a kernel is killed, the kernel's process goes too."""
    code = (
        "from gpuprep.counters.cuda_emulator import build\n"
        "p = build('extern \"C\" __global__ void spin() { volatile int i = 0; while (true) i++; }')\n"
        "print('go', flush=True)\n"
        "p.launch('spin', (1, 1, 1), (1, 1, 1), [], time_limit_s=60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    assert parent.stdout.readline() == "go\n"
    children: list[int] = []
    for _ in range(200):
        listing = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text(encoding="ascii").split()
        children = [int(child) for child in listing]
        if children:
            break
        time.sleep(0.05)
    time.sleep(0.1)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert children
    for _ in range(100):
        if not Path(f"/proc/{children[0]}").exists() or "Z" in Path(f"/proc/{children[0]}/stat").read_text().split()[2]:
            break
        time.sleep(0.05)
    else:
        pytest.fail("the kernel's process is still there")


def test_a_broken_program_is_an_error(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that ends without an answer is a clear error, never a hang."""
    monkeypatch.setattr(program, "_executable", Path("/bin/false"))
    with pytest.raises(LaunchError, match="broke down"):
        run(program, "copy", [floats(32), floats(32)])
    monkeypatch.setattr(program, "_executable", Path("/nowhere"))
    with pytest.raises(LaunchError, match="can't be started"):
        run(program, "copy", [floats(32), floats(32)])
