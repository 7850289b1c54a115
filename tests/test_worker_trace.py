"""Tracing calls: what records add up to, what is used to trace with, and, on a card, what is seen."""

from __future__ import annotations

import statistics
import time
from types import SimpleNamespace

import pytest
import torch

from gpuprep.grading.kernels import KernelTime, judge_trace, library_of, own_share
from gpuprep.model import Outcome
from gpuprep.worker import trace as tracing
from gpuprep.worker.cupti import Activity, CuptiError
from gpuprep.worker.trace import (
    TracedCall,
    TraceUnavailableError,
    activity_of,
    answer_of,
    chosen_source,
    trace_calls,
    trace_of,
)

N_CALLS = 8


def kernel(name, start_ns, end_ns, stream=7):
    """A kernel that ran."""
    return Activity("kernel", name, start_ns, end_ns, stream)


@pytest.fixture
def starters(monkeypatch):
    """Ways to trace, to be filled in by a test, and no card."""
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "_sleep", lambda _: None)
    ways = {}
    monkeypatch.setattr(tracing, "_STARTERS", ways)
    chosen_source.cache_clear()
    yield ways
    chosen_source.cache_clear()


def refuse():
    """A way to trace that is not there."""
    raise CuptiError("no such library")


def test_busy_time_counts_overlaps_once_and_no_gaps():
    """Two kernels side by side, one inside another, a gap, a copy."""
    found = trace_of(
        [
            kernel("b", 150, 250, stream=8),
            kernel("a", 100, 200),
            kernel("c", 160, 170, stream=9),
            Activity("memcpy", "", 400, 450, 7),
            Activity("memset", "", 450, 451, 7),
        ],
        "cupti",
    )

    assert (found.busy_ns, found.span_ns, found.memcpy_ns, found.memset_ns) == (201, 351, 50, 1)
    assert [run.name for run in found.kernels] == ["a", "b", "c"]


def test_a_trace_of_nothing_is_empty():
    """No call launched anything."""
    found = trace_of([], "cupti")

    assert (found.kernels, found.busy_ns, found.span_ns) == ((), 0, 0)


def test_runs_of_a_kernel_add_up_by_name():
    """Over all calls, the longest first, C++ names readable."""
    once = trace_of([kernel("_Z4copyv", 0, 10), kernel("_add", 20, 120)], "cupti")

    answer = answer_of([TracedCall(once, event_ns=125, host_ns=5_000)] * 3)

    assert answer["kernels"] == [{"name": "_add", "ns": 300, "count": 3}, {"name": "copy()", "ns": 30, "count": 3}]
    assert answer["total_ns"] == 330
    assert answer["calls"] == [{"busy_ns": 110, "span_ns": 120, "event_ns": 125, "host_ns": 5_000}] * 3


def profiler_event(name, device="CUDA", *, is_user_annotation=False):
    """What torch's profiler says of something from 1.5 to 4 µs."""
    return SimpleNamespace(
        name=name,
        device_type=SimpleNamespace(name=device),
        is_user_annotation=is_user_annotation,
        time_range=SimpleNamespace(start=1.5, end=4.0),
        device_resource_id=7,
    )


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (profiler_event("_add_kernel"), kernel("_add_kernel", 1500, 4000)),
        (profiler_event("Memcpy DtoD (Device -> Device)"), Activity("memcpy", "", 1500, 4000, 7)),
        (profiler_event("Memset (Device)"), Activity("memset", "", 1500, 4000, 7)),
        (profiler_event("cudaLaunchKernel", "CPU"), None),
        (profiler_event("forward", is_user_annotation=True), None),
    ],
)
def test_the_profilers_events_say_the_same(event, expected):
    """In nanoseconds; what happened on the host, or was only named there, is left out."""
    assert activity_of(event) == expected


def test_cupti_is_used_where_it_works(starters):
    """The profiler, which costs seconds, isn't started then."""
    starters["cupti"] = lambda: lambda: [kernel("spin_kernel", 1, 2)]
    starters["profiler"] = refuse

    assert chosen_source() == "cupti"


@pytest.mark.parametrize("cupti", [refuse, lambda: list], ids=["refuses", "is blind"])
def test_the_profiler_stands_in_for_cupti(starters, cupti):
    """Where CUPTI can't be had, and where it sees nothing of a kernel that ran."""
    starters["cupti"] = cupti
    starters["profiler"] = lambda: lambda: [kernel("spin_kernel", 1, 2)]

    assert chosen_source() == "profiler"


def test_nothing_to_trace_with_is_said_with_the_reasons(starters):
    """Both reasons, for a person to mend one."""
    starters["cupti"] = refuse
    starters["profiler"] = lambda: list

    with pytest.raises(TraceUnavailableError, match=r"no such library.*saw nothing"):
        chosen_source()


def test_calls_that_cant_be_traced_are_answered(starters):
    """An answer with a reason, before the learner's function is called."""
    starters["cupti"] = refuse

    answer = trace_calls(SimpleNamespace(run=None), [(), ()], N_CALLS)

    assert answer == {"status": "untraced", "why": "cupti: no such library"}


def test_the_lead_in_is_not_the_learners(starters):
    """The two spin kernels that we launched are dropped, one that the learner launched is not."""
    spins = [kernel("spin_kernel(long)", start, start + 1) for start in (1, 3, 30)]
    starters["cupti"] = lambda: lambda: [*spins, kernel("_add", 10, 20)]

    with tracing.traced() as found:
        pass

    assert [run.name for run in found.trace.kernels] == ["_add", "spin_kernel(long)"]


def test_tracing_stops_when_the_block_raises(starters):
    """What the learner's code raises goes on, and nothing stays switched on."""
    stopped = []
    starters["cupti"] = lambda: lambda: stopped.append(1) or [kernel("spin_kernel", 1, 2)]
    chosen_source()
    stopped.clear()

    with pytest.raises(ZeroDivisionError), tracing.traced():
        raise ZeroDivisionError
    assert stopped == [1]


def test_a_running_profiler_is_not_disturbed(starters, monkeypatch):
    """Two would take each other's records."""
    starters["cupti"] = lambda: lambda: [kernel("spin_kernel", 1, 2)]
    monkeypatch.setattr(torch._C._autograd, "_profiler_enabled", lambda: True)

    with pytest.raises(TraceUnavailableError), tracing.traced():
        pass


# From here on: on a card.


class Learner:
    """A runner of one function, as the worker has it."""

    def __init__(self, function):
        self.run = function


def traced_answer(function, *sets):
    """The answer for calls of this function, warmed up."""
    for _ in range(3):
        function(*sets[0])
    torch.cuda.synchronize()
    return trace_calls(Learner(function), sets if len(sets) > 1 else sets * 2, N_CALLS)


def claimed_ms(function, *sets):
    """Time a call by events, as the worker takes it."""
    from gpuprep.worker.timing import sample_ms

    return statistics.median(sample_ms(function, [*sets, *sets], cap_s=0.3))


def kernel_names(answer):
    """Names, the longest-running first."""
    return [row["name"] for row in answer["kernels"]]


@pytest.fixture
def vectors():
    """Two vectors whose sum takes some 0.2 ms on a large card."""
    return torch.randn(2**26, device="cuda"), torch.randn(2**26, device="cuda")


@pytest.fixture
def add():
    """The first exercise's solution."""
    import importlib.util
    from pathlib import Path

    path = Path(__file__).resolve().parent.parent / "reference" / "00_foundations" / "ex_01_vector_add.py"
    spec = importlib.util.spec_from_file_location("reference_add", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.add


@pytest.mark.gpu
def test_own_kernels_are_seen_and_agree_with_the_events(add, vectors):
    """A Triton kernel by its name, once a call, and nothing to find fault with."""
    answer = traced_answer(add, vectors)

    assert kernel_names(answer) == ["_add_kernel"]
    assert answer["kernels"][0]["count"] == N_CALLS
    assert answer["source"] == "cupti"
    assert judge_trace(answer, claimed_ms(add, vectors), N_CALLS) is None


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("library", "function"),
    [
        ("at::native", lambda a, b: a + b),
        ("cuBLAS", lambda a, b: a @ b),
        ("at::native", lambda a, b: torch.softmax(a, -1)),
        ("CUB and Thrust", lambda a, b: a.flatten().cumsum(0)),
    ],
)
def test_torchs_kernels_are_banned(library, function):
    """Whatever torch calls is named by the library it comes from."""
    matrices = [torch.randn(4096, 4096, device="cuda", dtype=torch.float16) for _ in range(2)]
    answer = traced_answer(function, matrices)
    fault = judge_trace(answer, claimed_ms(function, matrices), N_CALLS)

    assert library_of(kernel_names(answer)[0]) == library
    assert fault is not None
    assert fault.outcome is Outcome.BANNED_CALL


@pytest.mark.gpu
def test_a_decoy_beside_a_library_call_is_seen(add, vectors):
    """The learner's kernel does all of its traffic, and torch computes the result."""
    answer = traced_answer(lambda x, y: (add(x, y), x + y)[1], vectors)

    assert own_share([KernelTime(**row) for row in answer["kernels"]]) == pytest.approx(0.5, abs=0.1)


@pytest.mark.gpu
def test_kernels_of_a_graph_captured_before_are_seen(add, vectors):
    """Replaying a CUDA graph hides no kernel."""
    graph = torch.cuda.CUDAGraph()
    add(*vectors)
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        add(*vectors)
        add(*vectors)
    answer = traced_answer(lambda *_: graph.replay(), vectors)

    assert kernel_names(answer) == ["_add_kernel"]
    assert answer["kernels"][0]["count"] == 2 * N_CALLS
    assert judge_trace(answer, claimed_ms(lambda *_: graph.replay(), vectors), N_CALLS) is None


@pytest.mark.gpu
def test_work_on_a_side_stream_contradicts_the_events(add, vectors):
    """The events see nothing of another stream; the trace sees every one."""
    side = torch.cuda.Stream()

    def aside(x, y):
        with torch.cuda.stream(side):
            return add(x, y)

    answer = traced_answer(aside, vectors)
    fault = judge_trace(answer, claimed_ms(aside, vectors), N_CALLS)

    assert fault is not None
    assert fault.outcome is Outcome.INVALID


@pytest.mark.gpu
@pytest.mark.parametrize(
    "slow",
    [
        lambda add, x, y: [add(x[: 2**16], y[: 2**16]) for _ in range(60)],
        lambda add, x, y: (time.sleep(1e-3), add(x, y))[1],
        lambda add, x, y: (add(x, y)[0].item(), add(x, y))[1],
        lambda add, x, y: (torch.zeros_like(x), add(x, y))[1],
    ],
    ids=["many launches", "a slow host", "a wait in between", "zeroed memory"],
)
def test_honest_but_slow_code_contradicts_nothing(add, vectors, slow):
    """Whatever makes the events longer than the kernels is the learner's loss alone."""

    def function(x, y):
        return slow(add, x, y)

    answer = traced_answer(function, vectors)

    assert judge_trace(answer, claimed_ms(function, vectors), N_CALLS) is None


@pytest.mark.gpu
def test_a_cupy_kernel_is_the_learners(vectors):
    """Compiled at run time from a string; no library's name."""
    cupy = pytest.importorskip("cupy")
    source = 'extern "C" __global__ void saxpy(const float* x, const float* y, float* o) {'
    source += " int i = blockIdx.x * blockDim.x + threadIdx.x; o[i] = 2.0f * x[i] + y[i]; }"
    saxpy = cupy.RawKernel(source, "saxpy")

    def function(x, y):
        out = torch.empty_like(x)
        saxpy((x.numel() // 256,), (256,), tuple(cupy.from_dlpack(tensor) for tensor in (x, y, out)))
        return out

    answer = traced_answer(function, vectors)

    assert kernel_names(answer) == ["saxpy"]
    assert judge_trace(answer, claimed_ms(function, vectors), N_CALLS) is None


@pytest.mark.gpu
def test_a_copied_result_is_not_the_learners(vectors):
    """What was computed once and is copied out ever after."""
    answer = traced_answer(lambda x, y: x.clone(), vectors)

    assert answer["memcpy_ns"] > 0.9 * answer["total_ns"]
    fault = judge_trace(answer, claimed_ms(lambda x, y: x.clone(), vectors), N_CALLS)
    assert fault is not None
    assert fault.outcome is Outcome.BANNED_CALL


@pytest.mark.gpu
def test_tracing_costs_a_few_milliseconds_and_leaves_no_trace(add, vectors):
    """After the first time; and what is timed afterwards is as fast as before."""
    before_ms = claimed_ms(add, vectors)
    traced_answer(add, vectors)
    started = time.perf_counter()
    for _ in range(20):
        with tracing.traced():
            add(*vectors)
    each_ms = (time.perf_counter() - started) / 20 * 1e3

    assert each_ms < 10
    assert claimed_ms(add, vectors) == pytest.approx(before_ms, rel=0.02)


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:.*Profiler clears events")
def test_a_profiler_of_the_learners_own_gets_nobody_past_the_trace(add, vectors):
    """One that is running already leaves nothing to trace with; one that takes the records leaves none to pass with."""

    def profiled(x, y):
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]):
            return add(x, y)

    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]):
        assert traced_answer(add, vectors)["status"] == "untraced"
    fault = judge_trace(traced_answer(profiled, vectors), claimed_ms(add, vectors), N_CALLS)
    assert fault is not None
    assert fault.outcome is Outcome.INVALID
    assert judge_trace(traced_answer(add, vectors), claimed_ms(add, vectors), N_CALLS) is None


@pytest.mark.gpu
@pytest.mark.parametrize("threads", [32, 64, 128, 256, 1024])
def test_many_blocks_agree_with_the_events(vectors, threads):
    """Tracing costs time a block; the events of the same call see it as well."""
    cupy = pytest.importorskip("cupy")
    source = 'extern "C" __global__ void twice(const float* x, float* o) {'
    source += " int i = blockIdx.x * blockDim.x + threadIdx.x; o[i] = 2.0f * x[i]; }"
    twice = cupy.RawKernel(source, "twice")

    def function(x, y):
        twice((x.numel() // threads,), (threads,), (cupy.from_dlpack(x), cupy.from_dlpack(y)))
        return y

    assert judge_trace(traced_answer(function, vectors), claimed_ms(function, vectors), N_CALLS) is None


@pytest.mark.gpu
def test_the_profiler_sees_the_same(add, vectors, monkeypatch):
    """The slow way: names, counts and times agree with CUPTI's."""
    quick = traced_answer(add, vectors)
    monkeypatch.delitem(tracing._STARTERS, "cupti")
    chosen_source.cache_clear()
    slow = traced_answer(add, vectors)
    chosen_source.cache_clear()

    assert slow["source"] == "profiler"
    assert kernel_names(slow) == kernel_names(quick)
    assert slow["total_ns"] == pytest.approx(quick["total_ns"], rel=0.05)
