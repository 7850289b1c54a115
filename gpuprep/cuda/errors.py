"""What goes wrong around a kernel. Inside a worker its faults are findings; by hand they are exceptions."""

from __future__ import annotations

from pathlib import Path

from gpuprep.counters.findings import Finding


class BackEndMissingError(Exception):
    """There is nothing to run the kernel with here: no compiler, no CuPy, or a feature that only a GPU has."""

    def __init__(self, message: str, path: str = "", line: int = 0) -> None:
        super().__init__(_at(message, path, line))
        self.path = path
        self.line = line


class CudaCompileError(Exception):
    """The source doesn't compile.

    Args:
        message: the compiler's first error.
        path: the `.cu`; empty where the source came from somewhere else.
        line: of the source, 1-based; 0 where unknown.
        log: all that the compiler said.
    """

    def __init__(self, message: str, path: str = "", line: int = 0, log: str = "") -> None:
        super().__init__(_at(message, path, line))
        self.path = path
        self.line = line
        self.log = log


class KernelFaultError(RuntimeError):
    """A kernel did something that corrupts memory, hangs or gives chance results on a GPU."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(f"{_at(finding.message, finding.path, finding.line)} (kernel {finding.kernel})")
        self.finding = finding


class KernelWarning(UserWarning):
    """A kernel did something that works today and need not work tomorrow."""


def _at(message: str, path: str, line: int) -> str:
    """`ex_16_transpose.cu:12: message`."""
    place = [part for part in (Path(path).name if path else "", f"{line}" if line and path else "") if part]
    if not path and line:
        place = [f"line {line}"]
    return f"{':'.join(place)}: {message}" if place else message
