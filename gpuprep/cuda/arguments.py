"""A launch's arguments, each turned into a tensor or a scalar of exactly the width that the kernel's parameter has.

A kernel reads as many bytes as its parameter is wide, whatever was passed: CuPy hands a Python int over as 8 bytes and
a Python float as a double, and checks nothing. So what can be known to be wrong is refused here, before the launch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from gpuprep.cuda.signature import Declared

Value = torch.Tensor | np.generic | bytes
"""What a parameter gets: the address of a tensor's first element, a scalar, or a struct's bytes."""

MAX_THREADS = 1024
MAX_BLOCK = (1024, 1024, 64)
MAX_GRID = (2**31 - 1, 65535, 65535)
"""What every card of the last ten years takes."""
DEFAULT_SHARED_BYTES = 48 * 1024
"""Dynamic shared memory that a launch may ask for without having said so before."""

_NULL = np.uint64(0)


def prepared(kernel: str, args: Sequence[Any], declared: Sequence[Declared] | None) -> list[Value]:
    """The arguments as the kernel gets them.

    Args:
        kernel: its name, for messages.
        args: tensors, NumPy scalars, Python numbers, None for a null pointer.
        declared: the kernel's parameters; None where they aren't known.

    Raises:
        TypeError: the wrong number of arguments, or one that can't be what its parameter is.
        OverflowError: an integer that its parameter can't hold.
    """
    if not isinstance(args, tuple | list):
        raise TypeError(f"{kernel}: args must be a tuple, one item a parameter; it is a {type(args).__name__}")
    if declared is None:
        declared = [Declared("", "")] * len(args)
    if len(args) != len(declared):
        wanted = ", ".join(f"{parameter.text} {parameter.name}".strip() for parameter in declared)
        raise TypeError(f"{kernel} takes {len(declared)} arguments ({wanted}), and was given {len(args)}")
    pairs = zip(args, declared, strict=True)
    return [_value(kernel, place, arg, parameter) for place, (arg, parameter) in enumerate(pairs, start=1)]


def _value(kernel: str, place: int, arg: Any, parameter: Declared) -> Value:
    def refuse(problem: str, kind: type[Exception] = TypeError) -> Exception:
        named = f" ({parameter.text} {parameter.name})" if parameter.name else ""
        return kind(f"{kernel}: argument {place}{named} {problem}")

    if isinstance(arg, torch.Tensor):
        return _tensor(arg, parameter, refuse)
    if arg is None:
        if parameter.kind not in ("pointer", ""):
            raise refuse("is None, which is a null pointer")
        return _NULL
    if isinstance(arg, np.generic) and not isinstance(arg, np.void):
        return _scalar(arg, parameter, refuse)
    if isinstance(arg, int):
        return _integer(arg, parameter, refuse)
    if isinstance(arg, float):
        return _float(arg, parameter, refuse)
    if isinstance(arg, np.void) or (isinstance(arg, np.ndarray) and arg.size == 1):
        return _struct(arg.tobytes(), parameter, refuse)
    if isinstance(arg, np.ndarray):
        raise refuse("is a NumPy array, which lies in the host's memory: pass a torch tensor")
    raise refuse(f"is a {type(arg).__name__}: pass a tensor, a number or a NumPy scalar")


Refuse = Callable[..., Exception]


def _tensor(tensor: torch.Tensor, parameter: Declared, refuse: Refuse) -> torch.Tensor:
    if parameter.kind not in ("pointer", ""):
        raise refuse("is a tensor, and the parameter is no pointer: pass a number, `x.item()` for a tensor's only one")
    if tensor.layout != torch.strided:
        raise refuse(f"is a {tensor.layout} tensor: a kernel can only read strided ones")
    if parameter.pointee_bytes not in (0, tensor.element_size()):
        dtype = str(tensor.dtype).removeprefix("torch.")
        raise refuse(
            f"is a {dtype} tensor of {tensor.element_size()} bytes an element; the kernel would read "
            f"{parameter.pointee_bytes}"
        )
    return tensor


def _scalar(scalar: np.generic, parameter: Declared, refuse: Refuse) -> np.generic:
    if parameter.n_bytes and scalar.dtype.itemsize != parameter.n_bytes:
        raise refuse(
            f"is a numpy.{scalar.dtype.name} of {scalar.dtype.itemsize} bytes; the kernel reads {parameter.n_bytes}"
        )
    if (parameter.kind in ("int", "uint") and scalar.dtype.kind == "f") or (
        parameter.kind == "float" and scalar.dtype.kind in "iub" and parameter.n_bytes > 2
    ):
        raise refuse(f"is a numpy.{scalar.dtype.name}: its bits would be read as another kind of number")
    return scalar


def _integer(number: int, parameter: Declared, refuse: Refuse) -> np.generic:
    if parameter.kind == "float":
        raise refuse(f"is a Python int, which is passed as an integer: pass numpy.float{8 * parameter.n_bytes}(…)")
    if parameter.kind == "struct":
        raise refuse("is a Python int, and the parameter is a struct")
    unsigned = parameter.kind in ("uint", "pointer")
    width = parameter.n_bytes or 8
    dtype = np.dtype(f"{'u' if unsigned else 'i'}{width}")
    limits = np.iinfo(dtype)
    if not limits.min <= number <= limits.max:
        raise refuse(f"is {number}, and the parameter holds {limits.min} to {limits.max}", OverflowError)
    scalar: np.generic = dtype.type(number)
    return scalar


def _float(number: float, parameter: Declared, refuse: Refuse) -> np.generic:
    if parameter.kind in ("", "float") and parameter.n_bytes in (0, 8):
        return np.float64(number)
    if parameter.kind == "float":
        wanted = f"numpy.float{8 * parameter.n_bytes}({number:g})"
        raise refuse(f"is a Python float, which is passed as a double of 8 bytes: pass {wanted}")
    raise refuse("is a Python float, and the parameter is no floating-point number")


def _struct(content: bytes, parameter: Declared, refuse: Refuse) -> bytes:
    if parameter.n_bytes and len(content) != parameter.n_bytes:
        raise refuse(f"has {len(content)} bytes; the kernel reads {parameter.n_bytes}")
    return content


def sizes(kernel: str, what: str, given: Any, most: Sequence[int]) -> tuple[int, int, int]:
    """Three sizes of a grid or a block.

    Raises:
        TypeError: no tuple of integers.
        ValueError: too many of them, or one that no card takes.
    """
    if not isinstance(given, tuple) or not all(isinstance(size, int | np.integer) for size in given):
        raise TypeError(f"{kernel}: {what} must be a tuple of up to three integers; it is {given!r}")
    if not 1 <= len(given) <= 3:
        raise ValueError(f"{kernel}: {what} {given} has {len(given)} sizes; it takes one to three")
    full = [*map(int, given), 1, 1][:3]
    for axis, size, limit in zip("xyz", full, most, strict=True):
        if not 1 <= size <= limit:
            raise ValueError(f"{kernel}: {what} {given}: {axis} is {size}, and must be 1 to {limit}")
    return full[0], full[1], full[2]


def check_launch(
    kernel: str, grid: Any, block: Any, shared_bytes: Any, most_shared: int
) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Grid and block in full.

    Raises:
        TypeError, ValueError: no card would launch that.
    """
    full_grid, full_block = sizes(kernel, "grid", grid, MAX_GRID), sizes(kernel, "block", block, MAX_BLOCK)
    n_threads = full_block[0] * full_block[1] * full_block[2]
    if n_threads > MAX_THREADS:
        raise ValueError(f"{kernel}: a block of {n_threads} threads; a card takes at most {MAX_THREADS}")
    if not isinstance(shared_bytes, int | np.integer) or shared_bytes < 0:
        raise TypeError(f"{kernel}: shared_mem must be a number of bytes; it is {shared_bytes!r}")
    if shared_bytes > max(most_shared, DEFAULT_SHARED_BYTES):
        raise ValueError(
            f"{kernel}: {shared_bytes} bytes of dynamic shared memory; more than {DEFAULT_SHARED_BYTES} must be asked "
            f"for first: kernel.max_dynamic_shared_size_bytes = {shared_bytes}"
        )
    return full_grid, full_block
