"""Kernels on a GPU: compiled and launched by CuPy, on torch's stream."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gpuprep.cuda.arguments import DEFAULT_SHARED_BYTES, Value
from gpuprep.cuda.errors import BackEndMissingError, CudaCompileError
from gpuprep.cuda.signature import Declared

if TYPE_CHECKING:
    from gpuprep.cuda.module import Source

_ERROR = re.compile(
    r"^(?P<file>[^\n(]*)\((?P<line>\d+)\): (?:catastrophic )?error[^:\n]*: (?P<message>[^\n]*)", re.MULTILINE
)
_INSTALL = "pip install 'gpuprep[cuda]'"


class _Stream:
    """What CuPy looks at of a stream, without the cost of making one of its own."""

    def __init__(self, ptr: int) -> None:
        self.ptr = ptr


class CompiledModule:
    """A module of CuPy's.

    Raises:
        BackEndMissingError: CuPy is not installed.
    """

    def __init__(self, source: Source, *, is_cooperative: bool = False) -> None:
        try:
            import cupy
        except ImportError as error:
            raise BackEndMissingError(f"CUDA kernels run on a GPU through CuPy ({error}): {_INSTALL}") from error
        self._source = source
        self._cupy = cupy
        self._module = cupy.RawModule(
            code=source.code,
            options=(*_default_options(source.options), *source.options),
            name_expressions=source.name_expressions or None,
            enable_cooperative_groups=is_cooperative,
        )
        self._kernels: dict[str, Any] = {}
        self._streams: dict[int, _Stream] = {}

    def kernel(self, name: str) -> Any:
        """CuPy's kernel of that name, compiled.

        Raises:
            CudaCompileError: the source doesn't compile.
            AttributeError: it has no such kernel.
        """
        if name not in self._kernels:
            try:
                # NVRTC and the driver know torch's context only once there is one.
                torch.cuda.init()  # type: ignore[no-untyped-call]
                self._kernels[name] = self._module.get_function(name)
                # Compiles, and looks the name up.
                _ = self._kernels[name].attributes
            except self._cupy.cuda.compiler.CompileException as error:
                raise compile_error(str(error), self._source.path) from None
            except self._cupy.cuda.driver.CUDADriverError as error:
                self._kernels.pop(name, None)
                if "NOT_FOUND" in str(error):
                    raise AttributeError(
                        f'the source has no kernel {name}: is it `extern "C" __global__`, or a template that '
                        "name_expressions should name?"
                    ) from None
                raise
        return self._kernels[name]

    def launch(
        self,
        name: str,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        values: Sequence[Value],
        shared_bytes: int,
        most_shared: int,
        stream: Any,
    ) -> None:
        """Put it on a stream: the given one, or torch's current one."""
        kernel = self._kernels.get(name) or self.kernel(name)
        if shared_bytes > DEFAULT_SHARED_BYTES and kernel.max_dynamic_shared_size_bytes < most_shared:
            kernel.max_dynamic_shared_size_bytes = most_shared
        args = tuple([_passed(value) for value in values])
        kernel(grid, block, args, shared_mem=shared_bytes, stream=self._stream(stream))

    def _stream(self, stream: Any) -> Any:
        address = _current_stream() if stream is None else getattr(stream, "cuda_stream", None)
        if address is None:
            # One of CuPy's.
            return stream
        if address not in self._streams:
            self._streams[address] = _Stream(address)
        return self._streams[address]


def compile_error(said: str, path: str) -> CudaCompileError:
    """The first error of what NVRTC said, in the learner's own line."""
    first = _ERROR.search(said)
    if first is None:
        return CudaCompileError(said.strip().partition("\n")[0] or "it doesn't compile", path, 0, said)
    # An error inside a header has that header's line.
    is_own = first["file"].endswith(".cu") or "/" not in first["file"]
    return CudaCompileError(first["message"], path, int(first["line"]) if is_own else 0, said)


class QuickLaunch:
    """The launch that a loop repeats: arguments of the plainest kind, checked in a microsecond.

    Args:
        module: what the kernel belongs to.
        name: the kernel.
        declared: its parameters.
    """

    def __init__(self, module: CompiledModule, name: str, declared: Sequence[Declared]) -> None:
        self._module = module
        self._kernel = module.kernel(name)
        self._takers = [_taker(parameter) for parameter in declared]
        self._known: set[tuple[Any, ...]] = set()

    def learn(self, grid: tuple[int, ...], block: tuple[int, ...], shared_bytes: int) -> None:
        """Remember sizes that were checked and launched."""
        if len(self._known) < _MOST_SIZES:
            self._known.add((grid, block, shared_bytes))

    def launch(self, grid: tuple[int, ...], block: tuple[int, ...], args: Sequence[Any], shared_bytes: int) -> bool:
        """Launch on torch's current stream; False, and nothing is launched, where anything is out of the ordinary."""
        if len(args) != len(self._takers) or (grid, block, shared_bytes) not in self._known:
            return False
        values = []
        for taker, arg in zip(self._takers, args, strict=True):
            value = taker(arg)
            if value is None:
                return False
            values.append(value)
        self._kernel(grid, block, tuple(values), shared_mem=shared_bytes, stream=self._module._stream(None))  # noqa: SLF001
        return True


_MOST_SIZES = 1000
"""Grids that are remembered; a program that launches more of them pays for the check each time."""


def _taker(parameter: Declared) -> Callable[[Any], Any]:
    """What turns a plain argument into CuPy's; None for any other."""
    make = np.uint64
    width, kind = parameter.pointee_bytes, parameter.kind
    if kind == "pointer":

        def pointer(arg: Any) -> Any:
            if type(arg) is torch.Tensor and arg.is_cuda and width in (0, arg.itemsize):
                return make(arg.data_ptr())
            return None

        return pointer
    if kind in ("int", "uint"):
        dtype = np.dtype(f"{kind[0]}{parameter.n_bytes}")
        number, limits = dtype.type, np.iinfo(dtype)
        low, high = int(limits.min), int(limits.max)
        return lambda arg: number(arg) if type(arg) is int and low <= arg <= high else None
    if kind == "float":
        wanted = np.dtype(f"f{parameter.n_bytes}").type
        return lambda arg: arg if type(arg) is wanted else None
    return lambda _arg: None


def _current_stream() -> int:
    # torch.cuda.current_stream() makes an object of it, which takes three microseconds.
    return int(torch._C._cuda_getCurrentRawStream(torch._C._cuda_getDevice()))  # noqa: SLF001


def _default_options(options: Sequence[str]) -> Iterator[str]:
    """The standard that the emulator compiles by, and where the toolkit's headers are, which NVRTC doesn't know."""
    if not any(option.lstrip("-").startswith("std=") for option in options):
        yield "-std=c++17"
    if folder := _toolkit_headers():
        yield f"-I{folder}"


@functools.cache
def _toolkit_headers() -> str:
    """A folder with the whole toolkit's headers, those that mma.h includes among them; empty where there is none."""
    compiler = shutil.which("nvcc")
    package = importlib.util.find_spec("nvidia")
    roots = [
        *(Path(os.environ[name]) for name in ("CUDA_PATH", "CUDA_HOME") if os.environ.get(name)),
        *([Path(compiler).resolve().parent.parent] if compiler else []),
        Path("/usr/local/cuda"),
        *(Path(place) / "cu13" for place in (package.submodule_search_locations if package else None) or ()),
    ]
    found = (root / "include" for root in roots if (root / "include" / "crt" / "mma.h").is_file())
    return str(next(found, ""))


def _passed(value: Value) -> Any:
    if isinstance(value, torch.Tensor):
        return np.uint64(value.data_ptr())
    if isinstance(value, bytes):
        return np.frombuffer(value, dtype=np.dtype(f"V{len(value)}"))
    return value
