"""The lines that install what is missing."""

from __future__ import annotations

import os
import re
import shutil
from importlib import metadata

CUPY_PACKAGES = ("cupy-cuda13x", "cupy-cuda12x", "cupy-cuda11x", "cupy")
"""CuPy is published under one name for each CUDA version."""

_COMPILER_INSTALLS = {
    "apt-get": "apt install g++",
    "dnf": "dnf install gcc-c++",
    "pacman": "pacman -S gcc",
    "zypper": "zypper install gcc-c++",
    "apk": "apk add g++",
}
"""By the program that tells which system this is."""


def installed(package: str) -> str | None:
    """`2.13.0`, or `cupy-cuda12x 13.6.0` where a package goes by several names; None where it is not there."""
    for name in CUPY_PACKAGES if package == "cupy" else (package,):
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        return version if name == package else f"{name} {version}"
    return None


def requirement(package: str) -> str:
    """The package with the versions that gpuprep's own metadata asks for: `torch>=2.11`."""
    try:
        wanted = metadata.requires("gpuprep") or []
    except metadata.PackageNotFoundError:
        wanted = []
    specs = (re.sub(r"\s", "", line.partition(";")[0]) for line in wanted)
    return next((spec for spec in specs if re.match(rf"{package}(?![\w.-])", spec)), package)


def install_line(package: str) -> str:
    """What installs a Python package."""
    return "pip install 'gpuprep[cuda]'" if package == "cupy" else f"pip install '{requirement(package)}'"


def reinstall_line(package: str, *, index: str | None = None) -> str:
    """What replaces a Python package that is there and doesn't work."""
    if package == "cupy":
        package = next((name for name in CUPY_PACKAGES if installed(name)), package)
    options = "--force-reinstall" + (f" --index-url {index}" if index else "")
    return f"pip install {options} '{requirement(package)}'"


def compiler_line() -> str:
    """What installs g++ with this system's package manager."""
    if shutil.which("xcode-select"):
        return "xcode-select --install"
    line = next((line for tool, line in _COMPILER_INSTALLS.items() if shutil.which(tool)), "apt install g++")
    is_root = not hasattr(os, "geteuid") or os.geteuid() == 0
    return line if is_root else f"sudo {line}"
