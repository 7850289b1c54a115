"""Judges which kernels did a learner's work, from what the worker's trace says.

The trace is a claim, but a narrow one: to pass, it has to agree with the times, and those with the grader's own clock.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gpuprep.model import Outcome

LEAST_OWN_SHARE = 0.95
"""Of the device time; the rest is room for small change around a kernel, such as a cast of one scalar."""
TOLERANCE = 0.05
TOLERANCE_NS = 5_000
"""Event time against kernel time: an event pair alone costs a few microseconds, and clocks move a little."""
HIDDEN_HOST_NS = 150_000
"""Host time a call that the timing hides behind its spin kernel, counted low: the fastest clock ends it soonest."""

NAME_SHOWN = 80

_LIBRARIES = {
    "cuDNN": r"cudnn|cask_|implicit_convolve|convolve_common_engine|winograd|xmma_(fprop|dgrad|wgrad)",
    "cuBLAS": (
        r"^nvjet_|cublas|^(kepler|maxwell|pascal|volta|turing|ampere|hopper|blackwell)_\w*gemm|^gemv(NSP|2[TN]|x::)|"
        r"^gemm(SN|k1|v)\w*_kernel|^splitKreduce|^(sm|cutlass_)\d+_xmma_gemm|^gemv\w*_kernel_val"
    ),
    "flash attention": r"^(pytorch_)?flash::|^fmha_(cutlass|v2)|PyTorchMemEffAttention|AttentionKernel<",
    "CUTLASS": r"^cutlass|^sm\d+_xmma",
    "inductor": r"^triton_(poi|red|per|tem|for|spl|unk|mm|bmm)_",
    "CUB and Thrust": r"^((at_cuda_detail|cupy)::)?(cub|thrust)::",
    "NCCL": r"^nccl(Dev)?Kernel",
    "cuFFT": r"^(void_)?(vector_fft|regular_fft|r2c|c2r|cufft)",
    "cuSPARSE": r"^cusparse",
    "CuPy": r"^cupy_",
    "at::native": r"^at::|^\(anonymous namespace\)::(softmax_warp_|elementwise_kernel_with_index)",
}
LIBRARIES = frozenset(_LIBRARIES)
"""Every library whose kernels are known by name."""
_PATTERNS = {library: re.compile(pattern) for library, pattern in _LIBRARIES.items()}

_INCIDENTAL = frozenset({"at::native", "CUB and Thrust", "CuPy"})
"""Libraries that honest host code may call for trifles; one kernel of any other is one too many."""
_FILL = re.compile(r"FillFunctor")
"""What torch.zeros and torch.full launch: they allocate, and compute nothing."""


@dataclass(frozen=True)
class KernelTime:
    """One kernel of a trace, by name: all of its runs together."""

    name: str
    ns: int
    count: int


@dataclass(frozen=True)
class CallTimes:
    """One traced call: `busy_ns` in which anything ran, `span_ns` from first to last, `host_ns` until it returned."""

    busy_ns: int
    span_ns: int
    host_ns: int


@dataclass(frozen=True)
class TraceRecord:
    """A worker's trace, parsed. Copies and fills by the copy engine have no kernel name."""

    kernels: tuple[KernelTime, ...]
    calls: tuple[CallTimes, ...]
    memcpy_ns: int
    memset_ns: int

    @classmethod
    def parse(cls, answer: Mapping[str, Any]) -> TraceRecord:
        """The answer of a worker's `trace_calls`.

        Raises:
            ValueError: no honest worker answers so.
        """
        kernels = tuple(KernelTime(str(row["name"]), _count(row["ns"]), _count(row["count"])) for row in answer["kernels"])
        calls = tuple(CallTimes(*(_count(row[key]) for key in ("busy_ns", "span_ns", "host_ns"))) for row in answer["calls"])
        record = cls(kernels, calls, _count(answer["memcpy_ns"]), _count(answer["memset_ns"]))
        if not calls or sum(call.busy_ns for call in calls) > record.total_ns or any(call.busy_ns > call.span_ns for call in calls):
            raise ValueError("a trace whose calls and kernels contradict each other")
        return record

    @property
    def total_ns(self) -> int:
        """Device time of all that ran, counted for each even where things ran side by side."""
        return sum(kernel.ns for kernel in self.kernels) + self.memcpy_ns + self.memset_ns


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no count")
    return value


@dataclass(frozen=True)
class TraceFault:
    """What a trace shows to be wrong: BANNED_CALL, or INVALID where it contradicts the times."""

    outcome: Outcome
    message: str


def library_of(kernel_name: str) -> str | None:
    """The library that a kernel of this name comes from, one of LIBRARIES; None for a learner's own.

    A learner who gives a kernel a library's name is taken at their word.
    """
    name = _bare(kernel_name)
    return next((library for library, pattern in _PATTERNS.items() if pattern.search(name)), None)


def _bare(kernel_name: str) -> str:
    # What the demangler puts before a template's name: its return type.
    return kernel_name.removeprefix("void ")


def own_share(runs: Sequence[KernelTime], own_names: Collection[str] = (), *, copied_ns: int = 0) -> float:
    """Share of the device time that went into the learner's own kernels; 0 where nothing ran.

    Fills are left out on both sides: they come with allocating. Copies are not the learner's own.

    Args:
        runs: the kernels of a trace.
        own_names: where given, only kernels of these names are the learner's.
        copied_ns: time of memory copies.
    """
    counted = [run for run in runs if not _FILL.search(run.name)]
    total_ns = sum(run.ns for run in counted) + copied_ns
    return sum(run.ns for run in counted if _is_own(run.name, own_names)) / total_ns if total_ns else 0.0


def _is_own(name: str, own_names: Collection[str]) -> bool:
    return library_of(name) is None and (not own_names or re.split(r"[<(]", _bare(name))[0] in own_names)


def judge_trace(
    answer: Mapping[str, Any],
    claimed_ms: float,
    n_calls: int,
    banned: Collection[str] = LIBRARIES,
    *,
    own_names: Collection[str] = (),
) -> TraceFault | None:
    """The fault that counts most, or None. See `trace_faults`."""
    faults = list(trace_faults(answer, claimed_ms, n_calls, banned, own_names=own_names))
    return min(faults, key=lambda fault: fault.outcome.precedence, default=None)
