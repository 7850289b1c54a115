"""The counting worker: follows a recipe in its own memory, and says what it saw. No host code of a learner runs here.

A recipe (`worker.launching` writes it) comes from a process that nobody trusts, by way of the trusted side, which adds
inputs that the recipe's writer never saw. Each launch runs under the counters. Every byte of memory carries a mark:
whether a kernel stored it last, or host code filled it with a constant, or it is a copy of such bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch

from gpuprep.channel import storage_id
from gpuprep.counters.findings import Finding
from gpuprep.counters.triton_interpreter import Counter, OutOfBoundsAccess, Recording
from gpuprep.errors import UnsupportedTritonError
from gpuprep.model import Work
from gpuprep.worker.launching import ARITHMETIC, MAX_STEPS, tensors_in
from gpuprep.worker.sandbox import ForbiddenError, UnfollowedError, compiled, decoded

Answer = dict[str, Any]

_DTYPES = frozenset(
    "float64 float32 float16 bfloat16 float8_e4m3fn float8_e5m2 bool "
    "int64 int32 int16 int8 uint64 uint32 uint16 uint8".split()
)
_BROKEN = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, RecursionError)
"""What reading a recipe raises that no honest worker writes."""


class Witness:
    """Serves the requests of the trusted side."""

    def __init__(self) -> None:
        self.why_not = ""
        self._counter: Counter | None = None
        # As in the learner's worker: what no kernel wrote shows as NaN.
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = True  # type: ignore[attr-defined]
        np.seterr(all="ignore")
        try:
            self._counter = Counter()
        except UnsupportedTritonError as error:
            self.why_not = error.message

    @property
    def can_count(self) -> bool:
        """True where Triton's interpreter is one that the counters know."""
        return self._counter is not None

    def replay(self, recipe: Mapping[str, Any], args: Sequence[Any], *, reverse: bool) -> Answer:
        """Follow a recipe.

        Args:
            recipe: functions, steps and outputs, as the learner's worker wrote them down.
            args: the arguments to follow it with.
            reverse: run each launch's programs last one first.

        Returns:
            What `Runner.call` says of a call, as far as a recipe can; or `status` is `broken` (no recipe), `forbidden`
            (its kernels aren't kernels), `unfollowed` (it is beyond this worker) or `raised`, each with a `message`.
        """
        assert self._counter is not None  # noqa: S101  the trusted side asks can_count first
        memory = _Memory(args)
        walk = _Walk(self._counter, memory, [arg for arg in args if isinstance(arg, torch.Tensor)], reverse)
        try:
            if recipe["why_not"]:
                raise UnfollowedError(recipe["why_not"])
            walk.follow(compiled(recipe["functions"]), recipe["steps"])
            outputs = [memory.tensor(place) for place in recipe["outputs"]]
            stored = [memory.n_marked(place) for place in recipe["outputs"]]
        except OutOfBoundsAccess:
            return {"status": "stopped", **walk.seen(), "stored": []}
        except ForbiddenError as error:
            return {"status": "forbidden", "message": str(error)}
        except UnfollowedError as error:
            return {"status": "unfollowed", "message": str(error)}
        except _KernelError as error:
            return {"status": "raised", "message": str(error)}
        except _BROKEN as error:
            return {"status": "broken", "message": f"{type(error).__name__}: {error}"}
        devices = ["cpu"] * len(outputs)
        return {
            "status": "returned", "args": list(args), "outputs": outputs, "devices": devices, **walk.seen(),
            "stored": stored,
        }  # fmt: skip


class _KernelError(Exception):
    """A kernel raised."""


class _Walk:
    """One pass through a recipe's steps."""

    def __init__(self, counter: Counter, memory: _Memory, inputs: Sequence[torch.Tensor], reverse: bool) -> None:
        self._counter = counter
        self._memory = memory
        self._inputs = inputs
        self._is_reversed = reverse
        self._work = Work()
        self._findings: dict[tuple[Any, ...], Finding] = {}
        self._host_ops: list[dict[str, Any]] = []

    def follow(self, functions: Sequence[Any], steps: Sequence[Mapping[str, Any]]) -> None:
        if len(steps) > MAX_STEPS:
            raise UnfollowedError(f"more than {MAX_STEPS} steps")
        for step in steps:
            if "launch" in step:
                self._launch(functions, step)
            elif "contents" in step:
                self._memory.put(step["make"], step["contents"])
            elif "make" in step:
                n_filled = self._memory.make(step["make"], step["bytes"], step["dtype"], step["fill"])
                self._note("aten.full", n_filled)
            elif "copy" in step:
                n_copied = self._memory.copy(step["copy"], step["into"])
                self._note("aten.clone", n_copied)
            else:
                self._memory.compute(step["compute"], step["into"])

    def seen(self) -> Answer:
        """Counted work, findings, and the copies and fills that host code asked for."""
        return {
            "work": asdict(self._work),
            "findings": [asdict(finding) for finding in self._findings.values()],
            "host_ops": self._host_ops,
        }

    def _launch(self, functions: Sequence[Any], step: Mapping[str, Any]) -> None:
        place, grid = step["launch"], tuple(step["grid"])
        if type(place) is not int or not 0 <= place < len(functions):
            raise ValueError(f"no function {place}")
        if not 1 <= len(grid) <= 3 or any(type(size) is not int or size < 0 for size in grid):
            raise ValueError(f"no grid {grid}")
        values = {name: self._argument(value, functions) for name, value in step["args"].items()}
        kernel = functions[place]
        path = kernel.fn.__code__.co_filename
        with self._counter.recording(reverse=self._is_reversed, inputs=self._inputs, path=path) as recording:
            try:
                kernel.run(grid=grid, warmup=False, **values)
            except Exception as error:
                raise _KernelError(f"{kernel.fn.__name__}: {_root(error)}") from error
            finally:
                self._take(recording)
        self._memory.mark(recording, values.values())

    def _argument(self, value: Any, functions: Sequence[Any]) -> Any:
        if isinstance(value, dict) and "tensor" in value:
            return self._memory.tensor(value["tensor"])
        if isinstance(value, dict) and "tuple" in value:
            return tuple(self._argument(item, functions) for item in value["tuple"])
        return decoded(value, functions)

    def _take(self, recording: Recording) -> None:
        before, new = asdict(self._work), asdict(recording.work)
        self._work = replace(self._work, **{figure: before[figure] + new[figure] for figure in before})
        for found in recording.findings:
            place = (found.kind, found.path, found.line, found.tensor, found.is_store)
            self._findings.setdefault(place, found)

    def _note(self, name: str, numel: int) -> None:
        if numel:
            self._host_ops.append({"name": name, "numel": numel, "path": "", "line": 0})


class _Memory:
    """Numbered storages, and a mark for each of their bytes."""

    def __init__(self, args: Sequence[Any]) -> None:
        self._data: dict[int, torch.Tensor] = {}
        self._marks: dict[int, torch.Tensor] = {}
        known = set()
        for tensor in tensors_in(args):
            if storage_id(tensor) not in known:
                known.add(storage_id(tensor))
                data = torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage())
                self._add(len(self._data), data, is_marked=False)

    def tensor(self, place: Sequence[Any]) -> torch.Tensor:
        """The tensor that a recipe names by storage, dtype, shape, strides and offset."""
        return _view(self._data, place)

    def n_marked(self, place: Sequence[Any]) -> int:
        """How many elements of that tensor are of kernels' or constants' making."""
        if 0 in place[2]:
            return 0
        marks = _view(self._marks, place).contiguous().flatten().view(torch.uint8)
        return int(marks.view(-1, _dtype(place[1]).itemsize).all(dim=1).sum())

    def put(self, number: int, contents: torch.Tensor) -> None:
        """A storage with contents that host code made."""
        if contents.dtype != torch.uint8 or contents.dim() != 1:
            raise TypeError("contents that aren't bytes")
        self._add(number, contents.contiguous(), is_marked=False)

    def make(self, number: int, n_bytes: int, dtype: str, fill: str | None) -> int:
        """A new storage; how many elements were filled."""
        element = _dtype(dtype)
        if type(n_bytes) is not int or not 0 <= n_bytes < 2**40:
            raise ValueError(f"a storage of {n_bytes} bytes")
        n_elements = -(-n_bytes // element.itemsize)
        try:
            made = torch.empty(n_elements, dtype=element)
        except RuntimeError as error:
            raise UnfollowedError(f"no memory for {n_bytes} bytes") from error
        data = torch.empty(0, dtype=torch.uint8).set_(made.untyped_storage())
        self._add(number, data, is_marked=fill is not None)
        if fill is None or not n_elements:
            return 0
        pattern = bytes.fromhex(fill)
        if len(pattern) != element.itemsize:
            raise ValueError(f"a {dtype} of {len(pattern)} bytes")
        data.view(n_elements, -1).copy_(torch.frombuffer(bytearray(pattern), dtype=torch.uint8))
        return n_elements

    def copy(self, source: Any, into: Sequence[Any]) -> int:
        """Copies a tensor into another, or a number into a single element; how many elements moved."""
        if isinstance(source, int | float):
            self._set(into, source, is_marked=True)
        elif source[1] == into[1] and source[2] == into[2]:
            for storages in (self._data, self._marks):
                _view(storages, into).copy_(_view(storages, source))
        else:
            self._set(into, _single(self.tensor(source)), is_marked=self.n_marked(source) == 1)
        return self.tensor(into).numel()

    def compute(self, what: Sequence[Any], into: Sequence[Any]) -> None:
        """Arithmetic on single elements."""
        name, *operands = what
        if name not in ARITHMETIC:
            raise ValueError(f"no operation {name}")
        are_marked = all(isinstance(operand, int | float) or self.n_marked(operand) == 1 for operand in operands)
        values = [
            operand if isinstance(operand, int | float) else _single(self.tensor(operand)) for operand in operands
        ]
        try:
            result = getattr(torch, name)(*values)
        except RuntimeError as error:
            raise UnfollowedError(f"{name} on single elements: {error}") from error
        self._set(into, result, is_marked=are_marked)

    def mark(self, recording: Recording, values: Any) -> None:
        """What a launch has stored is the kernels' own from now on."""
        touched = {storage_id(tensor) for tensor in tensors_in(list(values))}
        for number, data in self._data.items():
            stored = recording.stored_bytes(data.untyped_storage()) if storage_id(data) in touched else None
            if stored is not None:
                self._marks[number] |= torch.from_numpy(stored[: data.numel()])

    def _set(self, into: Sequence[Any], value: Any, *, is_marked: bool) -> None:
        _single(self.tensor(into)).fill_(value)
        number, dtype, _, _, offset = into
        width = _dtype(dtype).itemsize
        self._marks[number][offset * width : (offset + 1) * width] = int(is_marked)

    def _add(self, number: int, data: torch.Tensor, *, is_marked: bool) -> None:
        if type(number) is not int or number != len(self._data):
            raise ValueError(f"storage {number} after {len(self._data)} others")
        self._data[number] = data
        self._marks[number] = torch.full_like(data, int(is_marked))


def _view(storages: Mapping[int, torch.Tensor], place: Sequence[Any]) -> torch.Tensor:
    number, dtype, shape, strides, offset = place
    if not all(type(size) is int and 0 <= size < 2**40 for size in (number, *shape, *strides, offset)):
        raise ValueError(f"no tensor {place}")
    whole = torch.empty(0, dtype=_dtype(dtype)).set_(storages[number].untyped_storage())
    try:
        return whole.as_strided(shape, strides, offset)
    except RuntimeError as error:
        raise ValueError(f"a tensor outside its storage: {place}") from error


def _dtype(name: str) -> torch.dtype:
    if name not in _DTYPES:
        raise ValueError(f"no dtype {name}")
    found: torch.dtype = getattr(torch, name)
    return found


def _single(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.numel() != 1:
        raise UnfollowedError(f"an operation of host code on {tensor.numel()} elements")
    return tensor


def _root(error: BaseException) -> str:
    while type(error).__name__ == "InterpreterError" and error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}"
