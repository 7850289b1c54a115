"""Looks at everything that gpuprep stands on, and says for each thing missing which line installs it.

Nothing heavy is imported here: torch and Triton are questioned in processes of their own, so that a broken
installation is a finding and not the end of the examination.
"""

from __future__ import annotations

import json
import platform
import re
import shutil
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from gpuprep.practice import canaries
from gpuprep.practice.canaries import Canary, run_canary, run_compiler, run_process
from gpuprep.practice.installs import compiler_line, install_line, installed, reinstall_line, requirement

MIN_PYTHON = (3, 11)
"""`requires-python` in pyproject.toml: here because the check must work where the package's metadata is missing."""

_PACKAGE_PARENT = Path(__file__).resolve().parents[2]
_DRIVER_LINE = "install the driver from https://www.nvidia.com/drivers, then restart"
_MAIN_INDEX = "https://pypi.org/simple"
"""Where torch's CUDA builds for Linux are; a CPU build usually came from another index."""


class Status(StrEnum):
    """What was found. A `note` is neither good nor bad: it says what can't be looked at here, and why."""

    OK = "ok"
    MISSING = "missing"
    BROKEN = "broken"
    NOTE = "note"


@dataclass(frozen=True)
class CheckupItem:
    """One thing that was looked at."""

    name: str
    status: Status
    detail: str
    fix: str | None = None
    """The line that installs or mends it."""

    def __post_init__(self) -> None:
        if self.status is Status.MISSING and not self.fix:
            raise ValueError(f"{self.name}: missing, and nothing to install it with")
        if self.status is Status.OK and self.fix:
            raise ValueError(f"{self.name}: ok, and a line that mends it")

    @property
    def is_ok(self) -> bool:
        """True when it is there and works."""
        return self.status is Status.OK

    @property
    def is_needed(self) -> bool:
        """True when something must be done about it."""
        return self.status in (Status.MISSING, Status.BROKEN)


@dataclass(frozen=True)
class Checkup:
    """What `doctor` found."""

    items: tuple[CheckupItem, ...]

    @property
    def is_healthy(self) -> bool:
        """True when nothing is missing or broken."""
        return not any(item.is_needed for item in self.items)


@dataclass(frozen=True)
class _Torch:
    """What torch says of itself, asked in another process. `problem` says why it could not be asked."""

    version: str | None
    cuda: str | None = None
    hip: str | None = None
    gpus: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class _Gpu:
    """The cards of this machine: what nvidia-smi says, else what torch says."""

    names: tuple[str, ...] = ()
    driver: str = ""
    problem: str = ""


# The answer is the last line that it prints.
_TORCH_QUESTION = """
import json, torch
there = torch.cuda.is_available()
gpus = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())] if there else []
print(json.dumps({"cuda": torch.version.cuda, "hip": torch.version.hip, "gpus": gpus}))
"""

_COUNTERS_QUESTION = """
import json, sys
sys.path.append(sys.argv[1])
from gpuprep.counters.triton_interpreter import Counter, check_supported
from gpuprep.errors import UnsupportedTritonError
try:
    check_supported()
    Counter()
    print(json.dumps({"problem": "", "fix": None}))
except UnsupportedTritonError as error:
    print(json.dumps({"problem": error.message, "fix": error.next_step}))
"""


def diagnose() -> Checkup:
    """Looks at Python, torch, Triton, CuPy, g++, the GPU and its driver, and runs a canary on each back end."""
    # Threads are enough: each only waits for a process, and nearly every process imports torch for a second.
    with ThreadPoolExecutor(max_workers=16) as pool:
        torch = pool.submit(_ask_torch)
        gpu = pool.submit(_ask_gpu, torch)
        checks: list[Callable[[], tuple[CheckupItem, ...]]] = [
            lambda: (_python(),),
            lambda: (_torch(torch.result(), gpu.result()), *_gpu(gpu.result(), torch.result())),
            lambda: (_triton(), _cupy(gpu.result())),
            lambda: (_compiler(), _emulator(gpu, torch)),
            *(lambda canary=canary: (_canary(canary, gpu, torch),) for canary in canaries.PYTHON_CANARIES),
            lambda: (_sandbox(),),
        ]
        found = list(pool.map(lambda check: check(), checks))
    return Checkup(tuple(item for items in found for item in items))


def _python() -> CheckupItem:
    detail = f"{platform.python_version()} ({sys.executable})"
    if sys.version_info[:2] < MIN_PYTHON:
        wanted = ".".join(map(str, MIN_PYTHON))
        return CheckupItem("Python", Status.BROKEN, f"{detail}; gpuprep needs {wanted}", f"uv venv --python {wanted}")
    return CheckupItem("Python", Status.OK, detail)


def _ask_torch() -> _Torch:
    version = installed("torch")
    if version is None:
        return _Torch(None)
    ran = run_process([sys.executable, "-c", _TORCH_QUESTION], {})
    if ran.problem:
        return _Torch(version, problem=ran.problem)
    answer = json.loads(ran.last_line)
    return _Torch(version, answer["cuda"], answer["hip"], tuple(answer["gpus"]))


def _ask_gpu(torch: Future[_Torch]) -> _Gpu:
    if shutil.which("nvidia-smi") is None:
        # Containers often have the card without the tool.
        return _Gpu(torch.result().gpus)
    ran = run_process(["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"], {})
    if ran.problem:
        return _Gpu(problem=ran.problem)
    cards = [line.rpartition(", ") for line in ran.output.splitlines() if ", " in line]
    return _Gpu(tuple(name for name, _, _ in cards), cards[0][2].strip() if cards else "")


def _torch(torch: _Torch, gpu: _Gpu) -> CheckupItem:
    if torch.version is None:
        return CheckupItem("torch", Status.MISSING, "not installed", install_line("torch"))
    if torch.problem:
        return CheckupItem("torch", Status.BROKEN, f"{torch.version}: {torch.problem}", reinstall_line("torch"))
    build = f"CUDA {torch.cuda}" if torch.cuda else f"ROCm {torch.hip}" if torch.hip else "CPU"
    detail = f"{torch.version}, {build} build"
    least = re.search(r">=([0-9.]+)", requirement("torch"))
    if least and _numbers(torch.version) < _numbers(least[1]):
        return CheckupItem("torch", Status.BROKEN, f"{detail}; gpuprep needs {least[1]}", install_line("torch"))
    if gpu.names and build == "CPU":
        fix = reinstall_line("torch", index=_MAIN_INDEX)
        return CheckupItem("torch", Status.BROKEN, f"{detail}, which can't use the {gpu.names[0]}", fix)
    return CheckupItem("torch", Status.OK, detail)


def _gpu(gpu: _Gpu, torch: _Torch) -> tuple[CheckupItem, CheckupItem]:
    """The cards, and their driver."""
    if gpu.problem:
        unknown = CheckupItem("GPU", Status.NOTE, "unknown: the driver doesn't answer")
        return unknown, CheckupItem("GPU driver", Status.BROKEN, f"nvidia-smi fails: {gpu.problem}", _DRIVER_LINE)
    if not gpu.names:
        reason = "no NVIDIA GPU: results and work are graded, speed is not, and a pass is provisional"
        return CheckupItem("GPU", Status.NOTE, reason), CheckupItem("GPU driver", Status.NOTE, "no GPU to drive")
    card = CheckupItem("GPU", Status.OK, ", ".join(gpu.names))
    if torch.cuda and not torch.gpus:
        detail = (
            f"{gpu.driver}: torch's CUDA {torch.cuda} can't use it (too old, or CUDA_VISIBLE_DEVICES hides the GPU)"
        )
        return card, CheckupItem("GPU driver", Status.BROKEN, detail, _DRIVER_LINE)
    return card, CheckupItem("GPU driver", Status.OK, gpu.driver or "works; nvidia-smi is not here to tell its version")


def _triton() -> CheckupItem:
    version = installed("triton")
    if version is None:
        return _not_installed("Triton", "triton", "not installed")
    if installed("torch") is None:
        return _not_installed("Triton", "torch", f"{version}; it needs torch, which is not installed")
    ran = run_process([sys.executable, "-c", _COUNTERS_QUESTION, str(_PACKAGE_PARENT)], {"TRITON_INTERPRET": "1"})
    if ran.problem:
        return CheckupItem("Triton", Status.BROKEN, f"{version}: {ran.problem}", reinstall_line("triton"))
    answer = json.loads(ran.last_line)
    if answer["problem"]:
        return CheckupItem("Triton", Status.BROKEN, answer["problem"], answer["fix"])
    return CheckupItem("Triton", Status.OK, f"{version}, supported by the work counters")


def _cupy(gpu: _Gpu) -> CheckupItem:
    version = installed("cupy")
    if version is not None:
        return CheckupItem("CuPy", Status.OK, version)
    if not gpu.names:
        return CheckupItem("CuPy", Status.NOTE, "not installed; it needs a GPU, and there is none")
    return _not_installed("CuPy", "cupy", "not installed; CUDA exercises use it on the GPU")


def _compiler() -> CheckupItem:
    path = shutil.which("g++")
    if path is None:
        return CheckupItem("g++", Status.MISSING, "not found; CUDA exercises need it on a CPU", compiler_line())
    if problem := run_compiler(path):
        return CheckupItem("g++", Status.BROKEN, problem, compiler_line())
    said = run_process([path, "--version"], {}).output.partition("\n")[0]
    return CheckupItem("g++", Status.OK, f"{said}; a test program computes the right answer")


def _emulator(gpu: Future[_Gpu], torch: Future[_Torch]) -> CheckupItem:
    item = _canary(canaries.EMULATOR, gpu, torch)
    _, is_unsupported, why = item.detail.partition("BackEndMissingError: ")
    if is_unsupported:
        # Where it is the compiler that is missing, that is said with the line that installs it.
        why = re.sub(r" \(exit code \d+\)$", "", why)
        return CheckupItem(item.name, Status.NOTE, f"CUDA exercises need a GPU here: {why}")
    return replace(item, fix=compiler_line()) if item.status is Status.BROKEN else item


def _canary(canary: Canary, gpu: Future[_Gpu], torch: Future[_Torch]) -> CheckupItem:
    if canary.needs_gpu and not gpu.result().names:
        return CheckupItem(canary.name, Status.NOTE, "not run: there is no GPU")
    absent = next((package for package in canary.needs if installed(package) is None), None)
    if absent is not None:
        return _not_installed(canary.name, absent, f"not run: {absent} is not installed")
    if canary.needs_gpu and "torch" in canary.needs and not torch.result().gpus:
        return CheckupItem(canary.name, Status.NOTE, "not run: torch can't use the GPU; see torch and GPU driver")
    if problem := run_canary(canary):
        return CheckupItem(canary.name, Status.BROKEN, problem, reinstall_line(canary.needs[-1]))
    return CheckupItem(canary.name, Status.OK, "a test kernel computes the right answer")


def _sandbox() -> CheckupItem:
    detail = "none: a check runs the file it grades in a process of its own, but with your rights"
    return CheckupItem("Sandbox", Status.NOTE, detail)


def _not_installed(name: str, package: str, detail: str) -> CheckupItem:
    if package == "triton" and platform.system() != "Linux":
        return CheckupItem(name, Status.NOTE, f"Triton has no build for {platform.system()}")
    return CheckupItem(name, Status.MISSING, detail, install_line(package))


def _numbers(version: str) -> tuple[int, ...]:
    """`2.13.0+cpu` as (2, 13, 0)."""
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0]))
