"""Which kernels a learner's calls ran, as the driver's own profiling interface saw them. A claim, like the times.

Timing events can be patched in a line of Python; these records come from below the CUDA runtime. A call is traced by
itself, with the card idle before and after, so whatever runs in between is the call's, on whichever stream.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from gpuprep.worker.cupti import KERNEL, MEMCPY, MEMSET, Activity, CuptiError, demangled
from gpuprep.worker.cupti import load as load_cupti
from gpuprep.worker.timing import SPIN_CYCLES

if TYPE_CHECKING:
    from gpuprep.worker.running import Runner

LEAD_IN = "spin_kernel"
"""What torch calls the kernel that a traced block begins behind."""
MAX_NAME = 1000
"""Characters of a kernel's name that are sent; templates spell theirs out at any length."""


class TraceUnavailableError(Exception):
    """Neither CUPTI nor torch's profiler can trace here."""


@dataclass(frozen=True)
class KernelRun:
    """One kernel, start to end, on the card's clock. CUDA C++ names are demangled."""

    name: str
    start_ns: int
    end_ns: int
    stream: int


@dataclass(frozen=True)
class Trace:
    """What the card did, in order of time."""

    kernels: tuple[KernelRun, ...]
    memcpy_ns: int
    memset_ns: int
    busy_ns: int
    """Time in which anything ran, counted once where things ran side by side."""
    span_ns: int
    """From the first start to the last end."""
    source: str
    """`cupti` or `profiler`."""


class Tracing:
    """A trace under way; `trace` is there once its `with` block has ended."""

    _trace: Trace | None = None

    @property
    def trace(self) -> Trace:
        """The result."""
        assert self._trace is not None, "the block is still running"  # noqa: S101  a mistake of ours
        return self._trace

    def finish(self, activities: Sequence[Activity], source: str) -> None:
        """Keep the result."""
        self._trace = trace_of(activities, source)


Stop = Callable[[], Sequence[Activity]]


@contextlib.contextmanager
def traced() -> Iterator[Tracing]:
    """Trace everything that this process runs on the card within the block.

    The block starts behind a spin kernel, as calls do where they are timed, so that launch latency hides.

    Raises:
        TraceUnavailableError: there is nothing to trace with, with the reason.
        CuptiError: CUPTI lost records, or another profiler came in between.
    """
    source = chosen_source()
    if torch._C._autograd._profiler_enabled():  # noqa: SLF001  the public way came after torch 2.11
        # Both would get halves of the records, and the profiler would wait for its half for ever.
        raise TraceUnavailableError("torch's profiler is running already")
    torch.cuda.synchronize()
    tracing = Tracing()
    stop = _STARTERS[source]()
    try:
        _lead_in()
        yield tracing
        torch.cuda.synchronize()
    finally:
        activities = stop()
    tracing.finish(_without_lead_in(activities), source)


def _lead_in() -> None:
    # The first launch after tracing starts costs the host some 0.3 ms, which must not come between the call's kernels.
    torch.cuda._sleep(1)  # type: ignore[no-untyped-call]  # noqa: SLF001
    torch.cuda.synchronize()
    torch.cuda._sleep(SPIN_CYCLES)  # type: ignore[no-untyped-call]  # noqa: SLF001


def _without_lead_in(activities: Sequence[Activity]) -> list[Activity]:
    ordered = sorted(activities, key=lambda activity: activity.start_ns)
    ours = [activity for activity in ordered if LEAD_IN in activity.name][:2]
    return [activity for activity in ordered if activity not in ours]


@functools.cache
def chosen_source() -> str:
    """The first way to trace that sees a kernel launched to test it: `cupti` costs milliseconds, `profiler` seconds.

    Raises:
        TraceUnavailableError: neither does.
    """
    reasons = []
    for source, start in _STARTERS.items():
        try:
            torch.cuda.synchronize()
            stop = start()
            torch.cuda._sleep(1)  # type: ignore[no-untyped-call]  # noqa: SLF001
            torch.cuda.synchronize()
            if any(activity.kind == KERNEL for activity in stop()):
                return source
            reasons.append(f"{source}: saw nothing of a kernel that ran")
        except (CuptiError, RuntimeError, AttributeError) as error:
            reasons.append(f"{source}: {error}")
    raise TraceUnavailableError("; ".join(reasons))


def _start_cupti() -> Stop:
    cupti = load_cupti()
    cupti.start()
    return cupti.stop


def _start_profiler() -> Stop:
    profile = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA], acc_events=True)
    profile.start()

    def stop() -> list[Activity]:
        profile.stop()
        found = [activity_of(event) for event in profile.events() or ()]  # type: ignore[no-untyped-call]
        return [activity for activity in found if activity is not None]

    return stop


_STARTERS: dict[str, Callable[[], Stop]] = {"cupti": _start_cupti, "profiler": _start_profiler}


def activity_of(event: Any) -> Activity | None:
    """What one event of torch's profiler says that the card did; None for what the host did."""
    if event.device_type.name != "CUDA" or event.is_user_annotation:
        return None
    prefixes = {"Memcpy": MEMCPY, "Memset": MEMSET}
    kind = next((kind for prefix, kind in prefixes.items() if event.name.startswith(prefix)), KERNEL)
    # Microseconds since the profile began.
    start_ns, end_ns = round(event.time_range.start * 1e3), round(event.time_range.end * 1e3)
    return Activity(kind, event.name if kind == KERNEL else "", start_ns, end_ns, event.device_resource_id)


def trace_of(activities: Sequence[Activity], source: str) -> Trace:
    """The trace that these activities make up."""
    ordered = sorted(activities, key=lambda activity: activity.start_ns)

    def total_ns(kind: str) -> int:
        return sum(activity.end_ns - activity.start_ns for activity in ordered if activity.kind == kind)

    return Trace(
        kernels=tuple(
            KernelRun(demangled(activity.name), activity.start_ns, activity.end_ns, activity.stream)
            for activity in ordered
            if activity.kind == KERNEL
        ),
        memcpy_ns=total_ns(MEMCPY),
        memset_ns=total_ns(MEMSET),
        busy_ns=_covered_ns(ordered),
        span_ns=max(activity.end_ns for activity in ordered) - ordered[0].start_ns if ordered else 0,
        source=source,
    )


def _covered_ns(ordered: Sequence[Activity]) -> int:
    covered = until = 0
    for activity in ordered:
        covered += max(0, activity.end_ns - max(activity.start_ns, until))
        until = max(until, activity.end_ns)
    return covered


def trace_calls(runner: Runner, sets: Sequence[Sequence[Any]], n_calls: int) -> dict[str, Any]:
    """Trace calls over several distinct sets of arguments in turn, each on a cold L2 as where calls are timed.

    Args:
        runner: has the learner's file loaded.
        sets: sets of arguments on the card; the first is for warming up, the others are traced in turn.
        n_calls: how many calls to trace.

    Returns:
        `status` traced: `source`, `kernels` (name, ns and count of each, longest first), `memcpy_ns`, `memset_ns`,
        `total_ns` of all of these, and for each of the `calls` its `busy_ns` and `span_ns` by the trace, its `event_ns`
        by a pair of events, and its `host_ns`, the time until the function returned. `status` untraced: `why`.
        Whatever the learner's function raises is raised.
    """
    try:
        # Found out before the learner's code runs: an exception of its own can't pass for a missing tracer.
        chosen_source()
    except TraceUnavailableError as error:
        return {"status": "untraced", "why": str(error)}
    # Compiling and autotuning launch kernels of their own.
    runner.run(*sets[0])
    cache_bytes = torch.cuda.get_device_properties(0).L2_cache_size
    clean = torch.zeros(2 * cache_bytes // 4, dtype=torch.int32, device="cuda")
    measured = []
    for place in range(n_calls):
        # Read, never written, as in `timing`.
        clean.sum()
        try:
            measured.append(_traced_call(runner, sets[1 + place % (len(sets) - 1)]))
        except (CuptiError, TraceUnavailableError) as error:
            return {"status": "untraced", "why": str(error)}
    return answer_of(measured)


@dataclass(frozen=True)
class TracedCall:
    """One call: its trace, and what the events around it and the host's clock said of it."""

    trace: Trace
    event_ns: int
    host_ns: int


def _traced_call(runner: Runner, args: Sequence[Any]) -> TracedCall:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    with traced() as tracing:
        started = time.perf_counter_ns()
        start.record()
        # Kept until the trace has ended: to free memory may mean to wait.
        result = runner.run(*args)
        end.record()
        host_ns = time.perf_counter_ns() - started
    del result
    # Recording slows some kernels by 6 %: what the trace says is held against events of the same call.
    return TracedCall(tracing.trace, round(start.elapsed_time(end) * 1e6), host_ns)


def answer_of(calls: Sequence[TracedCall]) -> dict[str, Any]:
    """The answer that traced calls add up to."""
    traces = [call.trace for call in calls]
    time_ns: Counter[str] = Counter()
    count: Counter[str] = Counter()
    for kernel in (kernel for trace in traces for kernel in trace.kernels):
        time_ns[kernel.name[:MAX_NAME]] += kernel.end_ns - kernel.start_ns
        count[kernel.name[:MAX_NAME]] += 1
    memcpy_ns, memset_ns = sum(trace.memcpy_ns for trace in traces), sum(trace.memset_ns for trace in traces)
    return {
        "status": "traced",
        "source": traces[0].source,
        "kernels": [{"name": name, "ns": ns, "count": count[name]} for name, ns in time_ns.most_common()],
        "memcpy_ns": memcpy_ns,
        "memset_ns": memset_ns,
        "total_ns": sum(time_ns.values()) + memcpy_ns + memset_ns,
        "calls": [
            {
                "busy_ns": call.trace.busy_ns,
                "span_ns": call.trace.span_ns,
                "event_ns": call.event_ns,
                "host_ns": call.host_ns,
            }
            for call in calls
        ],
    }
