"""The learner's side of witnessed work: writes down what host code does around its kernels, as a recipe.

A recipe is data, small enough to read and dull enough to trust nothing in it:

    functions   each Triton kernel, and each jit function that one names: source text, and what its global names mean
    modules     each CUDA module that was launched from: source text and the compiler's options
    steps       in order: allocations, copies, arithmetic on single elements, launches
    outputs     where the returned tensors lie

Storages are numbered, those of the arguments first. One that host code filled in a way that no step describes comes
with its contents as they are when a step first needs it. The counting worker follows the recipe on inputs that this
process never saw, so contents and numbers that were made from these inputs are worth nothing there.

A call on a card is written down in the same words (`worker.card_launching`), for `worker.card_replay` to follow.
"""

from __future__ import annotations

import ctypes
import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from triton.tools.tensor_descriptor import TensorDescriptor

from gpuprep.channel import storage_id
from gpuprep.counters.torch_ops import Watch
from gpuprep.cuda import emulated
from gpuprep.cuda.emulated import Launch as CudaLaunch
from gpuprep.device_memory import bytes_on_card
from gpuprep.worker.glossary import Glossary, UnwritableError

MAX_STEPS = 10_000
"""Launches and host operations of one call that are written down; no honest call comes near."""
MAX_CONTENTS = 2**26
"""Bytes of one storage on a card that host code filled: tables are smaller, and results need not come along."""

_ALLOCATIONS = frozenset("empty empty_like empty_strided new_empty new_empty_strided".split())
_FILLS = frozenset("zeros zeros_like new_zeros full full_like new_full".split())
ARITHMETIC = frozenset("add sub mul div neg sqrt rsqrt reciprocal maximum minimum".split())
"""What host code may compute on single elements, and the counting worker repeats."""
DESCRIBED = ("shape", "strides", "block_shape")
"""Lists of sizes that a tensor descriptor holds."""


def tensors_in(value: Any) -> Iterator[torch.Tensor]:
    """Every tensor in nested lists, tuples and dicts, and under descriptors, in order."""
    if isinstance(value, TensorDescriptor):
        value = value.base
    if isinstance(value, torch.Tensor):
        yield value
        return
    if isinstance(value, Mapping):
        value = value.values()
    elif not isinstance(value, list | tuple):
        return
    for item in value:
        yield from tensors_in(item)


class Trail:
    """What one call does, as it does it.

    Args:
        args: the call's arguments.
        device: where it computes, `cpu` or `cuda`.
    """

    def __init__(self, args: Sequence[Any], device: str = "cpu") -> None:
        self.why_not = ""
        """The first thing that could not be written down; empty while the recipe is whole."""
        self._device = device
        self._steps: list[dict[str, Any]] = []
        self._glossary = Glossary()
        self._modules: list[dict[str, Any]] = []
        self._numbers: dict[int, int] = {}
        # Kept alive, so that no later storage takes the identity of one that is gone.
        self._kept: list[Any] = []
        self._is_launching = False
        self._launched: dict[str, Any] | None = None
        for tensor in tensors_in(args):
            if storage_id(tensor) not in self._numbers:
                self._number(tensor)

    def watching(self) -> Watch:
        """Sees torch's operations until it is left."""
        return _Mode(self)

    @property
    def has_launches(self) -> bool:
        """True once a kernel was launched."""
        return any("launch" in step or "run" in step for step in self._steps)

    def recipe(self, outputs: Sequence[Any]) -> dict[str, Any]:
        """All of it, when the call is over.

        Args:
            outputs: the tensors that came back.
        """
        places: list[Any] = []
        with self._noting():
            places = [self._tensor(output) for output in outputs]
        steps = [{**step, "contents": _uint8(step["contents"])} if "contents" in step else step for step in self._steps]
        return {
            "functions": self._glossary.functions,
            "modules": self._modules,
            "steps": steps,
            "outputs": places,
            "why_not": self.why_not,
        }

    def launching(self, kernel: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> AbstractContextManager[None]:
        """Around a launch of a Triton kernel."""
        return self._around(lambda: self._launch(kernel, args, kwargs))

    def launching_cuda(self, launch: CudaLaunch) -> AbstractContextManager[None]:
        """Around a launch of a CUDA kernel."""
        return self._around(lambda: self._launch_cuda(launch))

    @contextmanager
    def _around(self, note: Callable[[], dict[str, Any]]) -> Iterator[None]:
        """Around a launch. One that raises is struck out again: if that is caught, something else did its work."""
        if self._is_launching:
            yield
            return
        with self._noting():
            self._launched = note()
        self._is_launching = True
        try:
            yield
        except BaseException:
            # Nothing is noted while a launch is going on, so its step is the last one.
            if self._launched is not None:
                self._steps.pop()
            raise
        finally:
            self._is_launching = False
            self._launched = None

    def note_grid(self, grid: Sequence[Any]) -> None:
        """The grid of the launch that is going on, as the interpreter works it out."""
        if self._launched is not None:
            self._launched["grid"] = [int(size) for size in grid]

    def note_operation(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> None:
        """A torch operation of host code, just done.

        Args:
            name: `aten.empty_like.default`.
            args: its operands.
            kwargs: its options.
            result: what came of it.
        """
        # A tensor on `meta` has a shape and no memory: what it takes part in computes nothing.
        if self._is_launching or not isinstance(result, torch.Tensor) or result.device.type != self._device:
            return
        library, _, rest = name.partition(".")
        packet = rest.partition(".")[0]
        with self._noting():
            if library != "aten":
                return
            if packet in _ALLOCATIONS:
                self._make(result)
            elif packet in _FILLS:
                self._make(result, _first_element(result))
            elif packet == "clone" and self._knows(args[0]):
                self._note("copy", self._tensor(args[0]), result)
            elif all(self._is_small(tensor) for tensor in tensors_in([args, result])):
                self._note_small(packet, args, kwargs, result)

    def _note_small(self, packet: str, args: Sequence[Any], kwargs: Mapping[str, Any], result: torch.Tensor) -> None:
        is_in_place = packet.endswith("_")
        if is_in_place and not self._knows(result):
            return
        operation = packet.removesuffix("_")
        if operation == "zero":
            self._note("copy", 0, result)
        elif operation in ("copy", "fill"):
            self._note("copy", self._operand(args[1]), result)
        elif operation == "_to_copy":
            self._note("copy", self._operand(args[0]), result)
        elif operation in ARITHMETIC and not kwargs:
            self._note("compute", [operation, *map(self._operand, args)], result)

    def _is_small(self, tensor: torch.Tensor) -> bool:
        return tensor.numel() == 1 and tensor.device.type == self._device

    def _note(self, verb: str, what: Any, result: torch.Tensor) -> None:
        if not self._knows(result):
            self._make(result)
        self._add({verb: what, "into": self._tensor(result)})

    def _operand(self, value: Any) -> Any:
        return self._tensor(value) if isinstance(value, torch.Tensor) else self._glossary.value(value)

    def _launch(self, kernel: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        given = {name: value for name, value in kwargs.items() if name in kernel.arg_names}
        try:
            bound = inspect.getcallargs(kernel.fn, *args, **given)
        except TypeError as error:
            raise UnwritableError(f"a launch whose arguments don't fit ({error})") from error
        values = {name: self._argument(name, value) for name, value in bound.items()}
        step = {"launch": self._glossary.function(kernel), "grid": [], "args": values}
        if self._device != "cpu":
            step["options"] = {name: self._option(name, kwargs[name]) for name in kwargs.keys() - given.keys()}
        self._add(step)
        return step

    def _option(self, name: str, value: Any) -> Any:
        """How a kernel is compiled: `num_warps`, say."""
        if value is None or type(value) in (bool, int, float, str):
            return value
        raise UnwritableError(f"option {name} is a {type(value).__name__}")

    def _launch_cuda(self, launch: CudaLaunch) -> dict[str, Any]:
        source = launch.source
        module = {
            "code": source.code,
            "options": list(source.options),
            "name_expressions": list(source.name_expressions),
            "path": source.path,
        }
        if module not in self._modules:
            self._modules.append(module)
        # Before the step: a storage that isn't known yet is a step of its own.
        values = [self._cuda_argument(value) for value in launch.values]
        step = {
            "run": self._modules.index(module),
            "kernel": launch.kernel,
            "grid": list(launch.grid),
            "block": list(launch.block),
            "shared_bytes": launch.shared_bytes,
            "args": values,
        }
        self._add(step)
        return step

    def _cuda_argument(self, value: Any) -> dict[str, Any]:
        if isinstance(value, torch.Tensor):
            return {"tensor": self._tensor(value)}
        return {"bytes": (value if isinstance(value, bytes) else value.tobytes()).hex()}

    def _argument(self, name: str, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return {"tensor": self._tensor(value)}
        if type(value) is tuple:
            return {"tuple": [self._argument(f"{name}[{place}]", item) for place, item in enumerate(value)]}
        if type(value) is TensorDescriptor:
            sizes = {name: [int(size) for size in getattr(value, name)] for name in DESCRIBED}
            return {"descriptor": self._tensor(value.base), "padding": value.padding, **sizes}
        try:
            return self._glossary.value(value)
        except UnwritableError as error:
            raise UnwritableError(f"argument {name} is {error}") from None

    def _tensor(self, tensor: torch.Tensor) -> list[Any]:
        number = self._numbers.get(storage_id(tensor))
        if number is None:
            number = self._number(tensor)
            self._add({"make": number, "contents": _contents(tensor)})
        dtype = str(tensor.dtype).removeprefix("torch.")
        return [number, dtype, list(tensor.shape), list(tensor.stride()), tensor.storage_offset()]

    def _make(self, tensor: torch.Tensor, fill: str | None = None) -> None:
        if self._knows(tensor):
            return
        dtype, n_bytes = str(tensor.dtype).removeprefix("torch."), tensor.untyped_storage().nbytes()
        self._add({"make": self._number(tensor), "bytes": n_bytes, "dtype": dtype, "fill": fill})

    def _knows(self, tensor: Any) -> bool:
        return isinstance(tensor, torch.Tensor) and storage_id(tensor) in self._numbers

    def _number(self, tensor: torch.Tensor) -> int:
        if tensor.layout != torch.strided or tensor.device.type != self._device:
            raise UnwritableError(f"a {tensor.layout} tensor on {tensor.device}")
        number = self._numbers[storage_id(tensor)] = len(self._numbers)
        self._kept.append(tensor.untyped_storage())
        return number

    def _add(self, step: dict[str, Any]) -> None:
        if len(self._steps) >= MAX_STEPS:
            raise UnwritableError(f"more than {MAX_STEPS} launches and host operations in one call")
        self._steps.append(step)

    @contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except UnwritableError as error:
            self.why_not = self.why_not or str(error)


class _Mode(Watch):  # type: ignore[no-untyped-call]
    def __init__(self, trail: Trail) -> None:
        super().__init__()
        self._trail = trail

    def saw(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        self._trail.note_operation(name, args, kwargs, result)


_trails: list[Trail] = []
"""The trail of the call that is going on, if one is."""


@contextmanager
def following(args: Sequence[Any]) -> Iterator[Trail]:
    """Writes down what happens until the block is left.

    Enter it before the counters' own recording: what that sees of the stack must look as it does without us.

    Args:
        args: the arguments of the call that is about to be made.
    """
    _hook_launches()
    trail = Trail(args)
    _trails.append(trail)
    emulated.followers.append(trail.launching_cuda)
    try:
        with trail.watching():
            yield trail
    finally:
        emulated.followers.pop()
        _trails.pop()


def _hook_launches() -> None:
    from triton.runtime import interpreter

    if getattr(interpreter.InterpretedFunction.run, "is_followed", False):
        return
    interpreter.InterpretedFunction.run = _followed(interpreter.InterpretedFunction.run)
    set_grid_dim = interpreter.InterpreterBuilder.set_grid_dim

    def noted_grid_dim(builder: Any, *grid: Any) -> Any:
        if _trails:
            _trails[-1].note_grid(grid)
        return set_grid_dim(builder, *grid)

    interpreter.InterpreterBuilder.set_grid_dim = noted_grid_dim


def _followed(original: Callable[..., Any]) -> Callable[..., Any]:
    def run(kernel: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> Any:
        if warmup or not _trails:
            return original(kernel, *args, grid=grid, warmup=warmup, **kwargs)
        with _trails[-1].launching(kernel, args, kwargs):
            return original(kernel, *args, grid=grid, warmup=warmup, **kwargs)

    run.is_followed = True  # type: ignore[attr-defined]
    return run


def _first_element(tensor: torch.Tensor) -> str | None:
    """Its bytes in hex; None where there is no element."""
    return _bytes_at(tensor, tensor.data_ptr(), tensor.element_size()).hex() if math.prod(tensor.shape) else None


def _contents(tensor: torch.Tensor) -> bytes:
    """The bytes of its whole storage."""
    storage = tensor.untyped_storage()
    if tensor.is_cuda and storage.nbytes() > MAX_CONTENTS:
        raise UnwritableError(f"a tensor of {storage.nbytes() >> 20} MiB that host code filled")
    return _bytes_at(tensor, storage.data_ptr(), storage.nbytes())


def _bytes_at(tensor: torch.Tensor, address: int, n_bytes: int) -> bytes:
    if not n_bytes:
        return b""
    if not tensor.is_cuda:
        return ctypes.string_at(address, n_bytes)
    # Not by way of a tensor: whoever watches torch's operations would see one more.
    torch.cuda.synchronize()
    return bytes_on_card(address, n_bytes)


def _uint8(contents: bytes) -> torch.Tensor:
    return torch.frombuffer(bytearray(contents), dtype=torch.uint8) if contents else torch.empty(0, dtype=torch.uint8)
