"""Which Triton versions the counters know. Importing this costs neither triton nor torch."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version

from gpuprep.errors import UnsupportedTritonError

SUPPORTED = ((3, 6), (3, 9))
"""Oldest and newest minor version that the counters were tested on; those in between are accepted."""


def supported_versions() -> str:
    """`3.6 to 3.9`."""
    return " to ".join(f"{major}.{minor}" for major, minor in SUPPORTED)


def install_line() -> str:
    """The command that installs a supported version."""
    (low_major, low_minor), (high_major, high_minor) = SUPPORTED
    return f'pip install "triton>={low_major}.{low_minor},<{high_major}.{high_minor + 1}"'


def unsupported(reason: str) -> UnsupportedTritonError:
    """The error for `reason`, with the versions that are supported and the line that installs one."""
    return UnsupportedTritonError(
        f"{reason}; counting a kernel's work needs Triton {supported_versions()}", next_step=install_line()
    )


def check_supported(version: str | None = None) -> str:
    """Return the version if the counters know its interpreter.

    Args:
        version: the version to judge; None asks the installed package.

    Raises:
        UnsupportedTritonError: no Triton is installed, or one outside the tested range.
    """
    if version is None:
        try:
            version = installed_version("triton")
        except PackageNotFoundError:
            raise unsupported("Triton is not installed") from None
    number = re.match(r"(\d+)\.(\d+)", version)
    if number is None or not SUPPORTED[0] <= (int(number[1]), int(number[2])) <= SUPPORTED[1]:
        raise unsupported(f"Triton {version} has an interpreter that was never tested here")
    return version
