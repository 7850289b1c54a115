"""Kernels as the compiler has them: their parameters, and how arguments are packed for a launch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gpuprep.counters.cuda_emulator import layout as shared
from gpuprep.counters.cuda_emulator.source_scan import KernelDeclaration

MAX_THREADS_A_BLOCK = 1024
MAX_SHARED_BYTES = 227 * 1024
"""Of one block, as an H100 and its kin have it."""
_BLOCK_LIMITS = (1024, 1024, 64)
_GRID_LIMITS = (2**31 - 1, 65535, 65535)
_KINDS = {"p": "pointer", "i": "int", "u": "uint", "f": "float", "s": "struct"}


class ArgumentError(TypeError):
    """The arguments of a launch don't fit the kernel's parameters."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a kernel, as the compiler has it."""

    name: str
    kind: str
    """`pointer`, `int`, `uint`, `float`, or `struct` for anything else."""
    n_bytes: int
    element_bytes: int
    """Of what a pointer leads to; 0 where there is none, and for `void*`."""
    is_const: bool
    """A pointer to what the kernel only reads."""
    offset: int = 0
    """In the kernel's argument block."""


@dataclass(frozen=True)
class Kernel:
    """A kernel of a program."""

    name: str
    argument_bytes: int
    parameters: tuple[Parameter, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Kernel:
        parameters = tuple(Parameter(**parameter) for parameter in values["parameters"])
        return cls(values["name"], values["argument_bytes"], parameters)


def kernels_of(described: str, declared: Sequence[KernelDeclaration]) -> list[Kernel]:
    """The kernels that a program says it has, with the parameter names that its source gives them."""
    by_name = {declaration.name: declaration for declaration in declared}
    kernels = []
    for row in described.splitlines():
        name, n_bytes, fields = row.split("\t")
        rows = [field.split(",") for field in fields.split(";") if field]
        declaration = by_name.get(name) or by_name.get(name.split("<")[0].strip())
        names = declaration.parameters if declaration else ()
        if len(names) != len(rows):
            names = ("",) * len(rows)
        parameters = [
            Parameter(text or f"argument {at}", _KINDS[kind], int(size), int(element), const == "1", int(offset))
            for at, (text, (kind, size, offset, element, const)) in enumerate(zip(names, rows, strict=True))
        ]
        kernels.append(Kernel(name, int(n_bytes), tuple(parameters)))
    return kernels


@dataclass(frozen=True)
class Pointer:
    """An argument: an address inside a buffer of the launch, or null where `buffer_index` is None."""

    buffer_index: int | None
    offset_bytes: int = 0


def pack(kernel: Kernel, arguments: Sequence[bytes | Pointer]) -> bytes:
    """The kernel's argument block.

    Raises:
        ArgumentError: count or width is wrong.
    """
    expected = ", ".join(parameter.name for parameter in kernel.parameters)
    if len(arguments) != len(kernel.parameters):
        raise ArgumentError(
            f"{kernel.name} takes {len(kernel.parameters)} arguments ({expected}), and {len(arguments)} were given"
        )
    packed = bytearray(kernel.argument_bytes)
    for parameter, argument in zip(kernel.parameters, arguments, strict=True):
        if isinstance(argument, Pointer):
            if parameter.kind != "pointer":
                raise ArgumentError(f"{parameter.name} of {kernel.name} is no pointer: give a value, not a tensor")
            address = 0
            if argument.buffer_index is not None:
                address = shared.slot_address(argument.buffer_index) + argument.offset_bytes
            value = address.to_bytes(8, "little")
        else:
            value = bytes(argument)
        if len(value) != parameter.n_bytes:
            raise ArgumentError(
                f"{parameter.name} of {kernel.name} has {parameter.n_bytes} bytes ({parameter.kind}), "
                f"and the argument has {len(value)}"
            )
        packed[parameter.offset : parameter.offset + parameter.n_bytes] = value
    return bytes(packed)


def check_shape(grid: tuple[int, int, int], block: tuple[int, int, int], shared_bytes: int) -> None:
    """Refuses a launch that no GPU would make.

    Raises:
        ValueError: the grid, the block or its shared memory is too large, or not three numbers.
    """
    for what, sizes, limits in (("grid", grid, _GRID_LIMITS), ("block", block, _BLOCK_LIMITS)):
        if len(sizes) != 3 or any(not 1 <= size <= limit for size, limit in zip(sizes, limits, strict=True)):
            raise ValueError(f"a {what} of {tuple(sizes)} can't be launched: the limits are 1 to {limits}")
    if math.prod(block) > MAX_THREADS_A_BLOCK:
        raise ValueError(f"a block of {tuple(block)} has more than {MAX_THREADS_A_BLOCK} threads")
    if not 0 <= shared_bytes <= MAX_SHARED_BYTES:
        raise ValueError(f"a block has at most {MAX_SHARED_BYTES} bytes of shared memory, not {shared_bytes}")
