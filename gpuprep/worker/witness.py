"""The counting worker: follows a recipe in its own memory, and says what it saw. No host code of a learner runs here.

A recipe (`worker.launching` writes it) comes from a process that nobody trusts, by way of the trusted side, which adds
inputs that the recipe's writer never saw. Each launch runs under the counters. Every byte of memory carries a mark:
whether a kernel stored it last, or host code filled it with a constant, or it is a copy of such bytes.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import torch
from triton.tools.tensor_descriptor import TensorDescriptor

from gpuprep.counters.findings import Finding, KernelFault
from gpuprep.counters.masked_lanes import USUAL, Garbage
from gpuprep.counters.recording import Recording
from gpuprep.counters.triton_interpreter import Counter
from gpuprep.errors import UnsupportedTritonError
from gpuprep.model import Work
from gpuprep.worker.cuda_replay import CudaReplay, modules_of
from gpuprep.worker.launching import DESCRIBED, MAX_STEPS
from gpuprep.worker.memory import Memory
from gpuprep.worker.sandbox import BROKEN, ForbiddenError, UnfollowedError, compiled, decoded, numbered

Answer = dict[str, Any]


class Witness:
    """Serves the requests of the trusted side."""

    def __init__(self) -> None:
        self.why_not = ""
        self._counter: Counter | None = None
        # As in the learner's worker: what no kernel wrote shows as NaN.
        torch.set_deterministic_debug_mode("warn")
        torch.utils.deterministic.fill_uninitialized_memory = True  # type: ignore[attr-defined]
        np.seterr(all="ignore")
        warnings.filterwarnings("ignore", "All-NaN", RuntimeWarning)
        try:
            self._counter = Counter()
        except UnsupportedTritonError as error:
            self.why_not = error.message

    @property
    def can_count(self) -> bool:
        """True where Triton's interpreter is one that the counters know."""
        return self._counter is not None

    def serve(self, request: Mapping[str, Any]) -> Answer:
        """Do what the trusted side asks for."""
        if cache := request.get("cache"):
            # What CUDA kernels are compiled to must not lie where the learner's process could have put it.
            os.environ["XDG_CACHE_HOME"] = str(cache)
        garbage = Garbage(**request.get("garbage", {}))
        return self.replay(request["recipe"], request["args"], reverse=request["reverse"], garbage=garbage)

    def replay(
        self,
        recipe: Mapping[str, Any],
        args: Sequence[Any],
        *,
        reverse: bool,
        garbage: Garbage = USUAL,
    ) -> Answer:
        """Follow a recipe.

        Args:
            recipe: functions, modules, steps and outputs, as the learner's worker wrote them down.
            args: the arguments to follow it with.
            reverse: run each launch's programs last one first.
            garbage: what lanes hold that a load masks out without `other=`.

        Returns:
            What `Runner.call` says of a call, as far as a recipe can; or `status` is `broken` (no recipe), `forbidden`
            (its kernels aren't kernels), `unfollowed` (it is beyond this worker) or `raised`, each with a `message`.
        """
        assert self._counter is not None  # noqa: S101  the trusted side asks can_count first
        memory = Memory(args)
        inputs = [arg for arg in args if isinstance(arg, torch.Tensor)]
        walk = _Walk(partial(self._counter.recording, inputs=inputs, reverse=reverse, garbage=garbage), memory)
        try:
            walk.follow(compiled(recipe["functions"]), modules_of(recipe.get("modules", ())), recipe["steps"])
            outputs = [memory.tensor(place) for place in recipe["outputs"]]
            stored = [memory.n_marked(place) for place in recipe["outputs"]]
        except KernelFault:
            return {"status": "stopped", **walk.seen(), "stored": []}
        except ForbiddenError as error:
            return {"status": "forbidden", "message": str(error)}
        except UnfollowedError as error:
            return {"status": "unfollowed", "message": str(error)}
        except _KernelError as error:
            return {"status": "raised", "message": str(error)}
        except BROKEN as error:
            return {"status": "broken", "message": f"{type(error).__name__}: {error}"}
        return {
            "status": "returned",
            "args": list(args),
            "outputs": outputs,
            "devices": ["cpu"] * len(outputs),
            "stored": stored,
            **walk.seen(),
        }


class _KernelError(Exception):
    """A kernel raised."""


class _Walk:
    """One pass through a recipe's steps."""

    def __init__(self, recording: Callable[..., AbstractContextManager[Recording]], memory: Memory) -> None:
        self._recording = recording
        self._memory = memory
        self._work = Work()
        self._findings: dict[tuple[Any, ...], Finding] = {}
        self._host_ops: list[dict[str, Any]] = []
        self._is_order_free = True

    def follow(
        self, functions: Sequence[Any], modules: Sequence[CudaReplay], steps: Sequence[Mapping[str, Any]]
    ) -> None:
        if len(steps) > MAX_STEPS:
            raise UnfollowedError(f"more than {MAX_STEPS} steps")
        self._is_order_free &= all(function.keeps_nothing for function in functions)
        for step in steps:
            if "launch" in step:
                self._launch(functions, step)
            elif "run" in step:
                self._run(modules, step)
            elif "contents" in step:
                self._memory.put(step["make"], step["contents"])
                self._work += Work(largest_tensor_bytes=step["contents"].numel())
            elif "make" in step:
                n_filled = self._memory.make(step["make"], step["bytes"], step["dtype"], step["fill"])
                # When it is let go, a recipe doesn't say: so the most that was held at one time isn't known here.
                self._work += Work(largest_tensor_bytes=step["bytes"])
                self._note("aten.full", n_filled)
            elif "copy" in step:
                n_copied = self._memory.copy(step["copy"], step["into"])
                self._note("aten.clone", n_copied)
            else:
                self._memory.compute(step["compute"], step["into"])

    def seen(self) -> Answer:
        """Counted work, findings, and the copies and fills that host code asked for.

        And whether programs in another order would surely have come to the same: none of a launch touched memory that
        another one of it stored to, and nothing else outlasts a program.
        """
        return {
            "work": asdict(self._work),
            "findings": [asdict(finding) for finding in self._findings.values()],
            "host_ops": self._host_ops,
            "is_order_free": self._is_order_free,
        }

    def _launch(self, functions: Sequence[Any], step: Mapping[str, Any]) -> None:
        kernel, grid = numbered(step["launch"], functions), tuple(step["grid"])
        if not 1 <= len(grid) <= 3 or any(type(size) is not int or size < 0 for size in grid):
            raise ValueError(f"no grid {grid}")
        values = {name: self._argument(value, functions) for name, value in step["args"].items()}
        path = kernel.fn.__code__.co_filename
        with self._recording(path=path) as recording:
            try:
                kernel.run(grid=grid, warmup=False, **values)
            except Exception as error:
                raise _KernelError(f"{kernel.fn.__name__}: {_root(error)}") from error
            finally:
                self._take(recording)
        self._memory.mark(recording, values.values())

    def _run(self, modules: Sequence[CudaReplay], step: Mapping[str, Any]) -> None:
        """A launch of a CUDA kernel."""
        self._is_order_free = False
        module = numbered(step["run"], modules)
        values = [self._cuda_argument(value) for value in step["args"]]
        with self._recording(path=module.path) as recording:
            try:
                module.launch(step, values)
            finally:
                self._take(recording)
        self._memory.mark(recording, values)

    def _cuda_argument(self, value: Mapping[str, Any]) -> Any:
        return self._memory.tensor(value["tensor"]) if "tensor" in value else bytes.fromhex(value["bytes"])

    def _argument(self, value: Any, functions: Sequence[Any]) -> Any:
        if isinstance(value, dict) and "tensor" in value:
            return self._memory.tensor(value["tensor"])
        if isinstance(value, dict) and "tuple" in value:
            return tuple(self._argument(item, functions) for item in value["tuple"])
        if isinstance(value, dict) and "descriptor" in value:
            sizes = [[int(size) for size in value[name]] for name in DESCRIBED]
            return TensorDescriptor(self._memory.tensor(value["descriptor"]), *sizes, padding=value["padding"])
        return decoded(value, functions)

    def _take(self, recording: Recording) -> None:
        self._work += recording.work
        self._is_order_free &= recording.is_order_free
        for found in recording.findings:
            place = (found.kind, found.path, found.line, found.tensor, found.is_store)
            self._findings.setdefault(place, found)

    def _note(self, name: str, numel: int) -> None:
        if numel:
            self._host_ops.append({"name": name, "numel": numel, "path": "", "line": 0})


def _root(error: BaseException) -> str:
    while type(error).__name__ == "InterpreterError" and error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}"
