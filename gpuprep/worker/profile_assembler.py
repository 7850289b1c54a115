"""What the CUDA assembler says of a kernel: registers, spills, static shared memory. It needs no card."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ASSEMBLER_LIMIT_S = 120.0
_ENTRY = re.compile(r"Compiling entry function '([^']+)'")
_PROPERTIES = re.compile(r"Function properties for (\S+)")
_SPILLS = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_USED = re.compile(r"Used (\d+) registers")
_STATIC = re.compile(r"(\d+) bytes smem")
_PTX_TARGET = re.compile(r"^\.target\s+(sm_\w+)", re.MULTILINE)


class AssemblerError(Exception):
    """There is no assembler, or it refuses the kernel; the message says which."""


@dataclass(frozen=True)
class Resources:
    """What one kernel takes."""

    registers: int
    """Of a thread."""
    spill_bytes: int
    """Stored to local memory because registers didn't suffice, a thread."""
    stack_bytes: int
    """Local memory of a thread, spills included."""
    shared_bytes: int
    """Static shared memory of a block."""


def resources_in(said: str) -> dict[str, Resources]:
    """By entry function, what `ptxas -v` said."""
    found: dict[str, Resources] = {}
    entry = described = ""
    for line in said.splitlines():
        if match := _ENTRY.search(line):
            entry = match[1]
            found[entry] = Resources(0, 0, 0, 0)
        elif match := _PROPERTIES.search(line):
            described = match[1]
        elif not entry:
            continue
        elif (match := _SPILLS.search(line)) and described == entry:
            found[entry] = replace(found[entry], stack_bytes=int(match[1]), spill_bytes=int(match[2]))
        elif match := _USED.search(line):
            static = _STATIC.search(line)
            found[entry] = replace(found[entry], registers=int(match[1]), shared_bytes=int(static[1]) if static else 0)
    return found


def assembled(ptx: str, ptxas: str) -> dict[str, Resources]:
    """What the kernels in a PTX module take.

    Args:
        ptx: the module's text, which names its own target.
        ptxas: the assembler.

    Raises:
        AssemblerError: it can't be run, or refuses the text.
    """
    target = _PTX_TARGET.search(ptx)
    if target is None:
        raise AssemblerError("PTX without a target")
    with tempfile.TemporaryDirectory(prefix="gpuprep-profile-") as folder:
        source = Path(folder, "kernel.ptx")
        source.write_text(ptx, encoding="utf-8")
        return _said([ptxas, "-v", f"--gpu-name={target[1]}", str(source), "-o", str(Path(folder, "kernel.cubin"))])


def built(code: str, options: Sequence[str], names: Sequence[str], architecture: str) -> dict[str, Resources]:
    """What the kernels in CUDA C++ source take, by the name that each is asked for by.

    Args:
        code: the source, as RawModule gets it.
        options: the compiler's.
        names: instances of templates.
        architecture: `sm_90`.

    Raises:
        AssemblerError: there is no nvcc, or it refuses the source.
    """
    nvcc = _nvcc()
    if nvcc is None:
        raise AssemblerError("nvcc, which compiles CUDA C++ without a card, is not here")
    # The address of a template's instance makes the compiler emit it.
    kept = "".join(f"void* gpuprep_kept_{place} = (void*){name};\n" for place, name in enumerate(names))
    standard = [] if any(option.lstrip("-").startswith("std=") for option in options) else ["-std=c++17"]
    with tempfile.TemporaryDirectory(prefix="gpuprep-profile-") as folder:
        source = Path(folder, "module.cu")
        source.write_text(f"{code}\n{kept}", encoding="utf-8")
        command = [nvcc, "-cubin", f"-arch={architecture}", "-Xptxas", "-v", *standard, *options]
        found = _said([*command, str(source), "-o", str(Path(folder, "module.cubin"))])
    return {_asked_for(name, names): resources for name, resources in found.items()}


def as_dict(resources: Resources | None) -> Mapping[str, Any]:
    """Its figures by name, None where nobody knows them."""
    names = ("registers", "spill_bytes", "stack_bytes")
    return {name: getattr(resources, name) if resources else None for name in names}


def _said(command: Sequence[str]) -> dict[str, Resources]:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=ASSEMBLER_LIMIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AssemblerError(f"{Path(command[0]).name} can't be run: {error}") from error
    said = done.stderr + done.stdout
    if done.returncode:
        lines = [line for line in said.splitlines() if re.search(r"\b(error|fatal)\b", line)] or said.splitlines()
        why = lines[0].strip() if lines else f"exit code {done.returncode}"
        raise AssemblerError(f"{Path(command[0]).name}: {why.removeprefix(Path(command[0]).name).strip()}")
    return resources_in(said)


def _asked_for(mangled: str, names: Sequence[str]) -> str:
    """An instance's own name where the mangled one can only be that one's."""
    candidates = [name for name in names if f"{len(_base(name))}{_base(name)}" in mangled]
    return candidates[0] if len(candidates) == 1 else mangled


def _base(name: str) -> str:
    return name.partition("<")[0].rpartition("::")[2].strip()


def _nvcc() -> str | None:
    homes = [os.environ[name] for name in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(name)]
    places = os.pathsep.join(str(Path(home, "bin")) for home in (*homes, "/usr/local/cuda"))
    return shutil.which("nvcc") or shutil.which("nvcc", path=places)
