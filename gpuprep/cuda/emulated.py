"""Kernels without a GPU: run by the emulator, their work counted and their faults found.

Inside a worker's call, what a launch did goes into the recording that is running. By hand, a fault is an exception.
"""

from __future__ import annotations

import sys
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from gpuprep.counters.cuda_emulator import (
    Buffer,
    CompileError,
    Launched,
    LaunchError,
    Parameter,
    Pointer,
    Program,
    ToolchainError,
    UnsupportedFeatureError,
    build,
    why_unsupported,
)
from gpuprep.counters.cuda_emulator.source_scan import kernels, tokens
from gpuprep.counters.extents import Extent
from gpuprep.counters.findings import RACE, UNINITIALISED, Finding, KernelFault
from gpuprep.counters.recording import Recording, Site, extent_of, running
from gpuprep.cuda.arguments import Value
from gpuprep.cuda.errors import BackEndMissingError, CudaCompileError, KernelFaultError, KernelWarning
from gpuprep.cuda.signature import Declared

if TYPE_CHECKING:
    from gpuprep.cuda.module import Source

LAUNCH_LIMIT_S = 10.0
"""How long one launch may take in a check: well under the check's own limit, so that an endless loop is told by its
line."""
LIMIT_BY_HAND_S = 60.0
_GOES_ON = (RACE, UNINITIALISED)
"""Faults after which a kernel still ends, and what it stored can be judged."""
_SUMMED = (
    *("bytes_loaded", "bytes_stored", "sectors_loaded", "sectors_stored", "load_requests", "store_requests"),
    *("shared_requests", "shared_wavefronts", "bank_conflicts", "atomics", "barriers"),
    *("threads", "mma"),
)
_TURNS = threading.RLock()
"""Launches from several threads take turns, as those of Triton's interpreter do."""


@dataclass(frozen=True)
class Launch:
    """A launch that is about to run, for those who follow what a call does."""

    source: Source
    kernel: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    values: Sequence[Value]
    shared_bytes: int
    where: tuple[str, int] = ("", 0)
    """File and line of the call that launches."""


Follower = Callable[[Launch], AbstractContextManager[None]]
followers: list[Follower] = []
"""Each is entered around every launch."""


class EmulatedModule:
    """A module as the emulator builds it, once, when a kernel is first asked for."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._problem: CudaCompileError | BackEndMissingError | None = None

    @cached_property
    def program(self) -> Program:
        """The built program.

        Raises:
            CudaCompileError: the source doesn't compile.
            BackEndMissingError: there is no compiler here, or the source uses what only a GPU has.
        """
        if self._problem is None:
            try:
                return self._built()
            except (CudaCompileError, BackEndMissingError) as error:
                self._problem = error
        # Once is enough to be told.
        raise self._problem.with_traceback(None)

    def _built(self) -> Program:
        source = self._source
        if why := why_unsupported():
            raise BackEndMissingError(f"no GPU, and kernels can't be run without one here: {why}")
        try:
            return build(
                source.code, options=source.options, name_expressions=source.name_expressions, path=source.path
            )
        except UnsupportedFeatureError as error:
            raise BackEndMissingError(error.message, source.path, error.line) from None
        except ToolchainError as error:
            raise BackEndMissingError(str(error), source.path) from error
        except CompileError as error:
            raise CudaCompileError(error.message, source.path, error.line, error.log) from None

    def parameters(self, name: str) -> tuple[Parameter, ...]:
        """What a kernel takes.

        Raises:
            AttributeError: there is no such kernel.
        """
        try:
            parameters = self.program.functions[name]
        except KeyError:
            there = ", ".join(sorted(self.program.functions)) or "none"
            raise AttributeError(
                f'the source has no kernel {name} (it has {there}): is it `extern "C" __global__`, or a template that '
                "name_expressions should name?"
            ) from None
        if name not in self._source.name_expressions and name in self._hidden:
            raise AttributeError(
                f'kernel {name} lacks `extern "C"`: a GPU\'s compiler gives it a longer name, by which it is not found'
            )
        return parameters

    @cached_property
    def _hidden(self) -> frozenset[str]:
        return frozenset(kernel.name for kernel in kernels(tokens(self._source.code)) if not kernel.is_exported)

    def merged(self, name: str, declared: Sequence[Declared] | None) -> list[Declared]:
        """The parameters as the compiler laid them out, in the source's words where those are known."""
        parameters = self.parameters(name)
        if declared is None or len(declared) != len(parameters):
            return [
                Declared(parameter.name, parameter.kind, parameter.kind, parameter.n_bytes) for parameter in parameters
            ]
        return [
            replace(known, name=parameter.name or known.name, kind=parameter.kind, n_bytes=parameter.n_bytes)
            for known, parameter in zip(declared, parameters, strict=True)
        ]

    def launch(
        self,
        name: str,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        values: Sequence[Value],
        *,
        shared_bytes: int = 0,
        where: tuple[str, int] = ("", 0),
    ) -> None:
        """Run it to its end.

        Raises:
            KernelFault: in a recorded call, a fault after which it can't go on.
            KernelFaultError: by hand, any fault.
        """
        launch = Launch(self._source, name, grid, block, values, shared_bytes, where)
        with _TURNS, ExitStack() as stack:
            for follower in followers:
                stack.enter_context(follower(launch))
            recording = running()
            if recording is not None and recording.stopped_by is not None:
                raise KernelFault(recording.stopped_by)
            _Run(self.program, self.parameters(name), launch, recording).run()


class _Run:
    """One launch: its tensors' memory, and what becomes of what the emulator says."""

    def __init__(
        self, program: Program, parameters: Sequence[Parameter], launch: Launch, recording: Recording | None
    ) -> None:
        self._program = program
        self._launch = launch
        self._recording = recording
        self._storages: list[torch.UntypedStorage] = []
        self._buffers: list[Buffer] = []
        self._arguments: list[bytes | Pointer] = []
        names = [parameter.name or f"argument {place}" for place, parameter in enumerate(parameters, start=1)]
        self._lay_out(list(zip(names, launch.values, strict=True)))

    def run(self) -> None:
        if self._recording is not None:
            self._recording.launches += 1
        launched = self._launched()
        if launched.output:
            # The kernel's own printf: its place is among what the learner's code prints.
            sys.stdout.write(launched.output)
        if self._recording is None:
            _tell(launched.findings)
        else:
            self._record(launched, self._recording)

    def _launched(self) -> Launched:
        launch = self._launch
        try:
            return self._program.launch(
                launch.kernel,
                launch.grid,
                launch.block,
                self._arguments,
                shared_bytes=launch.shared_bytes,
                buffers=self._buffers,
                reverse=self._recording is not None and self._recording.is_reversed,
                time_limit_s=self._limit_s(),
            )
        except (LaunchError, ToolchainError) as error:
            # Not the kernel's doing: what can't be emulated was not graded.
            raise BackEndMissingError(str(error), launch.source.path) from error

    def _limit_s(self) -> float:
        if self._recording is None:
            return LIMIT_BY_HAND_S
        if self._recording.ends_by is None:
            return LAUNCH_LIMIT_S
        return max(0.1, min(LAUNCH_LIMIT_S, self._recording.ends_by - time.monotonic()))

    def _lay_out(self, named: Sequence[tuple[str, Value]]) -> None:
        for name, value in named:
            if isinstance(value, torch.Tensor):
                storage = value.untyped_storage()
                offset = int(value.storage_offset()) * value.element_size()
                self._arguments.append(Pointer(len(self._buffers), offset))
                self._buffers.append(Buffer(name, storage.data_ptr(), storage.nbytes(), self._extent(name, value)))
                self._storages.append(storage)
            else:
                self._arguments.append(value if isinstance(value, bytes) else value.tobytes())

    def _extent(self, name: str, tensor: torch.Tensor) -> Extent:
        """What a kernel may touch of a storage: the tensor's logical elements."""
        if tensor.numel() == 0:
            # Torch says that an empty tensor lies at address 0; a kernel gets its storage's all the same.
            storage = tensor.untyped_storage()
            base = storage.data_ptr() + int(tensor.storage_offset()) * tensor.element_size()
            return Extent(name, base, tensor.shape, tensor.stride(), tensor.element_size(), storage.data_ptr())
        extent = extent_of(name, tensor)
        limits = self._recording.limits(extent) if self._recording else ()
        # No view of an input reaches further than the input.
        return _named(limits[0], name) if limits else extent

    def _record(self, launched: Launched, recording: Recording) -> None:
        counts = launched.counts
        for figure in _SUMMED:
            setattr(recording, figure, getattr(recording, figure) + getattr(counts, figure))
        recording.programs += counts.blocks
        recording.dot_flops += counts.mma_flops
        n_static = self._program.static_shared_bytes_of(self._launch.kernel)
        recording.shared_bytes += counts.blocks * (n_static + self._launch.shared_bytes)
        launch = recording.sites.setdefault((*self._launch.where, "launch"), Site(*self._launch.where, "launch"))
        launch.requests += 1
        path = self._launch.source.path
        for row in counts.sites:
            site = recording.sites.setdefault((path, row.line, row.kind), Site(path, row.line, row.kind))
            site.requests += row.requests
            site.sectors += row.sectors
            site.wavefronts += row.wavefronts
        for storage, written in zip(self._storages, launched.written, strict=True):
            if written is not None:
                recording.mark_bytes(storage, written)
        for finding in launched.findings:
            recording.note(finding)
        last = next((f for f in launched.findings if f.severity == "error" and f.kind not in _GOES_ON), None)
        if last is not None:
            recording.stopped_by = last
            raise KernelFault(last)


def _tell(findings: Sequence[Finding]) -> None:
    """What a launch by hand comes to."""
    # What ended the kernel, or a barrier that some missed, explains the races beside it.
    for finding in sorted(findings, key=lambda finding: finding.kind in _GOES_ON):
        if finding.severity == "error":
            raise KernelFaultError(finding)
    for finding in findings:
        # Named at the line that called the kernel: this function, run, launch and __call__ are ours.
        warnings.warn(str(KernelFaultError(finding)), KernelWarning, stacklevel=5)


def _named(extent: Extent, name: str) -> Extent:
    return Extent(name, extent.low, extent.shape, extent.strides, extent.itemsize, extent.storage)
