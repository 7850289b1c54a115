"""ex_05 Benchmark and roofline: a time that can be believed, and what it is worth.

Task: write `bench(fn, device)`, the loop that times a kernel, and `roofline(flops, n_bytes, ms, ceilings)`, which says
how good that time is. Plain Python; no do_bench.

    ridge = peak rate / bandwidth          intensity = FLOPs / bytes
    attainable = min(peak rate, intensity · bandwidth)          share = least time / measured time

`device` stands in for a card, so that the true time is known: see `Device`. All that spoils benchmarks happens on it, a
trap in each case and in the end all of them at once:
    first_call     the first call compiles, for up to half a second
    cold_clocks    for up to 100 ms after that, the device runs slower
    launch_gap     queueing a call costs the host up to 0.3 ms, and a device with nothing to do waits for it
    warm_cache     what a call has read lies in the cache for the next, which no caller with other data will find
    outliers       every eighth call or so takes ten times as long; the rest vary by a few per cent
    coarse_clock   the host's clock moves in steps of 16 ms
And always: queueing returns at once, long before the work is done.

Signatures
    bench(fn, device) -> float        milliseconds that the device needs for one call of `fn()` on cold caches, with the
                                      host out of its way. At most 10 000 calls of `fn`.
    roofline(flops, n_bytes, ms, ceilings) -> Roofline      of a kernel that took `ms`. Either of `flops` and `n_bytes`
                                      may be 0, not both. At the ridge itself a kernel counts as bound by compute.

How it is graded: `bench` on three devices a case, from 50 µs to 3 ms a call, within 5 % of the true time; `roofline`
exactly, at the ridge and for kernels that compute or move nothing.

Read: CUDA C++ Best Practices Guide, "Performance Metrics"; S. Williams, A. Waterman, D. Patterson, "Roofline: An
Insightful Visual Performance Model" (CACM 2009).
"""

import math
import statistics
from collections.abc import Callable
from typing import NamedTuple, Protocol


class Event(Protocol):
    """torch.cuda.Event: a mark in the queue, which notes the device's time when the device comes to it."""

    def record(self) -> None: ...
    def synchronize(self) -> None: ...
    def elapsed_time(self, end: "Event") -> float:
        """Milliseconds from this mark to `end`, in steps of half a microsecond; the device must have passed both."""


class Device(Protocol):
    """What torch.cuda has, with short names for what takes two lines there."""

    def Event(self, enable_timing: bool = False) -> Event: ...  # noqa: N802  torch's name
    def synchronize(self) -> None: ...
    def flush_cache(self) -> None:
        """Queue a read of more bytes than the cache holds: it takes the device up to 0.1 ms."""

    def spin(self, ms: float) -> None:
        """Queue a kernel that does nothing for so long (torch.cuda._sleep, which counts cycles)."""

    def clock(self) -> float:
        """Seconds on the host's clock (time.perf_counter)."""


def bench(fn: Callable[[], object], device: Device) -> float:
    """Return the milliseconds that the device needs for a call of fn()."""
    # TODO 1: let everything settle that happens in the first calls only.
    # TODO 2: time calls one by one: the call's own work between two marks, and nothing else.
    # TODO 3: make one figure of the samples, which a few bad ones don't change.
    raise NotImplementedError("ex_05: write bench()")


class Ceilings(NamedTuple):
    """What a card can do, measured or from its data sheet. Tera is 10¹², giga 10⁹."""

    tflop_per_s: float
    gb_per_s: float


BOUNDS = ("memory", "compute")


class Roofline(NamedTuple):
    """Where a kernel stands under the roof."""

    intensity: float
    """FLOPs a byte; math.inf where no byte moves."""
    ridge: float
    """The intensity from which on arithmetic is the limit."""
    bound: str
    """One of BOUNDS."""
    attainable_tflop_per_s: float
    """The most that a kernel of this intensity can reach."""
    share: float
    """The least time that the ceilings allow, as a share of the time that was measured: 1 is as good as it gets."""


def roofline(flops: float, n_bytes: float, ms: float, ceilings: Ceilings) -> Roofline:
    """Hold a measured time against the ceilings."""
    # TODO 4: mind the units, and kernels without FLOPs or without bytes.
    raise NotImplementedError("ex_05: write roofline()")
