"""The machine's compiler: whether it will do, how it is called, and where what it makes is kept."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
RUNTIME = HERE / "runtime"
INCLUDE = HERE / "include"
UMBRELLA = "gpuprep_device.h"

MIN_GCC = 12
_PROGRAMS = ("g++", "as", "ld", "objdump", "addr2line")
_SECONDS = 120.0
"""A compiler that takes longer is taken to hang."""

_CODE = ("-fno-pie", "-fcf-protection=none", "-fno-exceptions", "-fno-rtti", "-fno-stack-protector")
DEVICE_FLAGS = (
    *("-std=c++17", "-O1", "-gdwarf-4", "-x", "c++", *_CODE),
    # Every access calls a hook that our runtime defines; the sanitizers' own libraries are never linked.
    *("-fsanitize=thread,bounds", "-fsanitize-coverage=trace-pc", "--param=tsan-distinguish-volatile=1"),
    "--param=tsan-instrument-func-entry-exit=0",
    # A float4 stays one access.
    *("-fno-tree-sra", "-fno-ipa-sra"),
    # Code stays in the order of the source, so that lanes meet again where a GPU's would.
    *("-fno-reorder-blocks", "-fno-reorder-functions", "-fno-thread-jumps", "-fno-crossjumping"),
    # A store stays on its line and in its loop, so that a race names what the learner wrote.
    *("-fno-move-loop-stores", "-fno-tree-sink"),
    # Fixed stack pointers within a function: hooks tell calls by them.
    *("-fomit-frame-pointer", "-maccumulate-outgoing-args"),
    *("-fno-extern-tls-init", "-fno-threadsafe-statics", "-fno-asynchronous-unwind-tables"),
    # Each operation rounds as it is written; a division by zero must still trap where it stands.
    *("-fno-strict-aliasing", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"),
    *("-fdiagnostics-color=never", "-fno-diagnostics-show-caret", "-fmax-errors=20", "-w"),
)
_RUNTIME_FLAGS = ("-std=c++17", "-O2", "-x", "c++", *_CODE, "-fno-strict-aliasing")
_LINK_FLAGS = ("-static", "-no-pie", "-nodefaultlibs", "-Wl,--build-id=none", "-Wl,-z,noexecstack")
_LIBRARIES = ("-Wl,--start-group", "-lm", "-lc", "-lgcc", "-lgcc_eh", "-Wl,--end-group")


class ToolchainError(Exception):
    """The compiler failed on the emulator's own code, or can't be run."""


@functools.cache
def why_unsupported() -> str:
    """Says why CUDA can't be emulated here, with the line that mends it; empty where it can."""
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "AMD64"):
        return (
            "The CUDA emulator needs Linux on x86-64 with g++ 12 or newer; here is "
            f"{platform.system()} on {platform.machine()}. Run CUDA exercises in such a container, or on a GPU."
        )
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"The CUDA emulator needs {' and '.join(missing)}: install with `{_install_line()}`."
    version = run(["g++", "-dumpversion"]).stdout.strip()
    if not version.split(".")[0].isdigit() or int(version.split(".")[0]) < MIN_GCC:
        return f"The CUDA emulator needs g++ {MIN_GCC} or newer, and this is {version}: `{_install_line()}`."
    if not Path(run(["g++", "-print-file-name=libc.a"]).stdout.strip()).is_absolute():
        return f"The CUDA emulator links statically and finds no libc.a: install with `{_install_line()}`."
    return ""


def _install_line() -> str:
    lines = {
        "apt-get": "sudo apt-get install g++",
        "dnf": "sudo dnf install gcc-c++ glibc-static",
        "pacman": "sudo pacman -S gcc",
        "zypper": "sudo zypper install gcc-c++ glibc-devel-static",
    }
    return next((line for name, line in lines.items() if shutil.which(name)), "apt-get install g++")


def run(command: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
    """Runs a program of the toolchain, with messages in English; its exit status is the caller's to judge."""
    environment = {**os.environ, "LC_ALL": "C", "LANGUAGE": "C"}
    try:
        return subprocess.run(
            [str(part) for part in command],
            capture_output=True,
            text=True,
            errors="replace",
            env=environment,
            stdin=subprocess.DEVNULL,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolchainError(f"{command[0]} can't be run: {error}") from error


def cache_folder() -> Path:
    """Where compiled kernels are kept: private to this user, and safe to delete at any time."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(base) / "gpuprep" / "cuda"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return _temporary_folder()
    return folder if os.access(folder, os.W_OK) else _temporary_folder()


@functools.cache
def _temporary_folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="gpuprep-cuda-"))


@functools.cache
def fingerprint() -> str:
    """Changes with the compiler and with the emulator's own sources: what was compiled by others is not used."""
    digest = hashlib.sha256()
    compiler = Path(shutil.which("g++") or "g++").resolve()
    status = compiler.stat()
    digest.update(f"{compiler} {status.st_size} {status.st_mtime_ns} {DEVICE_FLAGS} {_RUNTIME_FLAGS}".encode())
    for folder in (RUNTIME, INCLUDE, HERE):
        pattern = "*.py" if folder is HERE else "**/*"
        for path in sorted(path for path in folder.glob(pattern) if path.is_file() and path.suffix != ".pyc"):
            digest.update(f"{path.relative_to(HERE)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def runtime_object() -> Path:
    """The emulator's runtime, compiled: once for each version of it and of the compiler."""
    target = cache_folder() / f"runtime-{fingerprint()[:24]}.o"
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            made = Path(folder) / "runtime.o"
            done = run(["g++", *_RUNTIME_FLAGS, "-c", RUNTIME / "runtime.cpp", "-o", made])
            if done.returncode != 0:
                raise ToolchainError(f"the emulator's runtime doesn't compile: {done.stderr}")
            made.replace(target)
    return target


def link(objects: Sequence[Path], target: Path) -> None:
    """Links a program of a kernel's objects and the runtime."""
    done = run(["g++", *_LINK_FLAGS, *objects, runtime_object(), *_LIBRARIES, "-o", target])
    if done.returncode != 0:
        raise ToolchainError(f"the kernel's program can't be linked: {done.stderr}")
    if not os.access(target, os.X_OK):
        # A linker makes its program executable when it is done, and in a sandbox nobody may change a file's mode.
        _made_executable(target)


def _made_executable(path: Path) -> None:
    copy = path.with_suffix(".executable")
    with os.fdopen(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o700), "wb") as file:
        file.write(path.read_bytes())
    copy.replace(path)
