"""What is compiled, what is refused, and how compile errors read: in the learner's own lines."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gpuprep.counters.cuda_emulator import CompileError, UnsupportedFeatureError, build, toolchain, why_unsupported
from gpuprep.counters.cuda_emulator.source_scan import kernels, tokens

pytestmark = pytest.mark.skipif(bool(why_unsupported()), reason=why_unsupported() or "supported")


def kernel(body: str, before: str = "") -> str:
    """A kernel around a body, which begins on line 3."""
    return f'{before}\nextern "C" __global__ void k(float* x) {{\n{body}\n}}\n'


def test_compile_errors_have_the_learners_line() -> None:
    """The first error's text and line, and the whole log with no path of ours."""
    with pytest.raises(CompileError) as caught:
        build(kernel("  float a = 1.0f;\n  x[0] = b;\n  x[1] = c;"))
    assert (caught.value.line, caught.value.message) == (4, "'b' was not declared in this scope")
    assert "kernel.cu:5" in caught.value.log
    assert str(toolchain.cache_folder()) not in caught.value.log


def test_an_error_in_a_header_is_blamed_on_the_line_that_led_there() -> None:
    """A call that no overload fits is the caller's mistake."""
    with pytest.raises(CompileError) as caught:
        build(kernel("  x[0] = __shfl_down_sync(0xffffffffu, 1.0f);"))
    assert caught.value.line == 3


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ('  asm volatile("bar.sync 0;");', "inline PTX"),
        ("  other<<<1, 32>>>(x);", "<<<>>>"),
        ("  x[0] = tex1Dfetch<float>(t, 0);", "texture"),
        ("  cudaTextureObject_t t;", "texture"),
        ("  cooperative_groups::this_grid().sync();", "grid-wide"),
        ("  auto grid = cooperative_groups::this_grid(); grid.sync();", "grid-wide"),
        ("  cooperative_groups::grid_group all{cooperative_groups::this_grid()}; all.sync();", "grid-wide"),
        ("  auto all = cooperative_groups::this_grid(); cooperative_groups::sync(all);", "grid-wide"),
        ("  cub::BlockReduce<float, 32> reduce;", "CUB"),
        ("  cudaMalloc(&x, 4);", "CUDA host API"),
        ("#include <cub/cub.cuh>", "cub/cub.cuh"),
        ("#include <cuda/barrier>", "cuda/barrier"),
    ],
)
def test_what_only_a_gpu_has_is_refused_by_name_and_line(body: str, what: str) -> None:
    """The sentence names the feature and says that it runs on a GPU only."""
    with pytest.raises(UnsupportedFeatureError) as caught:
        build(kernel(body))
    assert caught.value.line == 3
    assert what in caught.value.message
    assert "runs on a GPU only" in caught.value.message


def test_a_grid_that_nobody_waits_for_is_fine() -> None:
    """Its ranks and sizes need no cooperative launch; a block may wait beside it."""
    body = """  auto grid = cooperative_groups::this_grid();
  auto block = cooperative_groups::this_thread_block();
  for (auto i = grid.thread_rank(); i < 4; i += grid.size()) x[i] = cooperative_groups::this_grid().num_blocks();
  block.sync();
  cooperative_groups::sync(block);"""
    assert list(build(kernel(body, "#include <cooperative_groups.h>")).functions) == ["k"]


def test_words_in_comments_and_strings_are_no_features() -> None:
    """Only code counts; a learner's own variable may be called texture."""
    body = """  // asm("x"); kernel<<<1, 1>>>();
  /* cub::BlockReduce
     __asm__ */
  const char* text = "asm <<< tex2D";
  int texture = 1, asm_count = 2;
  x[0] = texture + asm_count + (text != nullptr);"""
    assert list(build(kernel(body)).functions) == ["k"]


@pytest.mark.parametrize(
    "source",
    [
        kernel('  A(__as, m__)("nop");', "#define A(a, b) a##b"),
        kernel('  __as\\\nm__("nop");'),
        kernel("", '#pragma GCC optimize("O3")'),
        kernel("", '_Pragma("GCC optimize(3)")'),
        kernel("", '__attribute__((no_sanitize("thread"))) float hidden(float* x) { return *x; }'),
        kernel("", '[[gnu::optimize("O3")]] float hidden(float* x) { return *x; }'),
        kernel("", "__attribute__((constructor)) void early() {}"),
        kernel("", "struct Early { Early(); int n; }; Early::Early() { n = 1; } __device__ Early early;"),
        kernel("  system(nullptr);", 'extern "C" int system(const char*);'),
        kernel("  write(1, x, 4);", 'extern "C" long write(int, const void*, unsigned long);'),
        kernel("  gp_fence(1);"),
        kernel("  __tsan_init();", 'extern "C" void __tsan_init();'),
        kernel("", "#undef __global__\n#define gp_barrier(a, b) 0"),
        kernel("", '#include "/etc/passwd"'),
        kernel("", '#include "../secret.h"'),
    ],
)
def test_a_program_can_be_trusted_to_count(source: str) -> None:
    """What would run outside the counters, or before the kernel, is not compiled."""
    with pytest.raises(CompileError):
        build(source)


def test_a_missing_function_is_named() -> None:
    """A function that no GPU has is named as such."""
    with pytest.raises(UnsupportedFeatureError, match="`getenv`"):
        build(kernel('  x[0] = getenv("HOME") != nullptr;', 'extern "C" char* getenv(const char*);'))


def test_too_much_static_shared_memory() -> None:
    """A block may declare 48 KiB, counted for each kernel by itself."""
    arrays = "  __shared__ float tile[{n}];\n  tile[threadIdx.x] = 1.0f;\n  x[0] = tile[0];"
    with pytest.raises(CompileError, match="52000 bytes"):
        build(kernel(arrays.format(n=13000)))
    two = kernel(arrays.format(n=10000)) + kernel(arrays.format(n=9000)).replace(" k(", " other(")
    assert set(build(two).functions) == {"k", "other"}


def test_options_define_macros() -> None:
    """-D counts in all its spellings, and the other options of a GPU's compiler are taken without effect."""
    source = kernel("  x[0] = SIZE + MORE;")
    options = ["-DSIZE=4", "-D", "MORE=2", "--use_fast_math", "-std=c++17", "-arch=sm_90"]
    assert list(build(source, options=options).functions) == ["k"]
    with pytest.raises(CompileError, match="SIZE"):
        build(source)


def test_other_sources_and_macros_are_other_programs() -> None:
    """The cache knows sources, options and instances apart."""
    source = "template <int N> __global__ void fill(float* x) { x[threadIdx.x] = N; }"
    assert list(build(source, name_expressions=["fill<1>"]).functions) == ["fill<1>"]
    assert list(build(source, name_expressions=["fill<2>"]).functions) == ["fill<2>"]
    assert list(build(source).functions) == []


def test_a_damaged_cache_entry_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without its layout, as an ended process may leave it, is replaced."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    source = kernel("  x[0] = 7.0f;")
    build(source)
    cache = tmp_path / "gpuprep" / "cuda"
    folder = next(path for path in cache.iterdir() if path.is_dir())
    (folder / "layout.json").unlink()
    assert list(build(source).functions) == ["k"]
    assert (folder / "layout.json").exists()


def test_old_programs_are_cleared_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody has used for weeks goes when something new is compiled."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache = tmp_path / "gpuprep" / "cuda"
    build(kernel("  x[0] = 1.0f;"))
    old = next(path for path in cache.iterdir() if path.is_dir())
    os.utime(old, (0, 0))
    build(kernel("  x[0] = 2.0f;"))
    assert not old.exists()


def test_kernels_are_found_in_the_source() -> None:
    """Declarations with bounds, in namespaces and in templates; comments and calls are none."""
    source = """
    // __global__ void no(int a);
    __global__ void __launch_bounds__(256, 2) plain(const float* __restrict__ x, int (&table)[4], float = 1.0f);
    namespace inner { namespace deep { static __global__ void nested(Pair<int, float> p, unsigned n) { if (n) {} } } }
    template <typename T> __global__ void general(T* y) {}
    extern "C" { __global__ void empty(void) {} }
    """
    found = {k.name: (k.parameters, k.line, k.is_template) for k in kernels(tokens(source))}
    assert found["plain"][1] == 3
    assert found["inner::deep::nested"] == (("p", "n"), 4, False)
    assert found["general"] == (("y",), 5, True)
    assert found["empty"] == ((), 6, False)
    assert len(found) == 4


def test_elsewhere_it_says_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """On other systems, and without a compiler, one sentence says what to do."""
    monkeypatch.setattr(toolchain.platform, "machine", lambda: "aarch64")
    assert "x86-64" in why_unsupported.__wrapped__()
    monkeypatch.undo()
    monkeypatch.setattr(toolchain.shutil, "which", lambda name: None if name == "g++" else f"/usr/bin/{name}")
    assert "sudo apt-get install g++" in why_unsupported.__wrapped__()
