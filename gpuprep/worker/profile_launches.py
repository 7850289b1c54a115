"""Which kernels a call launches, and what compiling them came to: written down as they are launched.

Triton's launches can be made dry: then each kernel is compiled for a named target and not run, for which neither a card
nor real memory is needed. Tensors may then lie on `meta`, at the sizes that are timed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from gpuprep.cuda.module import Kernel
from gpuprep.worker.card_launching import grid_sizes
from gpuprep.worker.profile_assembler import AssemblerError, Resources, as_dict, assembled

Note = dict[str, Any]
MAX_KERNELS = 200
"""Distinct kernels of one call that are told of."""
MAX_TEXT = 300
_WARP = 32


class Launches:
    """What was launched, each distinct kernel and grid once."""

    def __init__(self) -> None:
        self.notes: list[Note] = []
        self._seen: dict[Any, Note] = {}
        self._resources: dict[int, Resources | str] = {}
        self._kept: list[Any] = []

    def note_triton(self, kernel: Any, grid: Any, args: Sequence[Any], kwargs: Mapping[str, Any], made: Any) -> None:
        """A launch of a Triton kernel.

        Args:
            kernel: the JITFunction.
            grid: as the launcher gave it.
            args: positional ones.
            kwargs: keyword ones, options among them.
            made: what was compiled.
        """
        sizes = grid_sizes(grid, kernel, args, kwargs)
        metadata = made.metadata
        key = (id(made), tuple(sizes))
        if not self._is_new(key):
            return
        self._kept.append(made)
        resources = self._assembled(made)
        constants = {
            kernel.arg_names[path[0]]: str(value)[:MAX_TEXT]
            for path, value in made.src.constants.items()
            if len(path) == 1 and kernel.params[path[0]].is_constexpr and isinstance(value, bool | int | float | str)
        }
        known = resources if isinstance(resources, Resources) else None
        self._add(
            key,
            {
                "kernel": kernel.fn.__name__,
                "path": kernel.fn.__code__.co_filename,
                "line": kernel.fn.__code__.co_firstlineno,
                "grid": sizes,
                "threads": _WARP * int(metadata.num_warps),
                "stages": int(metadata.num_stages),
                "shared_bytes": int(metadata.shared) + (known.shared_bytes if known else 0),
                "constants": constants,
                "why_not": resources if isinstance(resources, str) else "",
                **as_dict(known),
            },
        )

    def note_cuda(self, kernel: Any, grid: Sequence[int], block: Sequence[int], shared_bytes: int) -> None:
        """A launch of a CUDA kernel on a card."""
        key = (kernel.name, tuple(grid), tuple(block), shared_bytes)
        if not self._is_new(key):
            return
        n_threads = 1
        for size in block:
            n_threads *= int(size)
        attributes = kernel._module.compiled.kernel(kernel.name).attributes  # noqa: SLF001  CuPy's, which it wraps
        self._add(
            key,
            {
                "kernel": kernel.name,
                "path": kernel.source.path,
                "line": 0,
                "grid": [*map(int, grid), *[1] * (3 - len(grid))],
                "threads": n_threads,
                "stages": None,
                "shared_bytes": int(attributes["shared_size_bytes"]) + int(shared_bytes),
                "constants": {},
                "why_not": "",
                "registers": int(attributes["num_regs"]),
                # The driver tells local memory as one: spills, and arrays that are indexed at run time.
                "spill_bytes": None,
                "stack_bytes": int(attributes["local_size_bytes"]),
            },
        )

    def _is_new(self, key: Any) -> bool:
        if key in self._seen:
            self._seen[key]["launches"] += 1
            return False
        return len(self.notes) < MAX_KERNELS

    def _add(self, key: Any, note: Note) -> None:
        self._seen[key] = {**note, "launches": 1, "configurations": 0}
        self.notes.append(self._seen[key])

    def note_tuned(self, n_before: int, n_configurations: int) -> None:
        """What was noted since is the first of so many configurations of a tuner."""
        for note in self.notes[n_before:]:
            note["configurations"] = max(note["configurations"], n_configurations)

    def _assembled(self, made: Any) -> Resources | str:
        """What a compiled kernel takes, or why nobody knows."""
        if id(made) not in self._resources:
            try:
                ptx = made.asm["ptx"]
                (resources,) = assembled(ptx, _ptxas(made.metadata.target.arch)).values()
                self._resources[id(made)] = resources
            except (AssemblerError, KeyError, ValueError, AttributeError, RuntimeError) as error:
                self._resources[id(made)] = f"{error}"[:MAX_TEXT]
        return self._resources[id(made)]


@contextmanager
def noted(*, is_dry: bool = False) -> Iterator[Launches]:
    """Writes launches down until the block is left.

    Args:
        is_dry: compile Triton's kernels and don't run them; a tuner takes its first configuration.
    """
    from triton.runtime.autotuner import Autotuner
    from triton.runtime.jit import JITFunction

    launches = Launches()
    originals = (JITFunction.run, Autotuner.run, Autotuner._bench, Kernel.__call__)  # noqa: SLF001  no public hook
    run, tune, _, call = originals

    def run_noted(kernel: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> Any:
        made = run(kernel, *args, grid=grid, warmup=warmup or is_dry, **kwargs)
        if made is not None and not warmup and not tuning:
            launches.note_triton(kernel, grid, args, kwargs, made)
        return made

    tuning: list[None] = []

    def tune_noted(tuner: Any, *args: Any, **kwargs: Any) -> Any:
        n_before = len(launches.notes)
        made = tune(tuner, *args, **kwargs)
        if is_dry:
            launches.note_tuned(n_before, len(tuner.configs))
        return made

    def bench(tuner: Any, *args: Any, **kwargs: Any) -> Any:
        if is_dry:
            return [1.0, 1.0, 1.0]
        tuning.append(None)
        try:
            return originals[2](tuner, *args, **kwargs)
        finally:
            tuning.pop()

    def call_noted(
        kernel: Kernel, grid: Any, block: Any, args: Any, *, shared_mem: int = 0, stream: Any = None
    ) -> None:
        call(kernel, grid, block, args, shared_mem=shared_mem, stream=stream)
        if torch.cuda.is_available():
            launches.note_cuda(kernel, grid, block, shared_mem)

    _hook(JITFunction, "run", run_noted)
    _hook(Autotuner, "run", tune_noted)
    _hook(Autotuner, "_bench", bench)
    _hook(Kernel, "__call__", call_noted)
    try:
        yield launches
    finally:
        for owner, name, original in zip(
            (JITFunction, Autotuner, Autotuner, Kernel), ("run", "run", "_bench", "__call__"), originals, strict=True
        ):
            _hook(owner, name, original)


def _hook(owner: Any, name: str, function: Callable[..., Any]) -> None:
    setattr(owner, name, function)


def _ptxas(architecture: int) -> str:
    """The assembler that Triton brings along, or uses."""
    from triton.backends.nvidia.compiler import get_ptxas

    return str(get_ptxas(architecture).path)
