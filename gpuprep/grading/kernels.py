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
"""Event time against kernel time, of the same traced call: an event pair alone costs two to four microseconds."""
CLAIM_TOLERANCE = 0.15
"""The claimed time against the trace: being traced slows a kernel of many blocks by 6 %, and where a matmul draws full
power its medians of two moments differ by 11 %."""
HIDDEN_HOST_NS = 150_000
"""Host time a call that the timing hides behind its spin kernel, counted low: the fastest clock ends it soonest."""
NAME_SHOWN = 90

_PATTERNS = {
    library: re.compile(pattern)
    for library, pattern in {
        "cuDNN": r"cudnn|^implicit_convolve_sgemm|^sm\d+_xmma_(fprop|dgrad|wgrad)",
        "cuBLAS": (
            r"cublas|^nvjet_|^sm\d+_xmma_gemm|^gemv(NSP|x::)|^gemv2[NT]_kernel|^gemm(SN_[NT]+|k1)_kernel|^splitKreduce|"
            r"^(kepler|maxwell|pascal|volta|turing|ampere|hopper|blackwell)_\w*gemm_\w*\d+x\d+"
        ),
        "flash attention": r"^(pytorch_)?flash::|^fmha_(cutlass|v2)|PyTorchMemEffAttention|^flashinfer::",
        "CUTLASS": r"^cutlass(::|_\d)|^sm\d+_xmma_",
        "inductor": r"^triton_(poi|red|per|tem|for|spl|mix|unk)_(fused)?_|^triton_$",
        "CUB and Thrust": r"^(at_cuda_detail::)?(cub|thrust)::",
        "NCCL": r"^nccl(Dev)?Kernel",
        "cuFFT": r"^(vector|regular)_fft|^postprocess_kernel<|cufft",
        "cuSPARSE": r"^cusparse",
        "CuPy": r"^cupy_",
        "at::native": r"^(at|torch)::|^\(anonymous namespace\)::(softmax_warp_|.*\b(at|c10)::)",
    }.items()
}
"""By the demangled name, return type aside. Learners call kernels sgemm, flash_fwd_kernel or hopper_gemm, too."""
LIBRARIES = frozenset(_PATTERNS)
"""Every library whose kernels are known by name."""
_INCIDENTAL = frozenset({"at::native", "CUB and Thrust", "CuPy"})
"""Libraries that honest host code may call for trifles; one kernel of any other is one too many."""
_FILL = re.compile(r"\bFillFunctor\b")
"""What torch.zeros and torch.full launch: they come with allocating, and compute nothing."""


@dataclass(frozen=True)
class TraceFault:
    """What a trace shows to be wrong: BANNED_CALL, or INVALID where it contradicts the times."""

    outcome: Outcome
    message: str


@dataclass(frozen=True)
class KernelTime:
    """One kernel of a trace, by name: all of its runs together."""

    name: str
    ns: int
    count: int


@dataclass(frozen=True)
class CallTime:
    """One traced call."""

    busy_ns: int
    """In which anything ran."""
    span_ns: int
    """From the first start to the last end."""
    event_ns: int
    """By a pair of events around the call."""
    host_ns: int
    """Until the function returned."""


@dataclass(frozen=True)
class TraceRecord:
    """A worker's trace, parsed."""

    kernels: tuple[KernelTime, ...]
    calls: tuple[CallTime, ...]
    memcpy_ns: int
    memset_ns: int

    def __post_init__(self) -> None:
        n_busy_ns = sum(call.busy_ns for call in self.calls)
        if n_busy_ns > sum(kernel.ns for kernel in self.kernels) + self.memcpy_ns + self.memset_ns:
            raise ValueError("a trace whose calls kept the card busy for longer than anything ran")
        if any(call.busy_ns > call.span_ns for call in self.calls):
            raise ValueError("a trace with a call that was busy for longer than it took")

    @classmethod
    def parse(cls, answer: Mapping[str, Any], n_calls: int) -> TraceRecord:
        """What a worker answered when asked to trace `n_calls` calls.

        Raises:
            ValueError, KeyError, TypeError: no honest worker answers so.
        """
        if len(answer["calls"]) != n_calls or n_calls < 1:
            raise ValueError(f"{len(answer['calls'])} traced calls of {n_calls}")
        return cls(
            kernels=tuple(
                KernelTime(str(row["name"]), _count(row["ns"]), _count(row["count"])) for row in answer["kernels"]
            ),
            calls=tuple(
                CallTime(*(_count(row[key]) for key in ("busy_ns", "span_ns", "event_ns", "host_ns")))
                for row in answer["calls"]
            ),
            memcpy_ns=_count(answer["memcpy_ns"]),
            memset_ns=_count(answer["memset_ns"]),
        )


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no count")
    return value


def library_of(kernel_name: str) -> str | None:
    """The library that a kernel of this name comes from, one of LIBRARIES; None for a learner's own.

    A learner who gives a kernel a library's name is taken at their word.
    """
    name = _bare(kernel_name)
    return next((library for library, pattern in _PATTERNS.items() if pattern.search(name)), None)


def _bare(kernel_name: str) -> str:
    # Templates are demangled with their return type.
    return kernel_name.removeprefix("void ")


def own_share(
    runs: Sequence[KernelTime],
    own_names: Collection[str] = (),
    *,
    banned: Collection[str] = LIBRARIES,
    copied_ns: int = 0,
) -> float:
    """Share of the device time that went into the learner's own kernels; 0 where nothing counts.

    Fills are left out on both sides, since allocating with zeros is allowed. Copies are not the learner's own work.

    Args:
        runs: the kernels of a trace.
        own_names: where given, kernels of other names are not the learner's, whoever's they are.
        banned: a kernel of another library than these counts as the learner's own.
        copied_ns: time of memory copies.
    """
    counted = [run for run in runs if not _FILL.search(run.name)]
    total_ns = sum(run.ns for run in counted) + copied_ns
    return sum(run.ns for run in counted if _is_own(run.name, own_names, banned)) / total_ns if total_ns else 0.0


def _is_own(name: str, own_names: Collection[str], banned: Collection[str]) -> bool:
    library = library_of(name)
    if library is not None:
        return library not in banned
    return not own_names or re.split(r"[<(]", _bare(name))[0] in own_names


def judge_trace(
    answer: Mapping[str, Any],
    claimed_ms: float,
    n_calls: int,
    banned: Collection[str] = LIBRARIES,
    *,
    own_names: Collection[str] = (),
) -> TraceFault | None:
    """What is wrong with a worker's trace: of all its faults, the one that hides the others."""
    faults = trace_faults(answer, claimed_ms, n_calls, banned, own_names=own_names)
    return min(faults, key=lambda fault: fault.outcome.precedence, default=None)


def trace_faults(
    answer: Mapping[str, Any],
    claimed_ms: float,
    n_calls: int,
    banned: Collection[str] = LIBRARIES,
    *,
    own_names: Collection[str] = (),
) -> list[TraceFault]:
    """Every fault that a worker's trace shows.

    Args:
        answer: with status `traced`.
        claimed_ms: time a call by the worker's events.
        n_calls: how many calls it was asked to trace.
        banned: libraries that must not do the work.
        own_names: see `own_share`.

    Raises:
        ValueError, KeyError, TypeError: no honest worker answers so.
    """
    record = TraceRecord.parse(answer, n_calls)
    return [*_banned_faults(record, banned, own_names), *_time_faults(record, claimed_ms)]


def _banned_faults(record: TraceRecord, banned: Collection[str], own_names: Collection[str]) -> Iterator[TraceFault]:
    counted = [kernel for kernel in record.kernels if not _FILL.search(kernel.name)]
    total_ns = sum(kernel.ns for kernel in counted) + record.memcpy_ns
    if total_ns == 0:
        yield TraceFault(Outcome.INVALID, f"the card computed nothing in {len(record.calls)} traced calls")
        return
    not_own = sorted((k for k in counted if not _is_own(k.name, own_names, banned)), key=lambda k: -k.ns)
    telling = [kernel for kernel in not_own if library_of(kernel.name) not in (None, *_INCIDENTAL)]
    if telling:
        yield TraceFault(Outcome.BANNED_CALL, _kernel_message(telling[0], total_ns))
    elif own_share(counted, own_names, banned=banned, copied_ns=record.memcpy_ns) < LEAST_OWN_SHARE:
        if not_own and not_own[0].ns >= record.memcpy_ns:
            yield TraceFault(Outcome.BANNED_CALL, _kernel_message(not_own[0], total_ns))
        else:
            share = record.memcpy_ns / total_ns
            message = f"copying memory took {share:.0%} of the device time: a kernel of yours has to do the work"
            yield TraceFault(Outcome.BANNED_CALL, message)


def _kernel_message(kernel: KernelTime, total_ns: int) -> str:
    library = library_of(kernel.name)
    whose = f"{library}'s" if library else "a kernel that your file doesn't define,"
    share = f"{kernel.ns / total_ns:.0%}" if kernel.ns > 0.01 * total_ns else "a little"
    return f"{whose} {_shown(kernel.name)} took {share} of the device time: a kernel of yours has to do the work"


def _shown(name: str) -> str:
    shown = "".join(letter if letter.isprintable() else "?" for letter in _bare(name))
    return shown if len(shown) <= NAME_SHOWN else shown[: NAME_SHOWN - 1] + "…"


def _time_faults(record: TraceRecord, claimed_ms: float) -> Iterator[TraceFault]:
    busy_ns = statistics.median(call.busy_ns for call in record.calls)
    event_ns = statistics.median(call.event_ns for call in record.calls)
    # What the host takes longer than the spin kernel lasts, the events see as well.
    longest_ns = statistics.median(call.span_ns + max(0, call.host_ns - HIDDEN_HOST_NS) for call in record.calls)
    busy = f"its kernels kept the card busy for {busy_ns / 1e6:.4f} ms"
    events = f"the worker's events say {event_ns / 1e6:.4f} ms a call"
    claimed_ns, claim = claimed_ms * 1e6, f"the worker's clock says {claimed_ms:.4f} ms a call"
    if event_ns < busy_ns * (1 - TOLERANCE) - TOLERANCE_NS:
        yield _contradiction(f"{events}, but {busy}")
    elif event_ns > longest_ns * (1 + TOLERANCE) + TOLERANCE_NS:
        yield _contradiction(f"{events}, but its kernels were done after {longest_ns / 1e6:.4f} ms")
    if claimed_ns < busy_ns * (1 - CLAIM_TOLERANCE) - TOLERANCE_NS:
        yield _contradiction(f"{claim}, but {busy}")
    elif claimed_ns > event_ns * (1 + CLAIM_TOLERANCE) + TOLERANCE_NS:
        yield _contradiction(f"{claim}, but only {event_ns / 1e6:.4f} ms when it is traced")


def _contradiction(what: str) -> TraceFault:
    return TraceFault(Outcome.INVALID, f"{what}: the measurement contradicts itself and needs a review")
