"""Does again on a card what a recipe says, from kernels' source text alone: no host code of a learner runs here.

The recipe (`worker.card_launching` writes it) comes from a process that nobody trusts; the arguments are new ones. What
its launches take in this process is what they take: the clock and the trace here are the grader's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import triton
from triton.tools.tensor_descriptor import TensorDescriptor

from gpuprep.channel import storage_id
from gpuprep.cuda.compiled import CompiledModule
from gpuprep.cuda.errors import BackEndMissingError, CudaCompileError
from gpuprep.worker.cuda_replay import described_source, sizes_of
from gpuprep.worker.launching import ARITHMETIC, DESCRIBED, MAX_STEPS, tensors_in
from gpuprep.worker.memory import MAX_BYTES, MAX_ELEMENTS, dtype_of
from gpuprep.worker.sandbox import BROKEN, ForbiddenError, UnfollowedError, decoded, jitted, numbered

Answer = dict[str, Any]
Storages = list[torch.Tensor]
"""For each numbered storage a tensor that begins where it begins."""
Make = Callable[[Storages], Any]
"""Makes an argument of a launch, during a call."""


def followed(recipe: Mapping[str, Any]) -> tuple[CardReplay | None, Answer]:
    """A function that does what a recipe says, and an answer that says whether there is one.

    Returns:
        `status` is `following`; or `forbidden` (its kernels aren't kernels), `unfollowed` (it is beyond this worker) or
        `broken` (no recipe), each with a `message`.
    """
    try:
        return CardReplay(recipe), {"status": "following"}
    except ForbiddenError as error:
        return None, {"status": "forbidden", "message": str(error)}
    except (UnfollowedError, BackEndMissingError, CudaCompileError) as error:
        return None, {"status": "unfollowed", "message": str(error)}
    except BROKEN as error:
        return None, {"status": "broken", "message": f"{type(error).__name__}: {error}"}


class CardReplay:
    """A function of the same arguments as the one whose call was written down.

    All that can be prepared is so before the first call: host code must be no slower here than it was there.

    Args:
        recipe: functions, modules, steps and outputs, as the learner's worker wrote them down.
        device: where it is followed.

    Raises:
        ForbiddenError, UnfollowedError: see `worker.sandbox`.
        KeyError, TypeError, ValueError, …: no honest worker writes such a recipe.
    """

    def __init__(self, recipe: Mapping[str, Any], device: str = "cuda") -> None:
        if len(recipe["steps"]) > MAX_STEPS:
            raise UnfollowedError(f"more than {MAX_STEPS} steps")
        self._device = device
        self._functions = jitted(recipe["functions"])
        self._modules = [CompiledModule(described_source(module)) for module in recipe["modules"]]
        self._steps = [self._step(step) for step in recipe["steps"]]
        self._outputs = [_viewer(place) for place in recipe["outputs"]]
        # Kernels that make tensor descriptors by themselves ask for memory.
        triton.set_allocator(lambda n_bytes, *_: torch.empty(n_bytes, dtype=torch.int8, device=device))

    def __call__(self, *args: Any) -> tuple[torch.Tensor, ...]:
        """Follow it once.

        Raises:
            RuntimeError: the recipe belongs to other arguments, or a kernel can't be compiled or launched.
        """
        known: dict[int, torch.Tensor] = {}
        for tensor in tensors_in(args):
            known.setdefault(storage_id(tensor), tensor)
        storages = list(known.values())
        for step in self._steps:
            step(storages)
        return tuple(output(storages) for output in self._outputs)

    def _step(self, step: Mapping[str, Any]) -> Callable[[Storages], None]:
        if "launch" in step:
            return self._launch(step)
        if "run" in step:
            return self._run(step)
        if "contents" in step:
            contents = step["contents"].to(self._device)
            return lambda storages: storages.append(contents)
        if "make" in step:
            return _maker(step, self._device)
        return _copier(step) if "copy" in step else _computer(step)

    def _launch(self, step: Mapping[str, Any]) -> Callable[[Storages], None]:
        function = numbered(step["launch"], self._functions)
        grid = sizes_of(step["grid"])
        makers = {name: self._argument(value) for name, value in step["args"].items()}
        options = {name: decoded(value, ()) for name, value in step["options"].items()}
        launch = function[grid]

        def launched(storages: Storages) -> None:
            launch(**{name: make(storages) for name, make in makers.items()}, **options)

        return launched

    def _argument(self, value: Any) -> Make:
        if isinstance(value, dict) and "tensor" in value:
            return _viewer(value["tensor"])
        if isinstance(value, dict) and "tuple" in value:
            items = [self._argument(item) for item in value["tuple"]]
            return lambda storages: tuple(item(storages) for item in items)
        if isinstance(value, dict) and "descriptor" in value:
            sizes = [[int(size) for size in value[name]] for name in DESCRIBED]
            base, padding = _viewer(value["descriptor"]), value["padding"]
            return lambda storages: TensorDescriptor(base(storages), *sizes, padding=padding)
        found = decoded(value, self._functions)
        return lambda _storages: found

    def _run(self, step: Mapping[str, Any]) -> Callable[[Storages], None]:
        module = numbered(step["run"], self._modules)
        kernel, shared_bytes = step["kernel"], step["shared_bytes"]
        if type(kernel) is not str or type(shared_bytes) is not int:
            raise TypeError("a launch without a kernel")
        grid, block = sizes_of(step["grid"]), sizes_of(step["block"])
        makers = [_cuda_argument(value) for value in step["args"]]

        def launched(storages: Storages) -> None:
            values = [make(storages) for make in makers]
            module.launch(kernel, grid, block, values, shared_bytes, shared_bytes, None)

        return launched


def _cuda_argument(value: Mapping[str, Any]) -> Make:
    if "tensor" in value:
        return _viewer(value["tensor"])
    data = bytes.fromhex(value["bytes"])
    # A scalar is passed by its bits, whatever they mean.
    found = np.frombuffer(data, dtype=f"u{len(data)}")[0] if len(data) in (1, 2, 4, 8) else data
    return lambda _storages: found


def _viewer(place: Sequence[Any]) -> Callable[[Storages], torch.Tensor]:
    number, dtype, shape, strides, offset = place
    element = dtype_of(dtype)
    if not all(type(size) is int and size >= 0 for size in (number, *shape, *strides, offset)):
        raise ValueError(f"no tensor: {place}")
    if math.prod(shape) > MAX_ELEMENTS:
        raise UnfollowedError(f"a tensor of {math.prod(shape)} elements")

    def view(storages: Storages) -> torch.Tensor:
        base = storages[number]
        if base.dtype is not element:
            base = torch.empty(0, dtype=element, device=base.device).set_(base.untyped_storage())
        # Which refuses what lies outside of its storage.
        return torch.as_strided(base, shape, strides, offset)

    return view


def _maker(step: Mapping[str, Any], device: str) -> Callable[[Storages], None]:
    number, n_bytes, element, fill = step["make"], step["bytes"], dtype_of(step["dtype"]), step["fill"]
    if type(n_bytes) is not int or not 0 <= n_bytes < MAX_BYTES:
        raise ValueError(f"a storage of {n_bytes} bytes")
    n_elements = -(-n_bytes // element.itemsize)
    value = None if fill is None else torch.frombuffer(bytearray.fromhex(fill), dtype=element).item()

    def make(storages: Storages) -> None:
        if len(storages) != number:
            raise RuntimeError(f"storage {number} after {len(storages)} others")
        if value is None:
            storages.append(torch.empty(n_elements, dtype=element, device=device))
        else:
            storages.append(torch.full((n_elements,), value, dtype=element, device=device))

    return make


def _copier(step: Mapping[str, Any]) -> Callable[[Storages], None]:
    source, target = step["copy"], _viewer(step["into"])
    origin = None if isinstance(source, int | float) else _viewer(source)

    def copy(storages: Storages) -> None:
        if origin is None:
            target(storages).fill_(source)
        else:
            target(storages).copy_(origin(storages))

    return copy


def _computer(step: Mapping[str, Any]) -> Callable[[Storages], None]:
    (name, *given), into = step["compute"], step["into"]
    if name not in ARITHMETIC:
        raise ValueError(f"no operation {name}")
    if any(math.prod(place[2]) != 1 for place in (*given, into) if not isinstance(place, int | float)):
        raise UnfollowedError("an operation of host code on several elements")
    compute, target = getattr(torch, name), _viewer(into)
    operands = [_number(value) if isinstance(value, int | float) else _viewer(value) for value in given]

    def computed(storages: Storages) -> None:
        target(storages).copy_(compute(*(operand(storages) for operand in operands)))

    return computed


def _number(value: float) -> Make:
    return lambda _storages: value
