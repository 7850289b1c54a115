"""CUDA C with CuPy's calling convention: what is refused before a launch, and what a launch by hand comes to."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from gpuprep.cuda import RawModule
from gpuprep.cuda.arguments import check_launch, prepared
from gpuprep.cuda.compiled import compile_error
from gpuprep.cuda.errors import CudaCompileError
from gpuprep.cuda.signature import Declared, declared_parameters

FLOATS = Declared("x", "const float*", "pointer", 8, 4)
INT = Declared("n", "int", "int", 4)
FLOAT = Declared("a", "float", "float", 4)
DOUBLE = Declared("b", "double", "float", 8)


# The source's own parameters

SIGNATURES = {
    "pointers": ("const float* x, float *y, double* const z", "x pointer 4, y pointer 4, z pointer 8"),
    "restrict": ("const float* __restrict__ x, __half* __restrict__ y", "x pointer 4, y pointer 2"),
    "integers behind a pointer": ("int* x, unsigned char* y", "x pointer 0, y pointer 0"),
    "pointer to pointers": ("float** x", "x pointer 0"),
    "an array": ("float x[]", "x pointer 4"),
    "signed": ("int a, long long b, long c, short d, char e", "a int 4, b int 8, c int 8, d int 2, e int 1"),
    "unsigned": (
        "unsigned a, unsigned int b, unsigned long long c, uint32_t d",
        "a uint 4, b uint 4, c uint 8, d uint 4",
    ),
    "floats": ("float a, const double b, __half c, bool d", "a float 4, b float 8, c float 2, d uint 1"),
    "std": ("std::size_t a, std::int64_t b", "a uint 8, b int 8"),
    "none": ("", ""),
    "void": ("void", ""),
    "unknown": ("float4 a, T b, Pair<int, float> c", "a  0, b  0, c  0"),
    "without names": ("float*, int", " pointer 4,  int 4"),
    "comments between": ("float* x, // the input\n int n /* how many */", "x pointer 4, n int 4"),
}
"""A parameter list, and what is known of it: name, kind, bytes of the number or of what a pointer points to."""


@pytest.mark.parametrize(("text", "expected"), SIGNATURES.values(), ids=SIGNATURES)
def test_declared_parameters(text: str, expected: str) -> None:
    """Names, kinds and widths as the source has them; what the language doesn't know by itself stays unknown."""
    found = declared_parameters(f'extern "C" __global__ void kernel({text}) {{ }}')["kernel"]
    widths = (p.pointee_bytes if p.kind == "pointer" else p.n_bytes for p in found)
    assert ", ".join(f"{p.name} {p.kind} {width}" for p, width in zip(found, widths, strict=True)) == expected


HEADS = {
    "plain": "__global__ void k(int n) {}",
    "launch bounds": "__global__ void __launch_bounds__(256, 2) k(int n) {}",
    "bounds that are computed": "__global__ __launch_bounds__((A + 1) * 32) void k(int n) {}",
    "on several lines": 'extern "C"\n__global__\nvoid k(\n  int n)\n{}',
    "a template": "template <int N, typename T> __global__ void k(int n) {}",
    "declared before": "__global__ void k(int n);\n__global__ void k(int n) {}",
    "another in a comment": "// __global__ void k(float x)\n/* __global__ void k() */ __global__ void k(int n) {}",
    "another in a string": 'const char* s = "__global__ void k(float x)"; __global__ void k(int n) {}',
}


@pytest.mark.parametrize("source", HEADS.values(), ids=HEADS)
def test_kernels_head_is_found(source: str) -> None:
    """Whatever stands around a kernel's name and parameters, they are found."""
    assert declared_parameters(source) == {"k": (Declared("n", "int", "int", 4),)}


def test_two_definitions_of_a_kernel_are_none() -> None:
    """Where the preprocessor chooses between two parameter lists, nothing is known."""
    source = "#if A\n__global__ void k(int n) {}\n#else\n__global__ void k(float n) {}\n#endif\n__global__ void m() {}"
    assert declared_parameters(source) == {"m": ()}


# Arguments

ACCEPTED = {
    "int for int": (3, INT, np.int32(3)),
    "int for long long": (3, Declared("n", "long long", "int", 8), np.int64(3)),
    "int for size_t": (3, Declared("n", "size_t", "uint", 8), np.uint64(3)),
    "int for something unknown": (3, Declared("n", "T"), np.int64(3)),
    "bool for bool": (True, Declared("f", "bool", "uint", 1), np.uint8(1)),
    "float for double": (0.5, DOUBLE, np.float64(0.5)),
    "float for something unknown": (0.5, Declared("n", "T"), np.float64(0.5)),
    "float32 for float": (np.float32(0.5), FLOAT, np.float32(0.5)),
    "uint32 for int": (np.uint32(3), INT, np.uint32(3)),
    "float16 for half": (np.float16(0.5), Declared("h", "__half", "float", 2), np.float16(0.5)),
    "nothing for a pointer": (None, FLOATS, np.uint64(0)),
}


@pytest.mark.parametrize(("arg", "parameter", "expected"), ACCEPTED.values(), ids=ACCEPTED)
def test_argument_gets_its_parameters_width(arg: object, parameter: Declared, expected: np.generic) -> None:
    """A number arrives with as many bytes as the kernel reads."""
    (value,) = prepared("k", (arg,), [parameter])
    assert isinstance(value, np.generic)
    assert (value.dtype, value) == (expected.dtype, expected)


REFUSED = {
    "too few": ((), [INT], TypeError, "takes 1 arguments .int n.*given 0"),
    "too many": ((1, 2), [INT], TypeError, "given 2"),
    "no tuple": (3, [INT], TypeError, "must be a tuple"),
    "float for float": ((0.5,), [FLOAT], TypeError, r"numpy\.float32\(0\.5\)"),
    "float for int": ((0.5,), [INT], TypeError, "no floating-point number"),
    "int for float": ((1,), [FLOAT], TypeError, r"numpy\.float32"),
    "int that is too large": ((2**31,), [INT], OverflowError, "holds -2147483648 to 2147483647"),
    "negative for unsigned": ((-1,), [Declared("n", "unsigned", "uint", 4)], OverflowError, "holds 0 to"),
    "int64 for int": ((np.int64(1),), [INT], TypeError, "8 bytes; the kernel reads 4"),
    "int32 for float": ((np.int32(1),), [FLOAT], TypeError, "another kind"),
    "float64 for float": ((np.float64(1),), [FLOAT], TypeError, "8 bytes; the kernel reads 4"),
    "tensor for int": ((torch.ones(1),), [INT], TypeError, "no pointer"),
    "halves for float*": ((torch.ones(2).half(),), [FLOATS], TypeError, "2 bytes an element; the kernel would read 4"),
    "numpy array": ((np.ones(2),), [FLOATS], TypeError, "torch tensor"),
    "None for int": ((None,), [INT], TypeError, "null pointer"),
    "list": (([1],), [FLOATS], TypeError, "is a list"),
    "sparse": ((torch.ones(2).to_sparse(),), [FLOATS], TypeError, "strided"),
}


@pytest.mark.parametrize(("args", "declared", "error", "said"), REFUSED.values(), ids=REFUSED)
def test_argument_that_cannot_be_right_is_refused(
    args: object, declared: list[Declared], error: type[Exception], said: str
) -> None:
    """A wrong count, width or kind is an exception that names the kernel, and nothing is launched."""
    with pytest.raises(error, match=f"^k.*{said}"):
        prepared("k", args, declared)  # type: ignore[arg-type]


def test_struct_is_passed_by_its_bytes() -> None:
    """A NumPy record of the struct's size; any other size is refused."""
    pair = np.zeros(1, dtype=[("a", "i4"), ("b", "f4")])
    assert prepared("k", (pair,), [Declared("p", "Pair", "struct", 8)]) == [pair.tobytes()]
    with pytest.raises(TypeError, match="has 8 bytes; the kernel reads 12"):
        prepared("k", (pair[0],), [Declared("p", "Pair", "struct", 12)])


def test_tensor_of_wider_elements_than_an_integer_pointer_is_taken() -> None:
    """Bytes of floats may be read as integers: kernels do that on purpose."""
    x = torch.ones(4)
    assert prepared("k", (x,), [Declared("x", "unsigned char*", "pointer", 8)]) == [x]


LAUNCHES = {
    "no tuple": ((3, (1,)), TypeError),
    "a list": (([3], (1,)), TypeError),
    "floats": (((1.0,), (1,)), TypeError),
    "four axes": (((1, 1, 1, 1), (1,)), ValueError),
    "no axes": (((), (1,)), ValueError),
    "empty grid": (((0,), (1,)), ValueError),
    "empty block": (((1,), (0,)), ValueError),
    "tall grid": (((1, 65536), (1,)), ValueError),
    "large block": (((1,), (2048,)), ValueError),
    "too many threads": (((1,), (64, 32)), ValueError),
    "deep block": (((1,), (1, 1, 65)), ValueError),
}


@pytest.mark.parametrize(("sizes", "error"), LAUNCHES.values(), ids=LAUNCHES)
def test_launch_that_no_card_takes_is_refused(sizes: tuple[object, object], error: type[Exception]) -> None:
    """Sizes are held against what every card takes, before anything runs."""
    with pytest.raises(error, match=r"^k: "):
        check_launch("k", *sizes, 0, 0)


def test_sizes_are_filled_up() -> None:
    """Axes that are left out have size 1."""
    assert check_launch("k", (5, 6), (32,), 0, 0) == ((5, 6, 1), (32, 1, 1))
    assert check_launch("k", (2**31 - 1,), (1024,), 48 * 1024, 0)[0] == (2**31 - 1, 1, 1)


def test_much_shared_memory_must_be_asked_for() -> None:
    """More than every card has by default is refused, with the line that asks for it."""
    with pytest.raises(ValueError, match=r"kernel\.max_dynamic_shared_size_bytes = 65536"):
        check_launch("k", (1,), (32,), 65536, 0)
    assert check_launch("k", (1,), (32,), 65536, 65536)


# What NVRTC says

NVRTC = {
    "an error": (
        '/x/a.kernel.cu(3): error: expected a ";"\n    }\n    ^\n\n1 error detected in the compilation\n',
        ('expected a ";"', 3),
    ),
    "a warning first": (
        '/x/a.cu(2): warning #177-D: "i" was never referenced\n\n/x/a.cu(7): error: identifier "j" is undefined\n',
        ('identifier "j" is undefined', 7),
    ),
    "a missing header": (
        '/x/a.cu(1): catastrophic error: cannot open source file "no.h"\n  #include <no.h>\n',
        ('cannot open source file "no.h"', 1),
    ),
    "in a header": ("/usr/include/mma.h(12): error: no such type\n", ("no such type", 0)),
    "something else": ("nvrtc: error: invalid value for --gpu-architecture\n", (
        "nvrtc: error: invalid value for --gpu-architecture", 0)),
}  # fmt: skip


@pytest.mark.parametrize(("said", "expected"), NVRTC.values(), ids=NVRTC)
def test_compiler_error_has_the_learners_line(said: str, expected: tuple[str, int]) -> None:
    """The first error, at its line of the source; a header's line is none of the learner's."""
    error = compile_error(said, "/home/me/ex_16.cu")
    assert (error.line, error.path, error.log) == (expected[1], "/home/me/ex_16.cu", said)
    assert str(error) == f"ex_16.cu:{f'{expected[1]}:' if expected[1] else ''} {expected[0]}"


def test_errors_without_a_file_name_the_line() -> None:
    """Source that was written inside Python has lines all the same."""
    assert str(CudaCompileError("no", "", 3)) == "line 3: no"
    assert str(CudaCompileError("no")) == "no"


# The module


def test_options_that_cannot_be_kept_are_refused() -> None:
    """What has no meaning here is said when the module is made."""
    with pytest.raises(TypeError, match="source text"):
        RawModule(Path("x.cu"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="nvcc"):
        RawModule("", backend="nvcc")


def test_module_knows_the_file_that_its_code_is_from(tmp_path: Path) -> None:
    """The `.cu` beside the file that makes the module, if the code is its text; nothing is compiled yet."""
    script = tmp_path / "ex.py"
    script.with_suffix(".cu").write_text("no C at all")
    script.write_text("from gpuprep.cuda import RawModule\nmodules = RawModule('no C at all'), RawModule('other')\n")
    same, other = runpy.run_path(str(script))["modules"]
    assert (same._source.path, other._source.path) == (str(script.with_suffix(".cu")), "")
