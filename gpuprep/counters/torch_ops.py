"""Which torch operations host code runs around its kernels, seen where torch dispatches them."""

from __future__ import annotations

import importlib.util
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from gpuprep.counters.allocations import Allocations
from gpuprep.counters.collectives import NAMESPACES, Collectives, refuse_strided

MAX_HOST_OPS = 1000
"""Distinct operations kept of one recording; no honest file has as many lines."""

_LEAVING_TORCH = ("numpy", "tolist", "__dlpack__")
"""Methods of Tensor after which others may compute on the values; `__array__` calls `numpy`."""


@dataclass(frozen=True)
class HostOp:
    """A torch operation, or a conversion that leaves torch's sight, at one line of host code."""

    name: str
    """`aten.add.Tensor`; `Tensor.numpy` for a conversion."""
    numel: int
    """Elements of its largest tensor, input or output; the largest where one line runs several times."""
    path: str
    line: int


class HostOps:
    """Records host operations while its `recording` lasts, in the order in which their lines first ran.

    Operations that Triton itself issues around a launch (the interpreter copying arguments to the host and back, the
    autotuner flushing the cache) are left out. Everything else counts, even inside a launch: in a grid function, a
    hook, or Python code in a kernel.

    Args:
        path: the file whose lines are wanted; None takes the innermost line outside every library.
        inputs: the call's tensors, whose memory is not the call's own.
    """

    def __init__(self, path: str | None = None, inputs: Sequence[torch.Tensor] = ()) -> None:
        self.ops: list[HostOp] = []
        self.allocations = Allocations(inputs)
        self.collectives = Collectives()
        self.matmul_flops = 0
        self._places: dict[tuple[str, str, int], int] = {}
        self._path = path
        self._is_on = False
        self._lock = threading.Lock()

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Records until left; then every patched method is what it was."""
        self._is_on = True
        undo = [self._patch_tensor(name) for name in _LEAVING_TORCH]
        undo.append(self._patch_threads())
        if torch.distributed.is_available():
            undo.append(self._patch_waiting())
        try:
            with _Mode(self):
                yield
        finally:
            self._is_on = False
            for restore in undo:
                restore()

    def take(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """Keeps an operation as torch dispatched it, with what it sends to other ranks and multiplies."""
        if name.startswith(NAMESPACES):
            where = _where(self._path)
            self.collectives.note(name, args, result, where[1] if where is not None and where[0] == self._path else 0)
            self.allocations.collective_ended()
        factor = _FACTORS.get(name.partition(".")[2].partition(".")[0])
        if factor is not None:
            # [..., M, K] by [K, N]; a multiply and an add each
            self.matmul_flops += 2 * result.numel() * args[factor].shape[-1]
        self.note(name, max(_numel(args), _numel(kwargs), _numel(result)), result)

    def note(self, name: str, numel: int, result: Any = None) -> None:
        """Keeps one operation, and the memory of its result, unless the interpreter issued it."""
        where = _where(self._path) if self._is_on else None
        if where is None:
            return
        self.allocations.note(result)
        key = (name, *where)
        with self._lock:
            place = self._places.get(key)
            if place is None and len(self.ops) < MAX_HOST_OPS:
                self._places[key] = len(self.ops)
                self.ops.append(HostOp(name, numel, *where))
            elif place is not None and numel > self.ops[place].numel:
                self.ops[place] = HostOp(name, numel, *where)

    def _patch_tensor(self, name: str) -> Callable[[], None]:
        original = getattr(torch.Tensor, name)

        def noting(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            self.note(f"Tensor.{name}", tensor.numel())
            return original(tensor, *args, **kwargs)

        return _replace(torch.Tensor, name, noting)

    def _patch_waiting(self) -> Callable[[], None]:
        wait = torch.distributed.Work.wait

        def noting(work: torch.distributed.Work, *args: Any, **kwargs: Any) -> Any:
            try:
                return wait(work, *args, **kwargs)
            finally:
                self.allocations.collective_ended()

        return _replace(torch.distributed.Work, "wait", noting)

    def _patch_threads(self) -> Callable[[], None]:
        """Makes threads that start now record too: a dispatch mode sees its own thread only."""
        start = threading.Thread.start

        def recorded_start(thread: threading.Thread) -> None:
            run = thread.run

            def recorded_run() -> None:
                with _Mode(self):
                    run()

            setattr(thread, "run", recorded_run)  # noqa: B010 - mypy forbids assigning to a method
            start(thread)

        return _replace(threading.Thread, "start", recorded_start)


_FACTORS = {"mm": 0, "bmm": 0, "mv": 0, "dot": 0, "addmm": 1, "addmm_": 1, "baddbmm": 1, "baddbmm_": 1}
"""Products of matrices, and which argument is their left factor."""


class Watch(TorchDispatchMode, ABC):  # type: ignore[no-untyped-call]
    """Sees every operation of the thread that enters it, and costs nothing but that."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    @abstractmethod
    def saw(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """Takes one operation that has run, `aten.add.Tensor`."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Else torch hides the method below from dynamo by importing it at the first operation, which takes a second.
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        # Hidden once dynamo is there, or what a compiled function meets here would be compiled too.
        disable = getattr(sys.modules.get("torch._dynamo"), "disable", None)
        run = disable(self._run) if disable else self._run
        return run(func, types, args, kwargs or {})

    def _run(self, func: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = func(*args, **kwargs)
        name = str(func)
        if any(kind.__name__ == "DTensor" for kind in types):
            # It finds out by itself what ranks have to send: another library's operation, whatever its name.
            name = f"DTensor.{name.partition('.')[2]}"
        self.saw(name, args, kwargs, result)
        return result


class _Mode(Watch):  # type: ignore[no-untyped-call]
    def __init__(self, host_ops: HostOps) -> None:
        super().__init__()
        self._host_ops = host_ops

    def _run(self, func: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if (name := str(func)).startswith(NAMESPACES):
            refuse_strided(name, args)
        return super()._run(func, types, args, kwargs)

    def saw(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        self._host_ops.take(name, args, kwargs, result)


def _numel(value: Any) -> int:
    """Elements of the largest tensor in nested arguments."""
    if isinstance(value, torch.Tensor):
        return value.numel()
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, tuple | list):
        return 0
    return max(map(_numel, value), default=0)


def _replace(owner: type, name: str, value: Any) -> Callable[[], None]:
    """Sets an attribute of a class; the call that comes back undoes it, an inherited one included."""
    is_own = name in vars(owner)
    original = getattr(owner, name)
    setattr(owner, name, value)
    return lambda: setattr(owner, name, original) if is_own else delattr(owner, name)


def _package_folder(name: str) -> str:
    spec = importlib.util.find_spec(name)
    return str(Path(spec.origin).parent) + "/" if spec and spec.origin else "<no such package>"


_TRANSPARENT = (_package_folder("torch"), str(Path(__file__).parent) + "/")
_LIBRARIES = (*_TRANSPARENT, _package_folder("triton"), _package_folder("numpy"), "<")
_TRITON_ITSELF = tuple(
    _package_folder("triton") + file
    for file in ("runtime/interpreter.py", "runtime/autotuner.py", "testing.py", "backends/nvidia/driver.py")
)
"""What copies arguments for the interpreter, and what flushes the cache while the autotuner benchmarks."""


def _where(path: str | None) -> tuple[str, int] | None:
    """The line that asked for an operation; None for Triton's own."""
    frame = sys._getframe(1)  # noqa: SLF001 - inspect.stack() reads source files, which costs milliseconds
    is_innermost = True
    outside: tuple[str, int] | None = None
    while frame is not None:
        name = frame.f_code.co_filename
        if is_innermost and not name.startswith(_TRANSPARENT):
            if name in _TRITON_ITSELF:
                return None
            is_innermost = False
        if name == path:
            return name, frame.f_lineno
        if outside is None and not name.startswith(_LIBRARIES):
            outside = name, frame.f_lineno
        if frame.f_back is None:
            break
        frame = frame.f_back
    return outside or ("", 0)
