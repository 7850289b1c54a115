"""CUDA C++ without a GPU: kernels compiled by the machine's g++, run thread by thread, and counted request by request."""

from __future__ import annotations

from gpuprep.counters.cuda_emulator.arena import Buffer
from gpuprep.counters.cuda_emulator.build import CompileError, UnsupportedFeatureError, build
from gpuprep.counters.cuda_emulator.program import (
    ArgumentError,
    Counts,
    Launched,
    LaunchError,
    Parameter,
    Pointer,
    Program,
    SiteCounts,
)
from gpuprep.counters.cuda_emulator.toolchain import ToolchainError, why_unsupported

__all__ = (
    "ArgumentError",
    "Buffer",
    "CompileError",
    "Counts",
    "LaunchError",
    "Launched",
    "Parameter",
    "Pointer",
    "Program",
    "SiteCounts",
    "ToolchainError",
    "UnsupportedFeatureError",
    "build",
    "why_unsupported",
)
