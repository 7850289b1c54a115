"""Kernels under Triton's interpreter, each run in one worker process that has TRITON_INTERPRET set."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import pytest
import torch

from gpuprep.counters.triton_support import check_supported
from gpuprep.errors import UnsupportedTritonError

WORKER = """
import dataclasses, importlib.util, json, pathlib, sys
import torch
from gpuprep.counters.masked_lanes import Garbage
from gpuprep.counters.triton_interpreter import Counter

counter = Counter()
torch.set_num_threads(1)
for number, line in enumerate(sys.stdin):
    request = json.loads(line)
    path = pathlib.Path(sys.argv[1]) / f"kernels_{number}.py"
    path.write_text(request["source"])
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    arguments = module.make()
    output, raised = None, ""
    garbage = Garbage(**request["garbage"])
    with counter.recording(
        reverse=request["reverse"], inputs=arguments, path=str(path), garbage=garbage
    ) as recording:
        try:
            output = module.run(*arguments)
        except BaseException as error:
            raised = type(error).__name__
    is_tensor = isinstance(output, torch.Tensor)
    print(json.dumps({
        "path": str(path),
        "work": dataclasses.asdict(recording.work),
        "findings": [dataclasses.asdict(finding) for finding in recording.findings],
        "host_ops": [dataclasses.asdict(op) for op in recording.host_ops],
        "raised": raised,
        "output": output.tolist() if is_tensor else output,
        "n_stored": recording.stored_into(output) if is_tensor else 0,
    }), flush=True)
"""

HEADER = "import torch\nimport triton\nimport triton.language as tl\n"

ADD = """
@triton.jit
def _add_kernel(x_ptr, y_ptr, out_ptr, n, BLOCK_SIZE: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    mask = offsets < n
    x = tl.load(x_ptr + offsets, mask=mask)
    y = tl.load(y_ptr + offsets, mask=mask)
    tl.store(out_ptr + offsets, x + y{store_mask})  # MARK

def make():
    return torch.arange({n}).float(), torch.ones({n})

def run(x, y):
    out = torch.empty_like(x)
    _add_kernel[(triton.cdiv(x.numel(), 1024),)](x, y, out, x.numel(), BLOCK_SIZE=1024)
    return out
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Runs kernel source in the worker and returns what was recorded."""
    folder = tmp_path_factory.mktemp("kernels")
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, str(folder)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as worker:

        def send(source, *, reverse=False, garbage=None):
            source = HEADER + textwrap.dedent(source)
            worker.stdin.write(json.dumps({"source": source, "reverse": reverse, "garbage": garbage or {}}) + "\n")
            worker.stdin.flush()
            answer = worker.stdout.readline()
            assert answer, "the worker died"
            marked = [number for number, line in enumerate(source.splitlines(), 1) if "# MARK" in line]
            return SimpleNamespace(**json.loads(answer), marked=marked)

        yield send
        worker.stdin.close()


def only_finding(result):
    """The single fault, as a namespace."""
    faults = [finding for finding in result.findings if finding["severity"] == "error"]
    assert len(faults) == 1, result.findings
    return SimpleNamespace(**faults[0])


# Counted work


def test_vector_add_counts_three_bytes_an_element_exactly(run):
    """Aligned vector add loads two operands and stores one, in whole sectors, in one launch."""
    result = run(ADD.format(n=2048, store_mask=", mask=mask"))

    assert result.output == [value + 1.0 for value in range(2048)]
    assert {figure: count for figure, count in result.work.items() if count or figure in ("dot_flops",)} == {
        "bytes_loaded": 2 * 2048 * 4,
        "bytes_stored": 2048 * 4,
        "sectors_loaded": 2 * 2048 // 8,
        "sectors_stored": 2048 // 8,
        "launches": 1,
        "programs": 2,
        "dot_flops": 0,
        "peak_bytes": 2048 * 4,
        "largest_tensor_bytes": 2048 * 4,
        "bytes_loaded_of": [2048 * 4, 2048 * 4],
    }
    assert result.findings == []


def test_masked_lanes_are_not_counted(run):
    """A tail program counts its active lanes only."""
    result = run(ADD.format(n=1025, store_mask=", mask=mask"))

    assert (result.work["bytes_loaded"], result.work["bytes_stored"]) == (2 * 1025 * 4, 1025 * 4)
    assert (result.raised, result.n_stored) == ("", 1025)
    assert all(finding["severity"] == "note" for finding in result.findings)


MASKED = """
@triton.jit
def _kernel(x_ptr, out_ptr):
    lanes = tl.arange(0, 4)
    unset = tl.load(x_ptr + lanes, mask=lanes < 2)  # MARK
    kept = tl.load(x_ptr + lanes, mask=lanes < 2, other=0)
    whole = tl.load(x_ptr + lanes, mask=lanes < 4)
    again = tl.load(x_ptr + lanes, mask=lanes < 1)  # MARK
    tl.store(out_ptr + lanes, unset.to(tl.float64))
    tl.store(out_ptr + 4 + lanes, kept.to(tl.float64))
    tl.store(out_ptr + 8 + lanes, whole.to(tl.float64))
    tl.store(out_ptr + 12 + lanes, again.to(tl.float64))

def make():
    return (torch.ones(4).to(torch.{dtype}),)

def run(x):
    out = torch.empty(16, dtype=torch.float64)
    _kernel[(1,)](x, out)
    return out
"""


@pytest.mark.parametrize(
    ("dtype", "nan", "loud"),
    [
        *((dtype, math.nan, value) for dtype, value in (("float64", 1e300), ("float32", 1e30), ("float16", 3e4))),
        ("bfloat16", math.nan, 1e30),
        *((dtype, -1, 90) for dtype in ("int64", "int32", "int8")),
        ("uint8", 255, 90),
    ],
)
def test_masked_lanes_hold_garbage_unless_a_load_says_what(run, dtype, nan, loud):
    """Without `other` they are NaN, or large; where one line is named, those of the others are 0."""
    usual = run(MASKED.format(dtype=dtype))
    assert usual.raised == ""
    rest = [1, 1, 0, 0, 1, 1, 1, 1]
    assert usual.output == pytest.approx([1, 1, nan, nan, *rest, 1, nan, nan, nan], nan_ok=True)
    assert [(note["kind"], note["severity"], note["line"], note["lanes"]) for note in usual.findings] == [
        ("unset_lanes", "note", line, lanes) for line, lanes in zip(usual.marked, (2, 3), strict=True)
    ]
    other = -loud if dtype != "uint8" else 256 - loud
    one = run(MASKED.format(dtype=dtype), garbage={"kind": "loud", "line": usual.marked[1]})
    assert one.output == pytest.approx([1, 1, 0, 0, *rest, 1, other, loud, other], rel=1e-2)


def test_strided_access_touches_a_sector_a_lane(run):
    """Lanes 32 bytes apart use one sector each, and duplicates of an address share theirs."""
    result = run("""
        @triton.jit
        def _kernel(x_ptr, out_ptr):
            lanes = tl.arange(0, 64)
            far = tl.load(x_ptr + lanes * 8)
            backwards = tl.load(x_ptr + (63 - lanes) * 8)
            same = tl.load(x_ptr + lanes * 0)
            tl.store(out_ptr + lanes, far + backwards + same)

        def make():
            return (torch.arange(512).float(),)

        def run(x):
            out = torch.empty(64)
            _kernel[(1,)](x, out)
            return out
    """)

    assert result.work["sectors_loaded"] == 64 + 64 + 1
    assert result.work["sectors_stored"] == 8
    assert result.work["bytes_loaded"] == 3 * 64 * 4


def test_dot_counts_two_flops_a_product(run):
    """A dot of [16, 32] by [32, 64] is 2·M·N·K, and a batch multiplies it."""
    result = run("""
        @triton.jit
        def _kernel(a_ptr, b_ptr, out_ptr):
            m, k, n = tl.arange(0, 16), tl.arange(0, 32), tl.arange(0, 64)
            a = tl.load(a_ptr + m[:, None] * 32 + k[None, :])
            b = tl.load(b_ptr + k[:, None] * 64 + n[None, :])
            tl.store(out_ptr + m[:, None] * 64 + n[None, :], tl.dot(a, b))
            batched = tl.dot(tl.broadcast_to(a[None, :, :], (2, 16, 32)), tl.broadcast_to(b[None, :, :], (2, 32, 64)))

        def make():
            return torch.randn(16, 32), torch.randn(32, 64)

        def run(a, b):
            out = torch.empty(16, 64)
            _kernel[(1,)](a, b, out)
            return out
    """)

    assert result.raised == ""
    assert result.work["dot_flops"] == 3 * 2 * 16 * 64 * 32
    assert result.n_stored == 16 * 64


def test_a_loop_with_a_runtime_bound_runs(run):
    """A kernel may loop up to an argument, on every supported version with a current NumPy."""
    result = run("""
        @triton.jit
        def _kernel(x_ptr, out_ptr, n, BLOCK_SIZE: tl.constexpr):
            total = tl.zeros((BLOCK_SIZE,), tl.float32)
            for start in range(0, n, BLOCK_SIZE):
                total += tl.load(x_ptr + start + tl.arange(0, BLOCK_SIZE))
            tl.store(out_ptr, tl.sum(total))

        def make():
            return (torch.ones(64),)

        def run(x):
            out = torch.empty(1)
            _kernel[(1,)](x, out, 64, BLOCK_SIZE=16)
            return out
    """)

    assert (result.raised, result.output, result.work["bytes_loaded"]) == ("", [64.0], 256)


def test_launches_count_calls_of_the_host_only(run):
    """A jit function called in a kernel is no launch; an empty grid is one without programs."""
    result = run("""
        @triton.jit
        def _double(x):
            return x * 2

        @triton.jit
        def _kernel(x_ptr, out_ptr):
            lanes = tl.arange(0, 16)
            tl.store(out_ptr + lanes, _double(tl.load(x_ptr + lanes)))

        @triton.jit
        def _idle_kernel(n):
            tl.device_assert(n > 0)

        def make():
            return (torch.ones(16),)

        def run(x):
            out = torch.empty(16)
            _kernel[(1,)](x, out)
            _kernel[(0,)](x, out)
            _idle_kernel[(2, 3)](1)
            return out
    """)

    assert (result.work["launches"], result.work["programs"]) == (3, 7)
    assert (result.output, result.findings) == ([2.0] * 16, [])


def test_atomics_count_as_a_load_and_a_store(run):
    """An atomic's active lanes are loaded and stored."""
    result = run("""
        @triton.jit
        def _kernel(x_ptr, out_ptr, n):
            lanes = tl.arange(0, 16)
            tl.atomic_add(out_ptr + lanes, 1.0, mask=lanes < n)
            tl.atomic_cas(x_ptr, 0, 7)

        def make():
            return (torch.zeros(1, dtype=torch.int32),)

        def run(x):
            out = torch.zeros(16)
            _kernel[(1,)](x, out, 5)
            return out
    """)

    assert (result.work["bytes_loaded"], result.work["bytes_stored"]) == (5 * 4 + 4, 5 * 4 + 4)
    assert (result.output[:6], result.n_stored) == ([1.0] * 5 + [0.0], 5)


def test_descriptor_accesses_are_counted_without_their_padding(run):
    """A tensor descriptor's block that sticks out past the tensor counts only what lies inside."""
    result = run("""
        from triton.tools.tensor_descriptor import TensorDescriptor

        @triton.jit
        def _kernel(source, out):
            out.store([0, 0], source.load([0, 0]))

        def make():
            return (torch.arange(48).float().view(6, 8),)

        def run(x):
            out = torch.empty(6, 8)
            _kernel[(1,)](TensorDescriptor.from_tensor(x, [8, 8]), TensorDescriptor.from_tensor(out, [8, 8]))
            return out
    """)

    assert result.raised == ""
    assert (result.work["bytes_loaded"], result.work["bytes_stored"], result.n_stored) == (192, 192, 48)


def test_autotuned_kernel_runs_its_first_configuration(run):
    """Without a driver the tuner can't benchmark: the first configuration that pruning left is taken, run once."""
    result = run("""
        def _prune(configs, named_args, **kwargs):
            return configs[1:]

        @triton.autotune(
            configs=[triton.Config({"BLOCK_SIZE": size}) for size in (16, 32, 64)],
            key=["n"],
            prune_configs_by={"early_config_prune": _prune},
        )
        @triton.jit
        def _kernel(out_ptr, n, BLOCK_SIZE: tl.constexpr):
            lanes = tl.program_id(0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
            tl.store(out_ptr + lanes, lanes, mask=lanes < n)

        def make():
            return ()

        def run():
            out = torch.empty(128, dtype=torch.int32)
            _kernel[lambda meta: (triton.cdiv(128, meta["BLOCK_SIZE"]),)](out, 128)
            return out
    """)

    assert (result.raised, result.output) == ("", list(range(128)))
    assert (result.work["launches"], result.work["programs"]) == (1, 4)


def test_reverse_runs_the_last_program_first(run):
    """In reversed order, a ticket drawn from a counter goes to the last program first, in every dimension."""
    source = """
        @triton.jit
        def _kernel(ticket_ptr, out_ptr):
            place = tl.program_id(0) * 3 + tl.program_id(1)
            tl.store(out_ptr + place, tl.atomic_add(ticket_ptr, 1))

        def make():
            return (torch.zeros(1, dtype=torch.int32),)

        def run(ticket):
            out = torch.empty(6, dtype=torch.int32)
            _kernel[(2, 3)](ticket, out)
            return out
    """

    assert run(source).output == [0, 1, 2, 3, 4, 5]
    assert run(source, reverse=True).output == [5, 4, 3, 2, 1, 0]


def test_half_written_output_shows_in_what_was_stored(run):
    """Only elements that a kernel stored count as stored, once each, whatever their stride."""
    result = run("""
        @triton.jit
        def _kernel(out_ptr, stride):
            lanes = tl.arange(0, 8)
            tl.store(out_ptr + lanes * stride, 1.0)
            tl.store(out_ptr + lanes * stride, 2.0)

        def make():
            return ()

        def run():
            out = torch.zeros(16, 3)[:, 0]
            _kernel[(1,)](out, out.stride(0))
            return out
    """)

    assert (result.n_stored, result.work["bytes_stored"]) == (8, 64)


# Out of bounds


def test_store_without_mask_is_stopped_with_its_line_program_and_element(run):
    """The first element past the end, its program, its lanes and its line are named, and nothing is written."""
    result = run(ADD.format(n=1025, store_mask=""))

    finding = only_finding(result)
    assert result.raised == "OutOfBoundsAccess"
    assert finding.kind == "out_of_bounds"
    assert (finding.path, finding.line) == (result.path, result.marked[0])
    assert (finding.kernel, finding.tensor, finding.index) == ("_add_kernel", "out_ptr", 1025)
    assert (finding.program, finding.lanes, finding.is_store) == ([1, 0, 0], 1023, True)


def test_out_of_bounds_message_reads_well(run):
    """The contract for the wording."""
    finding = only_finding(run(ADD.format(n=1025, store_mask="")))

    assert finding.message == "store past the end of out_ptr: index 1025 of 1025 elements (program 1, 1023 lanes)"


def test_negative_index_is_out_of_bounds(run):
    """A load before the first element names a negative element, in a function that the kernel calls."""
    result = run("""
        @triton.jit
        def _left(x_ptr, lanes):
            return tl.load(x_ptr + lanes - 2)  # MARK

        @triton.jit
        def _kernel(x_ptr, out_ptr):
            lanes = tl.arange(0, 16)
            tl.store(out_ptr + lanes, _left(x_ptr, lanes))

        def make():
            return (torch.zeros(64)[16:32],)

        def run(x):
            out = torch.empty(16)
            _kernel[(1,)](x, out)
            return out
    """)

    finding = only_finding(result)
    assert (finding.tensor, finding.index, finding.lanes, finding.is_store) == ("x_ptr", -2, 2, False)
    assert finding.line == result.marked[0]
    assert result.n_stored == 0


def test_padding_of_a_strided_view_is_out_of_bounds(run):
    """A kernel that takes a padded row for a contiguous one reads between the rows."""
    result = run("""
        @triton.jit
        def _kernel(x_ptr, out_ptr):
            lanes = tl.arange(0, 16)
            tl.store(out_ptr + lanes, tl.load(x_ptr + lanes))  # MARK

        def make():
            return (torch.zeros(4, 7)[:, :4],)

        def run(x):
            out = torch.empty(4, 4)
            _kernel[(1,)](x, out)
            return out
    """)

    finding = only_finding(result)
    assert (finding.kind, finding.tensor, finding.index) == ("out_of_bounds", "x_ptr", 4)
    assert finding.lanes == 6
    assert finding.line == result.marked[0]


def test_a_view_cannot_widen_an_input(run):
    """as_strided over an input's guard band doesn't make the band part of the input."""
    result = run("""
        @triton.jit
        def _kernel(x_ptr, out_ptr):
            lanes = tl.arange(0, 16)
            tl.store(out_ptr + lanes, tl.load(x_ptr + lanes))

        def make():
            return (torch.zeros(64)[16:24],)

        def run(x):
            out = torch.empty(16)
            _kernel[(1,)](x.as_strided((16,), (1,)), out)
            return out
    """)

    finding = only_finding(result)
    assert (finding.kind, finding.tensor, finding.index) == ("out_of_bounds", "x_ptr", 8)


def test_an_overrun_into_another_argument_is_still_out_of_bounds(run):
    """Whose element an address was computed from counts, not whose memory it happens to hit."""
    result = run("""
        @triton.jit
        def _kernel(q_ptr, k_ptr, out_ptr):
            lanes = tl.arange(0, 32)
            tl.store(out_ptr + lanes, tl.load(q_ptr + lanes))

        def make():
            return (torch.zeros(2, 16),)

        def run(qk):
            out = torch.empty(32)
            _kernel[(1,)](qk[0], qk[1], out)
            return out
    """)

    finding = only_finding(result)
    assert (finding.tensor, finding.index, finding.lanes) == ("q_ptr", 16, 16)


def test_one_access_may_choose_between_tensors(run):
    """Lanes of one load that point into several arguments are each judged by their own."""
    source = """
        @triton.jit
        def _kernel(x_ptr, y_ptr, out_ptr, n):
            lanes = tl.arange(0, 32)
            values = tl.load(tl.where(lanes < n, x_ptr + lanes, y_ptr + lanes - n))
            tl.store(out_ptr + lanes, values)

        def make():
            return torch.zeros(16), torch.ones(16)

        def run(x, y):
            out = torch.empty(32)
            _kernel[(1,)](x, y, out, {n})
            return out
    """
    fine, wrong = run(source.format(n=16)), run(source.format(n=17))

    assert (fine.findings, fine.output) == ([], [0.0] * 16 + [1.0] * 16)
    assert fine.work["bytes_loaded"] == 32 * 4
    assert (only_finding(wrong).tensor, only_finding(wrong).index, only_finding(wrong).lanes) == ("x_ptr", 16, 1)


def test_views_aliases_and_tuples_are_in_bounds(run):
    """A transposed view, an expanded one, the same tensor twice and tensors in a tuple are all fine."""
    result = run("""
        @triton.jit
        def _kernel(t_ptr, again_ptr, wide_ptr, pair, out_ptr, stride_0, stride_1):
            rows, columns = tl.arange(0, 4)[:, None], tl.arange(0, 8)[None, :]
            values = tl.load(t_ptr + rows * stride_0 + columns * stride_1)
            values += tl.load(again_ptr + rows * stride_0 + columns * stride_1)
            values += tl.load(wide_ptr + rows * 0 + columns) + tl.load(pair[0] + rows * 0 + columns)
            tl.store(out_ptr + rows * 8 + columns, values)

        def make():
            return torch.ones(8, 4).t(), torch.ones(8)

        def run(x, y):
            out = torch.empty(4, 8)
            _kernel[(1,)](x, x, y.expand(4, 8), (y, y), out, x.stride(0), x.stride(1))
            return out
    """)

    assert (result.raised, result.findings) == ("", [])
    assert result.output == [[4.0] * 8] * 4


def test_an_integer_address_belongs_to_no_tensor(run):
    """A pointer smuggled in as an int is out of bounds of every argument."""
    result = run("""
        @triton.jit
        def _kernel(address, out_ptr):
            tl.store(out_ptr, tl.load(address.to(tl.pointer_type(tl.float32))))

        def make():
            return (torch.ones(1),)

        def run(x):
            out = torch.empty(1)
            _kernel[(1,)](x.data_ptr(), out)
            return out
    """)

    finding = only_finding(result)
    assert (finding.kind, finding.tensor, finding.is_store) == ("out_of_bounds", "", False)


def test_except_exception_cannot_swallow_the_stop(run):
    """A fallback after `except Exception` is never reached, and a bare except gets no further launch."""
    source = """
        @triton.jit
        def _kernel(out_ptr, start):
            tl.store(out_ptr + start + tl.arange(0, 16), 1.0)

        def make():
            return ()

        def run():
            out = torch.zeros(16)
            try:
                _kernel[(1,)](out, 8)
            except {caught}:
                _kernel[(1,)](out, 0)
            return out
    """
    for caught in ("Exception", "BaseException"):
        result = run(source.format(caught=caught))

        assert result.raised == "OutOfBoundsAccess"
        assert (result.work["launches"], len(result.findings)) == (1, 1)


def test_an_access_wider_than_its_alignment_is_reported(run):
    """A pointer cast to a wider element at an odd place is misaligned on a card; here the run goes on."""
    result = run("""
        @triton.jit
        def _kernel(x_ptr, out_ptr):
            tl.store(out_ptr, tl.load((x_ptr + 1).to(tl.pointer_type(tl.int32))))

        def make():
            return (torch.zeros(16, dtype=torch.int8),)

        def run(x):
            out = torch.empty(1, dtype=torch.int32)
            _kernel[(1,)](x, out)
            return out
    """)

    finding = only_finding(result)
    assert (finding.kind, finding.tensor, finding.index, result.raised) == ("misaligned", "x_ptr", 1, "")


# Races

REDUCE = """
@triton.jit
def _kernel(x_ptr, out_ptr, done_ptr):
    pid = tl.program_id(0)
    total = tl.sum(tl.load(x_ptr + pid * 16 + tl.arange(0, 16)))
{body}

def make():
    return (torch.ones(64),)

def run(x):
    out = torch.{fill}(4)
    _kernel[(4,)](x, out, torch.zeros(1, dtype=torch.int32))
    return out
"""


def reduce_with(body, fill="zeros"):
    """A reduction over four programs that combines its partial sums as `body` says."""
    return REDUCE.format(body=textwrap.indent(textwrap.dedent(body).strip(), "    "), fill=fill)


@pytest.mark.parametrize("reverse", [False, True])
def test_atomic_reduction_is_no_race(run, reverse):
    """Elements that programs touch by atomics only are fine in either order."""
    result = run(reduce_with("tl.atomic_add(out_ptr, total)"), reverse=reverse)

    assert (result.findings, result.output[0]) == ([], 64.0)


@pytest.mark.parametrize("reverse", [False, True])
def test_last_block_reduction_is_no_race(run, reverse):
    """Plain partial sums that the last program reads after an atomic counter are an honest pattern."""
    result = run(
        reduce_with("""
            tl.store(out_ptr + pid, total)
            if tl.atomic_add(done_ptr, 1) == 3:
                everything = tl.sum(tl.load(out_ptr + tl.arange(0, 4)))
                tl.store(out_ptr, everything)
                tl.store(done_ptr, 0)
        """),
        reverse=reverse,
    )

    assert (result.findings, result.output[0]) == ([], 64.0)


def test_atomic_loads_and_stores_order_programs(run):
    """Newer versions' atomic load and store publish data as well as a read-modify-write does."""
    result = run("""
        @triton.jit
        def _kernel(flag_ptr, out_ptr):
            pid = tl.program_id(0)
            if pid == 0:
                tl.store(out_ptr, 7.0)
                tl.atomic_store(flag_ptr, 1, sem="release")
            else:
                ready = tl.atomic_load(flag_ptr, sem="acquire")
                tl.store(out_ptr + pid, tl.load(out_ptr) * ready)

        def make():
            return (torch.zeros(1, dtype=torch.int32),)

        def run(flag):
            if not hasattr(tl, "atomic_load"):
                return "no such functions in this version"
            out = torch.empty(4)
            _kernel[(4,)](flag, out)
            return out
    """)

    if isinstance(result.output, str):
        pytest.skip(result.output)
    assert (result.raised, result.findings, result.output) == ("", [], [7.0] * 4)


def test_read_modify_write_without_atomics_is_a_race(run):
    """Adding to one place by load and store loses updates on a card, whatever the interpreter returns."""
    result = run(reduce_with("tl.store(out_ptr, tl.load(out_ptr) + total)  # MARK"))

    assert (result.raised, result.output[0]) == ("", 64.0)
    assert {finding["kind"] for finding in result.findings} == {"race"}
    first = SimpleNamespace(**result.findings[0])
    assert (first.tensor, first.index, first.program, first.line) == ("out_ptr", 0, [1, 0, 0], result.marked[0])
    assert "program 0" in first.message
    assert "program 1" in first.message


def test_different_values_in_one_place_are_a_race(run):
    """Two programs that store different values to one element race; equal values don't."""
    racing = run(reduce_with("tl.store(out_ptr, total + pid)"))
    benign = run(reduce_with("tl.store(out_ptr, total)"))

    assert only_finding(racing).is_store
    assert only_finding(racing).kind == "race"
    assert benign.findings == []


def test_plain_initialisation_beside_atomics_is_a_race(run):
    """One program zeroes the accumulator while the others add to it: in order it looks right."""
    body = """
        if pid == 0:
            tl.store(out_ptr, 0.0)
        tl.atomic_add(out_ptr, total)
    """
    for reverse in (False, True):
        finding = only_finding(run(reduce_with(body, fill="ones"), reverse=reverse))

        assert (finding.kind, finding.tensor, finding.index) == ("race", "out_ptr", 0)


@pytest.mark.parametrize("reverse", [False, True])
def test_in_place_stencil_is_a_race_in_either_order(run, reverse):
    """Writing where a neighbour reads is found whether the reader or the writer comes first."""
    result = run(
        """
        @triton.jit
        def _kernel(x_ptr, n):
            lanes = tl.program_id(0) * 16 + tl.arange(0, 16)
            left = tl.load(x_ptr + lanes - 1, mask=lanes > 0, other=0.0)
            tl.store(x_ptr + lanes, tl.load(x_ptr + lanes) + left)

        def make():
            return (torch.ones(64),)

        def run(x):
            _kernel[(4,)](x, 64)
            return x
        """,
        reverse=reverse,
    )

    assert result.findings
    assert {finding["kind"] for finding in result.findings} == {"race"}


def test_in_place_update_by_one_program_each_is_no_race(run):
    """Load and store of the same element by the same program are in order; so are two launches."""
    result = run("""
        @triton.jit
        def _kernel(x_ptr, BLOCK_SIZE: tl.constexpr):
            lanes = tl.program_id(0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
            tl.store(x_ptr + lanes, tl.load(x_ptr + lanes) * 2)

        def make():
            return (torch.ones(64),)

        def run(x):
            _kernel[(4,)](x, BLOCK_SIZE=16)
            _kernel[(2,)](x, BLOCK_SIZE=32)
            return x
    """)

    assert (result.findings, result.output) == ([], [4.0] * 64)


# Host operations


def test_the_interpreters_own_operations_are_not_recorded(run):
    """A launch copies its arguments with torch; only what the learner's host code asked for is kept."""
    result = run(ADD.format(n=64, store_mask=", mask=mask"))

    assert [(op["name"], op["numel"], op["path"]) for op in result.host_ops] == [
        ("aten.empty_like.default", 64, result.path)
    ]


def test_host_operations_hidden_in_a_launch_are_recorded(run):
    """Torch called from a grid function or from Python code in a kernel is host work all the same."""
    result = run("""
        @triton.jit
        def _kernel(out_ptr):
            _cheat()  # MARK

        def _cheat():
            X.mul_(2)

        X = torch.ones(8)

        def make():
            return (torch.ones(8),)

        def run(x):
            out = torch.empty(8)

            def grid(meta):
                torch.add(x, x, out=out)
                return (1,)

            _kernel[grid](out)
            return out
    """)

    assert {op["name"] for op in result.host_ops} == {"aten.empty.memory_format", "aten.add.out", "aten.mul_.Tensor"}


def test_launches_from_threads_are_counted(run):
    """Kernels launched from threads take turns and are counted like any other."""
    result = run("""
        import threading

        @triton.jit
        def _kernel(out_ptr, place):
            tl.store(out_ptr + place, place)

        def make():
            return ()

        def run():
            out = torch.zeros(4)
            threads = [threading.Thread(target=lambda place=place: _kernel[(1,)](out, place)) for place in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return out
    """)

    assert (result.output, result.work["launches"]) == ([0.0, 1.0, 2.0, 3.0], 4)


# Set-up


def alone(code, **environment):
    """Runs code in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "TRITON_INTERPRET": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_missing_hook_names_the_supported_versions():
    """A Triton whose interpreter has lost a name that we replace is refused, not half hooked."""
    done = alone("""
        import triton.runtime.interpreter as interpreter
        from gpuprep.counters.triton_interpreter import Counter
        from gpuprep.errors import UnsupportedTritonError

        del interpreter.GridExecutor._init_args_hst
        real = interpreter._interpreter
        try:
            Counter()
        except UnsupportedTritonError as error:
            assert interpreter._interpreter is real
            print(error.message, "|", error.next_step)
    """)

    assert "_init_args_hst" in done.stdout, done.stderr
    assert "3.6 to 3.9" in done.stdout
    assert "pip install" in done.stdout


def test_nothing_is_counted_outside_a_recording_nor_without_the_interpreter():
    """Hooks are idle between recordings, one recording excludes another, and compiled kernels are refused."""
    done = alone("""
        import os, torch
        from gpuprep.counters.triton_interpreter import Counter

        counter = Counter()
        numpy = torch.Tensor.numpy
        with counter.recording() as recording:
            try:
                with Counter().recording():
                    print("nested")
            except RuntimeError:
                print("refused")
        torch.ones(3).numpy()
        assert torch.Tensor.numpy is numpy
        assert recording.host_ops == []
        os.environ["TRITON_INTERPRET"] = "0"
        try:
            Counter()
        except RuntimeError:
            print("compiled")
    """)

    assert done.stdout.split() == ["refused", "compiled"], done.stderr


@pytest.mark.parametrize("version", ["3.5.1", "3.10.0", "4.0.0", "2.3", "unknown"])
def test_versions_outside_the_range_are_refused(version):
    """The error names the version, the range and the line that installs a supported one."""
    with pytest.raises(UnsupportedTritonError) as caught:
        check_supported(version)

    assert version in caught.value.message
    assert 'pip install "triton>=3.6,<3.10"' in caught.value.next_step


@pytest.mark.parametrize("version", ["3.6.0", "3.7.1", "3.9.0+git1234", "3.8.0rc1"])
def test_versions_in_the_range_are_accepted(version):
    """Both tested minor versions and all between them, builds and previews included."""
    assert check_supported(version) == version


def test_the_version_check_imports_nothing_heavy():
    """`doctor` asks it on machines without torch."""
    done = alone("""
        import sys
        import gpuprep.counters.triton_support
        print([name for name in ("torch", "triton", "numpy") if name in sys.modules])
    """)

    assert done.stdout.strip() == "[]", done.stderr


COMBINED = """
@triton.jit
def _last(a, b):
    return tl.where(b != 0, b, a)

@triton.jit
def _welford(mean_a, square_a, n_a, mean_b, square_b, n_b):
    n = n_a + n_b
    delta = mean_b - mean_a
    return mean_a + delta * n_b / n, square_a + square_b + delta * delta * n_a * n_b / n, n

@triton.jit
def _kernel(x_ptr, out_ptr):
    rows, cols = tl.arange(0, 4)[:, None], tl.arange(0, 16)[None, :]
    x = tl.load(x_ptr + rows * 16 + cols)
    mean, square, n = tl.reduce((x, tl.zeros_like(x), tl.full(x.shape, 1.0, tl.float32)), 1, _welford)
    tl.store(out_ptr + tl.arange(0, 4), mean)
    tl.store(out_ptr + 4 + tl.arange(0, 4), square / n)
    tl.store(out_ptr + 8 + rows, tl.reduce(x, 1, _last, keep_dims=True))
    tl.store(out_ptr + 12 + tl.arange(0, 16), tl.reduce(x, 0, _last))
    tl.store(out_ptr + 28, tl.reduce(x, None, _last))
    tl.store(out_ptr + 29, tl.reduce(tl.load(x_ptr + tl.arange(0, 16)), 0, _last))

def make():
    x = torch.randn(4, 16, generator=torch.Generator().manual_seed(3))
    x[:, 11:] = x[3, 2:] = 0
    return (x,)

def run(x):
    out = torch.empty(30)
    _kernel[(1,)](x, out)
    return out
"""


def test_a_reduction_by_a_function_of_ones_own(run):
    """Every axis, one value or three, in the order of the elements."""
    x = torch.randn(4, 16, generator=torch.Generator().manual_seed(3))
    x[:, 11:] = x[3, 2:] = 0
    result = run(COMBINED)

    assert result.raised == ""
    ends = [x[row, 10 if row < 3 else 1] for row in range(4)]
    columns = [*x[3, :2], *x[2, 2:]]
    wanted = [*x.mean(1), *x.var(1, correction=0), *ends, *columns, x[3, 1], x[0, 10]]
    assert result.output == pytest.approx([float(value) for value in wanted], rel=1e-5, abs=1e-6)
