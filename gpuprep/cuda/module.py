"""`RawModule` and its kernels: which back end runs them, and what is checked before one does."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch

from gpuprep.cuda.arguments import Value, check_launch, prepared
from gpuprep.cuda.errors import BackEndMissingError
from gpuprep.cuda.signature import Declared, declared_parameters

if TYPE_CHECKING:
    from gpuprep.cuda.compiled import CompiledModule, QuickLaunch
    from gpuprep.cuda.emulated import EmulatedModule


@dataclass(frozen=True)
class Source:
    """What a module is made from."""

    code: str
    options: tuple[str, ...] = ()
    name_expressions: tuple[str, ...] = ()
    path: str = ""
    """The `.cu` that the code was read from; empty where that isn't known."""


class RawModule:
    """Kernels compiled from CUDA C++ source: `cupy.RawModule` for torch tensors.

    Kernels run on a GPU through CuPy where their tensors lie on one, and else in the emulator, which counts what they
    do and finds what is wrong with them. Nothing is compiled before a kernel is asked for.

    Args:
        code: the source. Kernels are `extern "C" __global__` functions, or named in `name_expressions`.
        options: for the compiler: `("-DTILE=32",)`.
        name_expressions: instances of templates: `("sum<float>",)`.
        backend: `nvrtc`, the only one.
        enable_cooperative_groups: launch cooperatively, so that the whole grid can synchronise; on a GPU only.
    """

    def __init__(
        self,
        code: str,
        *,
        options: Sequence[str] = (),
        name_expressions: Sequence[str] | None = None,
        backend: str = "nvrtc",
        enable_cooperative_groups: bool = False,
    ) -> None:
        if not isinstance(code, str):
            raise TypeError(f"code must be CUDA C++ source text; it is a {type(code).__name__}")
        if backend != "nvrtc":
            raise ValueError(f"backend {backend!r}: only 'nvrtc' is supported")
        self._source = Source(code, tuple(options), tuple(name_expressions or ()), _path_of(code, sys._getframe(1)))  # noqa: SLF001
        self._is_cooperative = enable_cooperative_groups
        self._kernels: dict[str, Kernel] = {}

    @property
    def code(self) -> str:
        """The source."""
        return self._source.code

    def get_function(self, name: str) -> Kernel:
        """The kernel of that name, compiled for the GPU where there is one, else for the emulator.

        Raises:
            CudaCompileError: the source doesn't compile.
            AttributeError: it has no such kernel.
            BackEndMissingError: there is nothing to run it with.
        """
        if name not in self._kernels:
            kernel = Kernel(self, name)
            kernel.compile()
            self._kernels[name] = kernel
        return self._kernels[name]

    @cached_property
    def emulated(self) -> EmulatedModule:
        """The module as the emulator runs it."""
        from gpuprep.cuda.emulated import EmulatedModule

        if self._is_cooperative:
            raise BackEndMissingError("a cooperative launch runs on a GPU only", self._source.path)
        return EmulatedModule(self._source)

    @cached_property
    def compiled(self) -> CompiledModule:
        """The module as CuPy runs it."""
        from gpuprep.cuda.compiled import CompiledModule

        return CompiledModule(self._source, is_cooperative=self._is_cooperative)

    @cached_property
    def declared(self) -> Mapping[str, tuple[Declared, ...]]:
        """The parameters of its kernels, as the source declares them."""
        return declared_parameters(self._source.code)


class Kernel:
    """One kernel of a module. Call it to launch it: asynchronously on a GPU, on torch's current stream."""

    def __init__(self, module: RawModule, name: str) -> None:
        self.name = name
        self.max_dynamic_shared_size_bytes = 0
        """Set it before a launch with more dynamic shared memory than every card has."""
        self._module = module
        self._quick: QuickLaunch | None = None
        # A template's instance has its template's parameters.
        self._declared = module.declared.get(name.partition("<")[0].strip())

    @property
    def source(self) -> Source:
        """What its module is made from."""
        return self._module._source  # noqa: SLF001

    @property
    def declared(self) -> Sequence[Declared] | None:
        """Its parameters, as the source declares them; None where they can't be read there."""
        return self._declared

    @property
    def is_cooperative(self) -> bool:
        """True where the whole grid may synchronise."""
        return self._module._is_cooperative  # noqa: SLF001

    def compile(self) -> None:
        """Compile it for where it will run, so that mistakes show now."""
        if torch.cuda.is_available():
            self._module.compiled.kernel(self.name)
        else:
            self._module.emulated.parameters(self.name)

    def __call__(
        self,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        args: Sequence[Any],
        *,
        shared_mem: int = 0,
        stream: Any = None,
    ) -> None:
        """Launch it.

        Args:
            grid: blocks along x, y and z.
            block: threads of a block along x, y and z.
            args: one item a parameter: tensors, NumPy scalars, Python numbers. A Python int becomes what the parameter
                is; a Python float is a double.
            shared_mem: bytes of dynamic shared memory a block.
            stream: a CuPy or torch stream; None is torch's current one.

        Raises:
            TypeError, ValueError, OverflowError: the launch can't be right; nothing was launched.
            KernelFaultError: what the emulator found wrong, outside of a check.
        """
        if self._quick is not None and stream is None and self._quick.launch(grid, block, args, shared_mem):
            return
        full_grid, full_block = check_launch(self.name, grid, block, shared_mem, self.max_dynamic_shared_size_bytes)
        if self._is_on_gpu(args):
            values = prepared(self.name, args, self._declared)
            self._module.compiled.launch(
                self.name, full_grid, full_block, values, shared_mem, self.max_dynamic_shared_size_bytes, stream
            )
            self._learn(grid, block, shared_mem)
            return
        declared = self._module.emulated.merged(self.name, self._declared)
        values = prepared(self.name, args, declared)
        self._refuse_addresses(values, declared)
        caller = sys._getframe(1)  # noqa: SLF001
        self._module.emulated.launch(
            self.name,
            full_grid,
            full_block,
            values,
            shared_bytes=int(shared_mem),
            where=(caller.f_code.co_filename, caller.f_lineno),
        )

    def _learn(self, grid: tuple[int, ...], block: tuple[int, ...], shared_bytes: int) -> None:
        """The next launch of these sizes needs no second look."""
        from gpuprep.cuda.compiled import QuickLaunch

        if self._quick is None and self._declared is not None:
            self._quick = QuickLaunch(self._module.compiled, self.name, self._declared)
        if self._quick is not None:
            self._quick.learn(grid, block, shared_bytes)

    def _is_on_gpu(self, args: Sequence[Any]) -> bool:
        devices = {arg.device.type for arg in args if isinstance(arg, torch.Tensor)}
        if len(devices) > 1:
            raise TypeError(f"{self.name}: some tensors are on {' and some on '.join(sorted(devices))}")
        if unknown := devices - {"cpu", "cuda"}:
            raise TypeError(f"{self.name}: a tensor on {unknown.pop()}")
        return devices == {"cuda"} or (not devices and torch.cuda.is_available())

    def _refuse_addresses(self, values: Sequence[Value], declared: Sequence[Declared]) -> None:
        for value, parameter in zip(values, declared, strict=True):
            is_number = not isinstance(value, torch.Tensor | bytes)
            if parameter.kind == "pointer" and is_number and int(value):
                raise TypeError(
                    f"{self.name}: {parameter.name} is an address in a number; pass the tensor itself, so that what "
                    "the kernel reads can be held against its bounds"
                )


def _path_of(code: str, caller: FrameType) -> str:
    """The `.cu` beside the file that makes the module, if the code is its text."""
    file = caller.f_globals.get("__file__")
    if not isinstance(file, str):
        return ""
    path = Path(file).with_suffix(".cu")
    try:
        return str(path) if path.read_text(encoding="utf-8") == code else ""
    except (OSError, UnicodeDecodeError):
        return ""
