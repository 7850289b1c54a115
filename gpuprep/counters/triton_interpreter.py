"""Counts the work of Triton kernels that Triton's own interpreter runs.

TRITON_INTERPRET=1 must be set before triton is imported. The hooks stand where every supported version is alike: the
interpreter's four memory functions, the launch, the program's index, and dot.
"""

from __future__ import annotations

import importlib
import inspect
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from gpuprep.counters.accesses import untagged
from gpuprep.counters.findings import MISALIGNED, OUT_OF_BOUNDS, RACE, Finding, OutOfBoundsAccess
from gpuprep.counters.launches import Launch
from gpuprep.counters.masked_lanes import USUAL, Garbage
from gpuprep.counters.recording import Recording, run_under
from gpuprep.counters.torch_ops import HostOp, HostOps
from gpuprep.counters.triton_patching import Patches
from gpuprep.counters.triton_reducing import by_halves
from gpuprep.counters.triton_support import check_supported, unsupported

__all__ = [
    "MISALIGNED",
    "OUT_OF_BOUNDS",
    "RACE",
    "Counter",
    "Finding",
    "HostOp",
    "OutOfBoundsAccess",
    "Recording",
]

_INTERPRETER = "triton.runtime.interpreter"
_AUTOTUNER = "triton.runtime.autotuner"

_NEEDED = {
    _INTERPRETER: (
        "_implicit_cvt",
        *(f"_interpreter.{name}" for name in ("load", "store", "atomic_rmw", "atomic_cas")),
        *(
            f"InterpreterBuilder.{name}"
            for name in ("create_dot", "create_masked_load", "set_grid_dim", "set_grid_idx")
        ),
        *(f"GridExecutor.{name}" for name in ("__call__", "_init_args_hst")),
    ),
    _AUTOTUNER: ("Autotuner._bench",),
}
"""Private names that are replaced, by module."""

_ATOMIC_BY_PLAIN_ACCESS = ("create_atomic_load", "create_atomic_store", "create_atomic_poll")
"""Builder methods of newer versions that go through the plain load and store."""
_PATCHING = ("_patch_lang", "_LangPatchScope", "_MISSING")
"""Private names that make launches quicker where they are there."""


class _Switch:
    """What the hooks look at: nothing is counted while `recording` is None."""

    def __init__(self) -> None:
        self.recording: Recording | None = None
        self.launch: Launch | None = None
        self.is_reversed = False
        self.garbage = USUAL
        # The interpreter keeps the current program in a global: launches from several threads must take turns.
        self.lock = threading.RLock()


class Counter:
    """Counts kernels' work in this process. Several counters share the hooks of the first one.

    Raises:
        UnsupportedTritonError: the installed Triton is outside the tested range, or lacks a name that is hooked.
        RuntimeError: TRITON_INTERPRET is not set, so kernels would be compiled.
    """

    def __init__(self) -> None:
        version = check_supported()
        modules = {name: importlib.import_module(name) for name in _NEEDED}
        for name, attributes in _NEEDED.items():
            for attribute in attributes:
                if not _has(modules[name], attribute):
                    raise unsupported(f"Triton {version} has no {name}.{attribute}")
        if not importlib.import_module("triton").knobs.runtime.interpret:
            raise RuntimeError("set TRITON_INTERPRET=1 before triton is imported, or kernels can't be counted")
        memory = modules[_INTERPRETER]._interpreter  # noqa: SLF001 - there is no public hook
        self._switch = memory.switch if isinstance(memory, _CountingMemory) else _Switch()
        if not isinstance(memory, _CountingMemory):
            _install(self._switch, modules[_INTERPRETER], modules[_AUTOTUNER])

    @contextmanager
    def recording(
        self,
        *,
        reverse: bool = False,
        inputs: Sequence[torch.Tensor] = (),
        path: str | None = None,
        ends_by: float | None = None,
        garbage: Garbage = USUAL,
    ) -> Iterator[Recording]:
        """Counts everything that runs until the block is left.

        Args:
            reverse: run each launch's programs last one first.
            inputs: the grader's tensors: no view of one reaches beyond its logical elements.
            path: the learner's file, whose lines host operations are reported at; None finds it from the call.
            ends_by: see `Recording`.
            garbage: what lanes hold that a load masks out without `other=`.

        Raises:
            RuntimeError: a recording is going on already.
        """
        switch = self._switch
        if switch.recording is not None:
            raise RuntimeError("a recording is going on in this process already")
        host_ops = HostOps(path, inputs)
        recording = Recording(inputs, reverse, ends_by, host_ops)
        switch.is_reversed, switch.garbage = reverse, garbage
        switch.recording = recording
        try:
            with host_ops.recording(), run_under(recording):
                yield recording
        finally:
            switch.recording = None


class _CountingMemory:
    """Stands in for the interpreter's memory functions: counts, then forwards."""

    def __init__(self, real: Any, switch: _Switch) -> None:
        self.real = real
        self.switch = switch

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def load(self, pointers: Any, mask: Any, other: Any, dtype: Any) -> Any:
        if self.switch.launch is not None:
            mask = _as_lanes(mask)
            self.switch.launch.load(pointers, mask, np.dtype(dtype).itemsize)
            pointers = untagged(pointers)
        return self.real.load(pointers, mask, other, dtype)

    def store(self, pointers: Any, values: Any, mask: Any) -> Any:
        if self.switch.launch is not None:
            mask = _as_lanes(mask)
            self.switch.launch.store(pointers, values, mask)
            pointers = untagged(pointers)
        return self.real.store(pointers, values, mask)

    def atomic_rmw(self, operation: Any, pointers: Any, values: Any, mask: Any, semantics: Any) -> Any:
        if self.switch.launch is not None:
            mask = _as_lanes(mask)
            self.switch.launch.atomic(pointers, mask, values.dtype.itemsize)
            pointers = untagged(pointers)
        return self.real.atomic_rmw(operation, pointers, values, mask, semantics)

    def atomic_cas(self, pointers: Any, expected: Any, values: Any, semantics: Any) -> Any:
        if self.switch.launch is not None:
            self.switch.launch.atomic(pointers, np.True_, values.dtype.itemsize)
            pointers = untagged(pointers)
        return self.real.atomic_cas(pointers, expected, values, semantics)

    def peek(self, addresses: Any, dtype: Any) -> Any:
        """What memory holds, uncounted."""
        return self.real.load(addresses, np.ones(addresses.shape, np.bool_), np.zeros(addresses.shape, dtype), dtype)


def _as_lanes(mask: Any) -> Any:
    """A mask as booleans: combined with a scalar condition, the interpreter makes integers of it."""
    return np.asarray(mask).astype(np.bool_, copy=False)


def _has(owner: Any, path: str) -> bool:
    for name in path.split("."):
        if not hasattr(owner, name):
            return False
        owner = getattr(owner, name)
    return True


def _install(switch: _Switch, interpreter: Any, autotuner: Any) -> None:
    memory = _CountingMemory(interpreter._interpreter, switch)  # noqa: SLF001 - there is no public hook
    interpreter._interpreter = memory  # noqa: SLF001
    _wrap(interpreter.GridExecutor, "__call__", lambda original: _counting_launch(original, switch, memory))
    _wrap(interpreter, "_implicit_cvt", lambda original: _tagging_pointers(original, switch))
    _wrap(interpreter.GridExecutor, "_init_args_hst", lambda original: _binding_arguments(original, switch))
    builder = interpreter.InterpreterBuilder
    _wrap(builder, "set_grid_dim", lambda original: _starting_grid(original, switch))
    _wrap(builder, "set_grid_idx", lambda original: _entering_program(original, switch))
    _wrap(builder, "create_dot", lambda original: _counting_dot(original, switch))
    _wrap(builder, "create_masked_load", lambda original: _spoiling_masked_lanes(original, switch))
    if hasattr(interpreter, "_patch_lang_tensor"):
        _wrap(interpreter, "_patch_lang_tensor", lambda original: _reading_scalars(original, switch))
    if all(hasattr(interpreter, name) for name in _PATCHING):
        _wrap(interpreter, "_patch_lang", lambda original: Patches(original, interpreter, lambda: switch.launch))
    for name in filter(lambda name: hasattr(builder, name), _ATOMIC_BY_PLAIN_ACCESS):
        _wrap(builder, name, lambda original: _marking_atomic(original, switch))
    if hasattr(interpreter, "ReduceOps") and hasattr(interpreter.ReduceOps, "generic_reduce"):
        _wrap(interpreter.ReduceOps, "generic_reduce", by_halves)
    _wrap(autotuner.Autotuner, "_bench", lambda original: _taking_first(original, switch))


def _wrap(owner: Any, name: str, wrapper: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    setattr(owner, name, wrapper(getattr(owner, name)))


def _counting_launch(original: Callable[..., Any], switch: _Switch, memory: _CountingMemory) -> Callable[..., Any]:
    def call(executor: Any, *args: Any, **kwargs: Any) -> Any:
        recording = switch.recording
        if recording is None:
            return original(executor, *args, **kwargs)
        with switch.lock:
            if recording.stopped_by is not None:
                raise OutOfBoundsAccess(recording.stopped_by)
            recording.launches += 1
            outer = switch.launch
            code = executor.fn.__code__
            switch.launch = Launch(recording, executor.fn.__name__, code.co_filename, memory.peek)
            try:
                return original(executor, *args, **kwargs)
            finally:
                switch.launch = outer

    return call


def _binding_arguments(original: Callable[..., Any], switch: _Switch) -> Callable[..., Any]:
    def init_args_hst(executor: Any, args_dev: Any, kwargs: Any) -> Any:
        args, keywords = original(executor, args_dev, kwargs)
        if switch.launch is not None:
            switch.launch.bind(inspect.getcallargs(executor.fn, *args, **keywords))
        return args, keywords

    return init_args_hst


def _tagging_pointers(original: Callable[..., Any], switch: _Switch) -> Callable[..., Any]:
    def implicit_cvt(argument: Any) -> Any:
        result = original(argument)
        # Tuples and descriptors come back here for each tensor in them.
        if switch.launch is not None and hasattr(argument, "data_ptr"):
            result.handle.data = switch.launch.tag(result.handle.data, argument)
        return result

    return implicit_cvt


def _starting_grid(original: Callable[..., Any], switch: _Switch) -> Callable[..., Any]:
    def set_grid_dim(builder: Any, *grid: int) -> Any:
        if switch.launch is not None:
            switch.launch.start((grid[0], grid[1], grid[2]))
        return original(builder, *grid)

    return set_grid_dim


def _entering_program(original: Callable[..., Any], switch: _Switch) -> Callable[..., Any]:
    def set_grid_idx(builder: Any, x: int, y: int, z: int) -> Any:
        if switch.launch is not None:
            if switch.is_reversed:
                n_x, n_y, n_z = builder.grid_dim
                x, y, z = n_x - 1 - x, n_y - 1 - y, n_z - 1 - z
            switch.launch.enter((x, y, z))
        return original(builder, x, y, z)

    return set_grid_idx


def _counting_dot(original: Callable[..., Any], switch: _Switch) -> Callable[..., Any]:
    def create_dot(builder: Any, a: Any, b: Any, *rest: Any, **options: Any) -> Any:
        if switch.launch is not None and switch.recording is not None:
            # [..., M, K] by [K, N]; a multiply and an add each
            switch.recording.dot_flops += 2 * math.prod(a.data.shape) * b.data.shape[-1]
        return original(builder, a, b, *rest, **options)

    return create_dot


def _spoiling_masked_lanes(original: Callable[..., Any], switch: _Switch) -> Callable[..., Any]:
    def create_masked_load(builder: Any, pointers: Any, mask: Any, other: Any, *rest: Any, **options: Any) -> Any:
        loaded = original(builder, pointers, mask, other, *rest, **options)
        if switch.launch is not None and other is None and not (lanes := _as_lanes(mask.data)).all():
            line = switch.launch.note_unset(lanes)
            garbage = switch.garbage.values(loaded.data.shape, loaded.data.dtype, line)
            loaded.data = np.where(lanes, loaded.data, garbage)
        return loaded

    return create_masked_load


def _marking_atomic(original: Callable[..., Any], switch: _Switch) -> Callable[..., Any]:
    def create(builder: Any, *args: Any, **options: Any) -> Any:
        launch = switch.launch
        if launch is None:
            return original(builder, *args, **options)
        launch.is_atomic_section = True
        try:
            return original(builder, *args, **options)
        finally:
            launch.is_atomic_section = False

    return create


def _reading_scalars(original: Callable[..., Any], switch: _Switch) -> Callable[..., Any]:
    def patch_lang_tensor(tensor: Any, scope: Any) -> Any:
        result = original(tensor, scope)
        if switch.launch is not None:
            # Triton 3.6 converts a scalar's one-element array, which NumPy 2.4 refuses: `range(0, n)` would raise.
            # The scope restores what was there before.
            tensor.__index__ = lambda scalar: int(scalar.handle.data.squeeze())
        return result

    return patch_lang_tensor


def _taking_first(original: Callable[..., Any], switch: _Switch) -> Callable[..., Any]:
    def bench(tuner: Any, *args: Any, **options: Any) -> Any:
        if switch.recording is None:
            return original(tuner, *args, **options)
        # Every configuration ties, so the tuner takes the first that its pruning left. A real benchmark needs a card.
        return [1.0, 1.0, 1.0]

    return bench
