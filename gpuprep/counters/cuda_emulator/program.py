"""A compiled kernel file: its kernels and their parameters, and how one is launched."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gpuprep.counters.cuda_emulator import layout as shared
from gpuprep.counters.cuda_emulator.arena import Buffer, shared_file
from gpuprep.counters.cuda_emulator.counts import Counts, Launched, site_rows
from gpuprep.counters.cuda_emulator.elf import Elf
from gpuprep.counters.cuda_emulator.launching import Launch, ProgramLayout
from gpuprep.counters.cuda_emulator.machine_code import lines_of
from gpuprep.counters.cuda_emulator.messages import KINDS, Context, finding_of
from gpuprep.counters.cuda_emulator.signatures import Parameter, Pointer, check_shape, pack
from gpuprep.counters.findings import RACE, UNINITIALISED

DEFAULT_TIME_LIMIT_S = 10.0
_MAX_OS_THREADS = 64


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

    def static_shared_bytes_of(self, name: str) -> int:
        """Bytes of `__shared__` arrays of a fixed size in one kernel, and in functions that it may call."""
        sums = self._layout.shared_of_functions
        outside = sums.get("", 0)
        kernels = {_own_name(kernel) for kernel in self._kernels}
        called = sum(n_bytes - outside for function, n_bytes in sums.items() if function and function not in kernels)
        return sums.get(_own_name(name), outside) + called

    @property
    def variables(self) -> Mapping[str, int]:
        """The `__device__` and `__constant__` variables, and their sizes in bytes."""
        return MappingProxyType({variable.name: variable.n_bytes for variable in self._layout.variables})

    def read_variable(self, name: str) -> bytes:
        """The value of a device variable now.

        Raises:
            KeyError: there is no such variable.
        """
        start, n_bytes = self._place_of(name)
        return self._values()[start : start + n_bytes]

    def write_variable(self, name: str, value: bytes, offset_bytes: int = 0) -> None:
        """Sets a device variable, or a part of it, for the launches to come.

        Raises:
            KeyError: there is no such variable.
            ValueError: the value reaches beyond it.
        """
        start, n_bytes = self._place_of(name)
        if not 0 <= offset_bytes <= n_bytes - len(value):
            raise ValueError(f"{name} has {n_bytes} bytes: {len(value)} at {offset_bytes} don't fit")
        image = bytearray(self._values())
        image[start + offset_bytes : start + offset_bytes + len(value)] = value
        self._globals = bytes(image)

    def _place_of(self, name: str) -> tuple[int, int]:
        start = 0
        for variable in self._layout.variables:
            if variable.name == name:
                return start, variable.n_bytes
            start += variable.n_bytes
        raise KeyError(name)

    def _values(self) -> bytes:
        """The bytes of all variables, one after the other."""
        if self._globals is None:
            file = Elf(self._executable.read_bytes())
            self._globals = b"".join(file.read(v.address, v.n_bytes) for v in self._layout.variables)
        return self._globals

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
        check_shape(grid, block, shared_bytes)
        if not 1 <= n_threads <= _MAX_OS_THREADS:
            raise ValueError(f"n_threads must be 1 to {_MAX_OS_THREADS}, not {n_threads}")
        if len(buffers) > shared.MAX_BUFFERS:
            raise ValueError(f"a launch takes {shared.MAX_BUFFERS} buffers at most, not {len(buffers)}")
        spec = shared.LaunchSpec(
            magic=shared.MAGIC,
            kernel=self._layout.kernels.index(kernel),
            grid=tuple(grid),
            block=tuple(block),
            n_threads=min(n_threads, math.prod(grid)),
            is_reversed=reverse,
            dynamic_shared_bytes=shared_bytes,
            static_shared_bytes=self._layout.static_shared_bytes,
            time_limit_us=max(int(time_limit_s * 1e6), 1),
        )
        with shared_file() as file:
            launch = Launch(self._layout, spec, file, tuple(buffers), packed)
            launch.fill(self._globals)
            launch.run(self._executable, time_limit_s)
            self._globals = launch.globals() or self._globals
            return self._launched(name, launch, shared_bytes)

    def _launched(self, name: str, launch: Launch, shared_bytes: int) -> Launched:
        result = launch.result
        records = [result.findings[i] for i in range(result.n_findings)]
        rows = [result.sites[i] for i in range(result.n_sites)]
        self._resolve([record.here.site for record in records] + [record.other.site for record in records])
        dynamic = (self._layout.dynamic_shared, self._layout.static_shared_bytes, shared_bytes)
        arrays = (*self._layout.shared_arrays, dynamic)
        context = Context(
            name, self.path, self._lines, launch.buffers, arrays, self._layout.variables, self._layout.arrays
        )
        totals = {field: getattr(result.totals, field) for field in shared.TOTALS}
        output = result.output[: result.n_output] if result.n_output else b""
        text = bytes(output).decode("utf-8", "replace") + ("\n… (cut)\n" if result.output_is_cut else "")
        return Launched(
            Counts(**totals, sites=site_rows(rows, self._lines)),
            tuple(finding_of(record, context) for record in _told(records)),
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


def _told(records: Sequence[Any]) -> list[Any]:
    """The records worth telling, errors first.

    A read that a missing barrier lets run too early finds memory that nobody has written yet: that is the race's story.
    """
    races = {
        (place.site, record.buffer) for record in records if KINDS[record.kind] == RACE
        for place in (record.here, record.other)
    }  # fmt: skip
    told = [r for r in records if KINDS[r.kind] != UNINITIALISED or (r.here.site, r.buffer) not in races]
    return sorted(told, key=lambda record: record.severity)


def _own_name(kernel: str) -> str:
    """`scale` of `gemm::scale<float>`."""
    return kernel.partition("<")[0].rpartition("::")[2].strip()
