"""One launch: the shared file is filled, the program runs on it, and what it wrote is taken back."""

from __future__ import annotations

import ctypes
import os
import select
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gpuprep.counters.cuda_emulator import layout as shared
from gpuprep.counters.cuda_emulator.arena import Buffer, Bytes, Plan, SharedFile, storages
from gpuprep.counters.cuda_emulator.signatures import Kernel


class LaunchError(Exception):
    """The program that runs the kernel broke down: no fault of the kernel that could be told."""


@dataclass(frozen=True)
class DeviceVariable:
    """A `__device__` or `__constant__` variable of a program."""

    name: str
    address: int
    n_bytes: int
    is_constant: bool

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class ProgramLayout:
    """What a launch must know of a program besides the program itself."""

    kernels: tuple[Kernel, ...]
    static_shared_bytes: int
    shared_arrays: tuple[tuple[str, int, int], ...]
    """Name, offset and bytes."""
    dynamic_shared: str
    """What the `extern __shared__` array is called; empty where there is none."""
    variables: tuple[DeviceVariable, ...]
    loops: tuple[tuple[int, int], ...]
    functions: tuple[tuple[int, int], ...]
    lines: Mapping[int, int]
    """Return address → line of the learner's source."""
    arrays: Mapping[int, Sequence[str]]
    """Line → the arrays of a fixed size that it indexes."""
    source: str
    shared_of_functions: Mapping[str, int]
    """Bytes of shared arrays of a fixed size, by the function that declares them; those of none are in all."""

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ProgramLayout:
        return cls(
            tuple(Kernel.from_json(kernel) for kernel in values["kernels"]),
            values["static_shared_bytes"],
            tuple((name, offset, n_bytes) for name, offset, n_bytes in values["shared"]),
            values["dynamic_shared"],
            tuple(DeviceVariable(**variable) for variable in values["variables"]),
            tuple((header, end) for header, end in values["loops"]),
            tuple((entry, end) for entry, end in values["functions"]),
            dict(values["lines"]),
            dict(values["arrays"]),
            values["source"],
            dict(values["shared_of_functions"]),
        )


@dataclass
class Launch:
    """One launch's part of the shared file."""

    layout: ProgramLayout
    spec: shared.LaunchSpec
    file: SharedFile
    buffers: tuple[Buffer, ...]
    packed: bytes
    plan: Plan = field(default_factory=Plan)

    def fill(self, values: bytes | None) -> None:
        """Lays the file out and writes everything that the program reads."""
        plan, spec = self.plan, self.spec
        plan.add("spec", len(bytes(spec)))
        spec.result_offset = plan.add("result", ctypes.sizeof(shared.LaunchResult))
        tables = {
            "arguments": self.packed,
            "objects": b"".join(
                bytes(shared.ObjectSpec(v.address, v.n_bytes, v.is_constant)) for v in self.layout.variables
            ),
            "loops": np.array(self.layout.loops, dtype=np.uint32).tobytes(),
            "functions": np.array(self.layout.functions, dtype=np.uint32).tobytes(),
        }
        for table, content in tables.items():
            setattr(spec, f"{table}_offset", plan.add(table, len(content) + 8))
        spec.n_objects = len(self.layout.variables)
        spec.n_loops, spec.n_functions = len(self.layout.loops), len(self.layout.functions)
        spec.globals_offset = plan.add("globals", self._global_bytes() + 8)
        spec.has_globals = values is not None
        spec.n_buffers = len(self.buffers)
        self.storages = storages(self.buffers)
        valid = [buffer.valid() for buffer in self.buffers]
        specs = self._buffer_specs(valid)
        tables["buffers"] = b"".join(bytes(buffer_spec) for buffer_spec in specs)
        spec.buffers_offset = plan.add("buffers", len(tables["buffers"]) + 8)
        spec.file_bytes = plan.size
        self.file.grow(plan.size)
        view = self.file.view
        for table, content in tables.items():
            self._write(getattr(spec, f"{table}_offset"), content)
        if values is not None:
            self._write(spec.globals_offset, values)
        start = spec.result_offset
        view[start : start + ctypes.sizeof(shared.LaunchResult)] = 0
        self._write(0, bytes(spec))
        for buffer, buffer_spec, mask in zip(self.buffers, specs, valid, strict=True):
            view[buffer_spec.file_offset :][: buffer.n_bytes] = buffer.memory()
            view[buffer_spec.written_offset :][: buffer.n_bytes] = 0
            if mask is not None:
                view[buffer_spec.valid_offset :][: mask.size] = mask

    def _buffer_specs(self, valid: Sequence[Bytes | None]) -> list[shared.BufferSpec]:
        specs = []
        for at, (buffer, storage, mask) in enumerate(zip(self.buffers, self.storages, valid, strict=True)):
            specs.append(
                shared.BufferSpec(
                    file_offset=self.plan.add(("storage", storage), buffer.n_bytes, alignment=4096),
                    n_bytes=buffer.n_bytes,
                    low=buffer.low,
                    high=max(buffer.high, buffer.low),
                    valid_offset=0 if mask is None else self.plan.add(("valid", at), mask.size),
                    written_offset=self.plan.add(("written", storage), buffer.n_bytes),
                    element_bytes=buffer.element_bytes,
                    storage=storage,
                )
            )
        self._specs = specs
        return specs

    def _write(self, offset: int, content: bytes) -> None:
        self.file.view[offset : offset + len(content)] = np.frombuffer(content, dtype=np.uint8)

    def _global_bytes(self) -> int:
        return sum(variable.n_bytes for variable in self.layout.variables)

    def globals(self) -> bytes | None:
        """The device variables after the launch; None where there are none, or it did not end well."""
        n_bytes = self._global_bytes()
        if not n_bytes or shared.STATES[self.result.state] != "done":
            return None
        return self.file.view[self.spec.globals_offset :][:n_bytes].tobytes()

    def run(self, executable: Path, time_limit_s: float) -> None:
        """Runs the program on the file.

        Raises:
            LaunchError: it neither ended well nor told why.
        """
        # The program watches its own processor time; this only guards against one that doesn't run at all.
        status = _run(executable, self.file.descriptor, 20.0 + 20.0 * time_limit_s)
        offset = self.spec.result_offset
        n_bytes = ctypes.sizeof(shared.LaunchResult)
        self.result = shared.LaunchResult.from_buffer_copy(self.file.view[offset : offset + n_bytes].tobytes())
        state = shared.STATES[self.result.state]
        if state == "out_of_memory":
            raise LaunchError("the emulator could not get the memory that this launch needs")
        if status != 0 or state in ("never_ran", "bad_request"):
            raise LaunchError(
                f"the emulator broke down (state {state}, exit status {status}): please report the kernel"
            )

    def copy_back(self) -> tuple[Bytes | None, ...]:
        """Copies storages back that were stored to; returns which bytes were."""
        view = self.file.view
        masks: dict[int, Bytes | None] = {}
        for buffer, spec, storage in zip(self.buffers, self._specs, self.storages, strict=True):
            if storage in masks:
                continue
            mask = view[spec.written_offset :][: buffer.n_bytes]
            masks[storage] = mask.copy() if mask.any() else None
            if masks[storage] is not None:
                buffer.memory()[:] = view[spec.file_offset :][: buffer.n_bytes]
        return tuple(masks[storage] for storage in self.storages)


def _run(executable: Path, descriptor: int, patience_s: float) -> int:
    """Runs the program on a file; returns its exit status.

    Raises:
        LaunchError: it can't be started, or didn't end in time.
    """
    # The end of a pipe that only the program holds tells at once when it has ended.
    ended, held = os.pipe()
    try:
        process = subprocess.Popen(
            [str(executable), str(descriptor), str(os.getpid())],
            pass_fds=(descriptor, held),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={},
        )
    except OSError as error:
        os.close(ended)
        raise LaunchError(f"the kernel's program can't be started: {error}") from error
    finally:
        os.close(held)
    has_ended = False
    try:
        poll = select.poll()
        poll.register(ended, select.POLLIN)
        has_ended = bool(poll.poll(patience_s * 1000))
    finally:
        os.close(ended)
        if not has_ended:
            process.kill()
        process.wait()
    if not has_ended:
        raise LaunchError(f"the emulator got no further in {patience_s:.0f} s; nothing is known of the kernel")
    return process.returncode
