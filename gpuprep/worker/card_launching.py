"""The learner's side of a call that a card will replay: writes down which kernels it launches, and their source.

The words are those of `worker.launching`; what `worker.card_replay` makes of them runs in another process, on inputs
that this one never saw. Only the call that is written down is slower for it: nothing is hooked while calls are timed.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from triton.runtime.jit import JITFunction

from gpuprep.cuda.arguments import check_launch, prepared
from gpuprep.cuda.emulated import Launch
from gpuprep.cuda.module import Kernel
from gpuprep.worker.launching import Trail


@contextmanager
def following_on_card(args: Sequence[Any]) -> Iterator[Trail]:
    """Writes down what happens until the block is left.

    Args:
        args: the arguments of the call that is about to be made, on the card.
    """
    trail = Trail(args, "cuda")
    stream = torch.cuda.current_stream()
    run, call, replay = JITFunction.run, Kernel.__call__, torch.cuda.CUDAGraph.replay

    def refuse(what: str) -> None:
        trail.why_not = trail.why_not or what

    def run_followed(kernel: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> Any:
        if warmup:
            return run(kernel, *args, grid=grid, warmup=warmup, **kwargs)
        if torch.cuda.current_stream() != stream:
            refuse("kernels are launched on several streams")
        with trail.launching(kernel, args, kwargs):
            trail.note_grid(grid_sizes(grid, kernel, args, kwargs))
            return run(kernel, *args, grid=grid, warmup=warmup, **kwargs)

    def call_followed(kernel: Kernel, grid: Any, block: Any, args: Any, **options: Any) -> None:
        launch = _cuda_launch(kernel, grid, block, args, options.get("shared_mem", 0))
        own = options.get("stream") or stream
        if torch.cuda.current_stream() != stream or getattr(own, "cuda_stream", None) != stream.cuda_stream:
            refuse("kernels are launched on several streams")
        if kernel.is_cooperative:
            refuse("a cooperative launch")
        with trail.launching_cuda(launch):
            call(kernel, grid, block, args, **options)

    def replay_followed(graph: torch.cuda.CUDAGraph) -> None:
        refuse("a CUDA graph is replayed, whose launches nobody sees")
        replay(graph)

    with ExitStack() as stack:
        for owner, name, function in (
            (JITFunction, "run", run_followed),
            (Kernel, "__call__", call_followed),
            (torch.cuda.CUDAGraph, "replay", replay_followed),
        ):
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, function)
        with trail.watching():
            yield trail
    if not trail.has_launches:
        refuse("no launch of its kernels was seen")


def grid_sizes(grid: Any, kernel: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[int]:
    """Programs along x, y and z, from a tuple or from a function of the kernel's arguments."""
    if callable(grid):
        known = {name: value for name, value in kwargs.items() if name in kernel.arg_names}
        bound = inspect.signature(kernel.fn).bind(*args, **known)
        bound.apply_defaults()
        grid = grid(dict(bound.arguments))
    sizes = [int(size) for size in (grid if isinstance(grid, tuple | list) else (grid,))]
    return [*sizes, *[1] * (3 - len(sizes))]


def _cuda_launch(kernel: Kernel, grid: Any, block: Any, args: Any, shared_bytes: int) -> Launch:
    full_grid, full_block = check_launch(kernel.name, grid, block, shared_bytes, kernel.max_dynamic_shared_size_bytes)
    values = prepared(kernel.name, args, kernel.declared)
    return Launch(kernel.source, kernel.name, full_grid, full_block, values, int(shared_bytes))
