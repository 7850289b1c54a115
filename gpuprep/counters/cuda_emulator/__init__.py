"""CUDA C++ without a GPU: compiled by the machine's g++, run thread by thread, counted request by request."""

from __future__ import annotations

from gpuprep.counters.cuda_emulator.arena import Buffer
from gpuprep.counters.cuda_emulator.build import CompileError, UnsupportedFeatureError, build
from gpuprep.counters.cuda_emulator.counts import Counts, Launched, SiteCounts
from gpuprep.counters.cuda_emulator.launching import LaunchError
from gpuprep.counters.cuda_emulator.program import Program
from gpuprep.counters.cuda_emulator.signatures import ArgumentError, Parameter, Pointer
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
