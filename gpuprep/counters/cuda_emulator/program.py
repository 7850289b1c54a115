"""A compiled kernel file: its kernels and their parameters, and how one is launched."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from gpuprep.counters.cuda_emulator import layout as shared
from gpuprep.counters.cuda_emulator.arena import Buffer, Bytes, Plan, SharedFile, shared_file, storages
from gpuprep.counters.cuda_emulator.machine_code import lines_of
from gpuprep.counters.cuda_emulator.messages import Context, finding_of
from gpuprep.counters.cuda_emulator.source_scan import KernelDeclaration
from gpuprep.counters.findings import Finding

DEFAULT_TIME_LIMIT_S = 10.0
MAX_THREADS_A_BLOCK = 1024
MAX_SHARED_BYTES = 227 * 1024
_BLOCK_LIMITS = (1024, 1024, 64)
_GRID_LIMITS = (2**31 - 1, 65535, 65535)
_MAX_OS_THREADS = 64
_KINDS = {"p": "pointer", "i": "int", "u": "uint", "f": "float", "s": "struct"}


class LaunchError(Exception):
    """The program that runs the kernel broke down: no fault of the kernel that could be told."""


class ArgumentError(TypeError):
    """The arguments of a launch don't fit the kernel's parameters."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a kernel, as the compiler has it."""

    name: str
    kind: str
    """`pointer`, `int`, `uint`, `float`, or `struct` for anything else."""
    n_bytes: int
    element_bytes: int
    """Of what a pointer leads to; 0 where there is none, and for `void*`."""
    is_const: bool
    """A pointer to what the kernel only reads."""
    offset: int = 0
    """In the kernel's argument block."""


@dataclass(frozen=True)
class Kernel:
    """A kernel of a program."""

    name: str
    argument_bytes: int
    parameters: tuple[Parameter, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Kernel:
        parameters = tuple(Parameter(**parameter) for parameter in values["parameters"])
        return cls(values["name"], values["argument_bytes"], parameters)


def kernels_of(described: str, declared: Sequence[KernelDeclaration]) -> list[Kernel]:
    """The kernels that a program says it has, with the parameter names that its source gives them."""
    by_name = {declaration.name: declaration for declaration in declared}
    kernels = []
    for row in described.splitlines():
        name, n_bytes, fields = row.split("\t")
        rows = [field.split(",") for field in fields.split(";") if field]
        declaration = by_name.get(name) or by_name.get(name.split("<")[0].strip())
        names = declaration.parameters if declaration else ()
        if len(names) != len(rows):
            names = ("",) * len(rows)
        parameters = [
            Parameter(text or f"argument {at}", _KINDS[kind], int(size), int(element), const == "1", int(offset))
            for at, (text, (kind, size, offset, element, const)) in enumerate(zip(names, rows, strict=True))
        ]
        kernels.append(Kernel(name, int(n_bytes), tuple(parameters)))
    return kernels


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
    variables: tuple[DeviceVariable, ...]
    loops: tuple[tuple[int, int], ...]
    functions: tuple[tuple[int, int], ...]
    lines: Mapping[int, int]
    """Return address → line of the learner's source."""
    source: str

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ProgramLayout:
        return cls(
            tuple(Kernel.from_json(kernel) for kernel in values["kernels"]),
            values["static_shared_bytes"],
            tuple((name, offset, n_bytes) for name, offset, n_bytes in values["shared"]),
            tuple(DeviceVariable(**variable) for variable in values["variables"]),
            tuple((header, end) for header, end in values["loops"]),
            tuple((entry, end) for entry, end in values["functions"]),
            dict(values["lines"]),
            values["source"],
        )


@dataclass(frozen=True)
class Pointer:
    """An argument: an address inside a buffer of the launch, or null where `buffer_index` is None."""

    buffer_index: int | None
    offset_bytes: int = 0


@dataclass(frozen=True)
class SiteCounts:
    """What one line of a kernel asked of memory."""

    line: int
    kind: str
    """`load`, `store`, `shared_load`, `shared_store`, `atomic` or `shared_atomic`."""
    requests: int
    n_bytes: int
    sectors: int
    wavefronts: int
    least_wavefronts: int
    """Wavefronts of as many requests without bank conflicts."""


@dataclass(frozen=True)
class Counts:
    """Source-level warp requests of a launch, and what they came to. Totals over all warps."""

    bytes_loaded: int = 0
    bytes_stored: int = 0
    sectors_loaded: int = 0
    sectors_stored: int = 0
    """Distinct 32-byte sectors of each request, summed."""
    load_requests: int = 0
    store_requests: int = 0
    shared_requests: int = 0
    shared_wavefronts: int = 0
    bank_conflicts: int = 0
    """Wavefronts beyond the least that requests of that width need."""
    atomics: int = 0
    """Of single threads."""
    barriers: int = 0
    """Of whole blocks."""
    mma: int = 0
    """Warp-wide matrix multiply-accumulates."""
    mma_flops: int = 0
    blocks: int = 0
    threads: int = 0
    sites: tuple[SiteCounts, ...] = ()
    """By line and kind."""

    @property
    def sectors_per_load(self) -> float:
        """Sectors a load request; 0.0 where there were none."""
        return self.sectors_loaded / self.load_requests if self.load_requests else 0.0

    @property
    def sectors_per_store(self) -> float:
        """Sectors a store request; 0.0 where there were none."""
        return self.sectors_stored / self.store_requests if self.store_requests else 0.0


@dataclass(frozen=True)
class Launched:
    """What a launch did."""

    counts: Counts
    findings: tuple[Finding, ...]
    output: str
    """What the kernel printed."""
    written: tuple[Bytes | None, ...]
    """For each buffer 1 for every byte of its storage that was stored to; None where none was."""
    seconds: float
    """Of running the kernel, without copies and start."""
    is_complete: bool = True
    """False where a fault ended the launch early."""


class Program:
    """A compiled `.cu`. Its device variables keep their values from launch to launch, as a loaded module's do.

    Args:
        executable: the program.
        layout: what is known of it.
        path: of the source, for messages.
    """

    def __init__(self, executable: Path, layout: ProgramLayout, path: str) -> None:
        self.path = path
        self._executable = executable
        self._layout = layout
        self._kernels = {kernel.name: kernel for kernel in layout.kernels}
        self._lines = dict(layout.lines)
        self._globals: bytes | None = None

    @property
    def functions(self) -> Mapping[str, tuple[Parameter, ...]]:
        """The parameters of each kernel."""
        return MappingProxyType({name: kernel.parameters for name, kernel in self._kernels.items()})

    @property
    def static_shared_bytes(self) -> int:
        """Bytes of `__shared__` arrays of a fixed size, over all kernels of the file."""
        return self._layout.static_shared_bytes

    def launch(
        self,
        name: str,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        arguments: Sequence[bytes | Pointer],
        *,
        shared_bytes: int = 0,
        buffers: Sequence[Buffer] = (),
        reverse: bool = False,
        time_limit_s: float = DEFAULT_TIME_LIMIT_S,
        n_threads: int = 1,
    ) -> Launched:
        """Runs a kernel to its end, or to the first fault that a GPU would not survive.

        Args:
            name: of the kernel.
            grid: blocks in x, y, z.
            block: threads a block in x, y, z.
            arguments: one for each parameter: a pointer into a buffer, or the value's bytes.
            shared_bytes: dynamic shared memory of each block.
            buffers: what the kernel may access. Their memory is read before, and written where the kernel stored.
            reverse: run the blocks in reverse order.
            time_limit_s: processor time after which a kernel is taken to run forever.
            n_threads: threads of the operating system that share the blocks. Counts don't depend on it.

        Raises:
            KeyError: there is no such kernel.
            ArgumentError: count or width of the arguments is wrong.
            ValueError: the grid, block or shared memory is more than a GPU has.
            LaunchError: the emulator broke down.
        """
        kernel = self._kernels[name]
        packed = pack(kernel, arguments)
        _check_shape(grid, block, shared_bytes)
        if not 1 <= n_threads <= _MAX_OS_THREADS:
            raise ValueError(f"n_threads must be 1 to {_MAX_OS_THREADS}, not {n_threads}")
        if len(buffers) > shared.MAX_BUFFERS:
            raise ValueError(f"a launch takes {shared.MAX_BUFFERS} buffers at most, not {len(buffers)}")
        spec = shared.LaunchSpec(
            magic=shared.MAGIC,
            kernel=self._layout.kernels.index(kernel),
            grid=tuple(grid),
            block=tuple(block),
            n_threads=min(n_threads, int(np.prod(grid))),
            is_reversed=reverse,
            dynamic_shared_bytes=shared_bytes,
            static_shared_bytes=self._layout.static_shared_bytes,
            time_limit_us=max(int(time_limit_s * 1e6), 1),
        )
        with shared_file() as file:
            launch = _Launch(self._layout, spec, file, tuple(buffers), packed)
            launch.fill(self._globals)
            launch.run(self._executable, time_limit_s)
            self._globals = launch.globals() or self._globals
            return self._launched(name, launch, shared_bytes)

    def _launched(self, name: str, launch: _Launch, shared_bytes: int) -> Launched:
        result = launch.result
        records = [result.findings[i] for i in range(result.n_findings)]
        rows = [result.sites[i] for i in range(result.n_sites)]
        self._resolve([record.here.site for record in records] + [record.other.site for record in records])
        arrays = (*self._layout.shared_arrays, ("dynamic shared memory", self._layout.static_shared_bytes, shared_bytes))
        context = Context(
            name, self.path, self._lines, launch.buffers, arrays, self._layout.variables, self._kernels[name].parameters
        )
        totals = {field: getattr(result.totals, field) for field in shared.TOTALS}
        output = result.output[: result.n_output] if result.n_output else b""
        text = bytes(output).decode("utf-8", "replace") + ("\n… (cut)\n" if result.output_is_cut else "")
        return Launched(
            Counts(**totals, sites=_site_rows(rows, self._lines)),
            tuple(finding_of(record, context) for record in records),
            text,
            launch.copy_back(),
            result.nanoseconds * 1e-9,
            shared.STATES[result.state] == "done",
        )

    def _resolve(self, sites: Sequence[int]) -> None:
        """Finds the lines of places that no call marks, such as the divisor of a division."""
        unknown = sorted({site for site in sites if site and site not in self._lines})
        self._lines.update(lines_of(self._executable, unknown, self._layout.source))
        for site in unknown:
            self._lines.setdefault(site, 0)


def _site_rows(rows: Sequence[Any], lines: Mapping[int, int]) -> tuple[SiteCounts, ...]:
    sums: dict[tuple[int, str], list[int]] = {}
    for row in rows:
        key = (lines.get(row.site, 0), shared.ROW_KINDS[row.kind])
        values = (row.requests, row.bytes, row.sectors, row.wavefronts, row.least_wavefronts)
        sums[key] = [a + b for a, b in zip(sums.get(key, [0] * len(values)), values, strict=True)]
    return tuple(SiteCounts(line, kind, *values) for (line, kind), values in sorted(sums.items()))


def pack(kernel: Kernel, arguments: Sequence[bytes | Pointer]) -> bytes:
    """The kernel's argument block.

    Raises:
        ArgumentError: count or width is wrong.
    """
    expected = ", ".join(parameter.name for parameter in kernel.parameters)
    if len(arguments) != len(kernel.parameters):
        raise ArgumentError(
            f"{kernel.name} takes {len(kernel.parameters)} arguments ({expected}), and {len(arguments)} were given"
        )
    packed = bytearray(kernel.argument_bytes)
    for parameter, argument in zip(kernel.parameters, arguments, strict=True):
        if isinstance(argument, Pointer):
            if parameter.kind != "pointer":
                raise ArgumentError(f"{parameter.name} of {kernel.name} is no pointer: give a value, not a tensor")
            address = 0
            if argument.buffer_index is not None:
                address = shared.slot_address(argument.buffer_index) + argument.offset_bytes
            value = address.to_bytes(8, "little")
        else:
            value = bytes(argument)
        if len(value) != parameter.n_bytes:
            raise ArgumentError(
                f"{parameter.name} of {kernel.name} has {parameter.n_bytes} bytes ({parameter.kind}), "
                f"and the argument has {len(value)}"
            )
        packed[parameter.offset : parameter.offset + parameter.n_bytes] = value
    return bytes(packed)


def _check_shape(grid: tuple[int, int, int], block: tuple[int, int, int], shared_bytes: int) -> None:
    for what, sizes, limits in (("grid", grid, _GRID_LIMITS), ("block", block, _BLOCK_LIMITS)):
        if len(sizes) != 3 or any(not 1 <= size <= limit for size, limit in zip(sizes, limits, strict=True)):
            raise ValueError(f"a {what} of {tuple(sizes)} can't be launched: the limits are 1 to {limits}")
    if int(np.prod(block)) > MAX_THREADS_A_BLOCK:
        raise ValueError(f"a block of {tuple(block)} has more than {MAX_THREADS_A_BLOCK} threads")
    if not 0 <= shared_bytes <= MAX_SHARED_BYTES:
        raise ValueError(f"a block has at most {MAX_SHARED_BYTES} bytes of shared memory, not {shared_bytes}")


@dataclass
class _Launch:
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
        spec.result_offset = plan.add("result", shared.ctypes.sizeof(shared.LaunchResult))
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
        view[start : start + shared.ctypes.sizeof(shared.LaunchResult)] = 0
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
        descriptor = self.file.descriptor
        command = [str(executable), str(descriptor), str(os.getpid())]
        # The program watches its own processor time; this only guards against one that doesn't run at all.
        patience_s = 20.0 + 20.0 * time_limit_s
        process = subprocess.Popen(
            command,
            pass_fds=(descriptor,),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={},
        )
        began = time.monotonic()
        try:
            status = process.wait(timeout=patience_s)
        except subprocess.TimeoutExpired as error:
            waited = time.monotonic() - began
            raise LaunchError(f"the emulator got no further in {waited:.0f} s; nothing is known of the kernel") from error
        finally:
            if process.returncode is None:
                process.kill()
                process.wait()
        offset = self.spec.result_offset
        self.result = shared.LaunchResult.from_buffer_copy(
            self.file.view[offset : offset + shared.ctypes.sizeof(shared.LaunchResult)]
        )
        state = shared.STATES[self.result.state]
        if state == "out_of_memory":
            raise LaunchError("the emulator could not get the memory that this launch needs")
        if status != 0 or state in ("never_ran", "bad_request"):
            raise LaunchError(f"the emulator broke down (state {state}, exit status {status}): please report the kernel")

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
