"""CUDA launches done again by the counting worker: from source text, in the emulator, whose program it builds itself.

The emulator lets a kernel call nothing but the device language, so that a program made from a learner's text counts
what it does and can do nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from gpuprep.cuda.emulated import EmulatedModule
from gpuprep.cuda.errors import BackEndMissingError, CudaCompileError
from gpuprep.cuda.module import Source
from gpuprep.worker.sandbox import MAX_SOURCE, UnfollowedError


class CudaReplay:
    """One module of a recipe. Its device variables begin anew with every replay.

    Args:
        described: `code`, `options`, `name_expressions` and `path`.
    """

    def __init__(self, described: Mapping[str, Any]) -> None:
        source = described_source(described)
        self.path = source.path
        self._module = EmulatedModule(source)

    def launch(self, step: Mapping[str, Any], values: Sequence[torch.Tensor | bytes]) -> None:
        """Run one of its kernels under the recording that is going on.

        Raises:
            KernelFault: a fault that ends the call.
            UnfollowedError: the source can't be built or run here.
        """
        grid, block = sizes_of(step["grid"]), sizes_of(step["block"])
        kernel, shared_bytes = step["kernel"], step["shared_bytes"]
        if type(kernel) is not str or type(shared_bytes) is not int:
            raise TypeError("a launch without a kernel")
        try:
            n_parameters = len(self._module.parameters(kernel))
            if len(values) != n_parameters:
                raise ValueError(f"{len(values)} arguments for {n_parameters} parameters")
            self._module.launch(kernel, grid, block, values, shared_bytes=shared_bytes)
        except (BackEndMissingError, CudaCompileError) as error:
            raise UnfollowedError(str(error)) from error


def modules_of(described: Sequence[Mapping[str, Any]]) -> tuple[CudaReplay, ...]:
    """The modules of a recipe; none is built before it is launched from.

    Raises:
        UnfollowedError: one of them is too large.
        KeyError, TypeError: no honest worker describes one so.
    """
    return tuple(CudaReplay(module) for module in described)


def described_source(described: Mapping[str, Any]) -> Source:
    """What a module of a recipe is made from.

    Args:
        described: `code`, `options`, `name_expressions` and `path`.

    Raises:
        UnfollowedError: it is too large.
        KeyError, TypeError: no honest worker describes one so.
    """
    code, path = described["code"], described["path"]
    options, names = described["options"], described["name_expressions"]
    if not all(isinstance(text, str) for text in (code, path, *options, *names)):
        raise TypeError("a module without its text")
    if len(code) > MAX_SOURCE:
        raise UnfollowedError(f"{len(code)} characters of source text")
    return Source(code, tuple(options), tuple(names), path)


def sizes_of(given: Any) -> tuple[int, int, int]:
    """Sizes along x, y and z, as a recipe has them.

    Raises:
        TypeError, ValueError: they are none.
    """
    x, y, z = given
    if not all(type(size) is int for size in (x, y, z)):
        raise TypeError(f"no sizes: {given!r}")
    return x, y, z
