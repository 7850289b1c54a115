"""Host operations, recorded where torch dispatches them."""

from __future__ import annotations

import inspect
import threading

import numpy as np
import pytest
import torch

from gpuprep.counters import torch_ops
from gpuprep.counters.torch_ops import HostOps


def names(host_ops):
    """Names in the order of first use."""
    return [op.name for op in host_ops.ops]


def here():
    """The line that called."""
    return inspect.currentframe().f_back.f_lineno


@pytest.fixture
def deterministic():
    """Deterministic mode, which poisons uninitialised memory."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


def test_an_operation_keeps_its_name_size_and_line():
    """The overload's full name, the largest tensor involved and the line of host code."""
    x, y = torch.ones(4, 1), torch.ones(5)
    host_ops = HostOps()
    with host_ops.recording():
        line = here() + 1
        x + y

    assert [(op.name, op.numel, op.path, op.line) for op in host_ops.ops] == [("aten.add.Tensor", 20, __file__, line)]


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda x: torch.ops.aten.add(x, x), "aten.add.Tensor"),
        (lambda x: torch.stack([x, x]).sum(0), "aten.sum.dim_IntList"),
        (lambda x: torch.add(x, x, out=torch.empty(3)), "aten.add.out"),
        (lambda x: x.zero_(), "aten.zero_.default"),
        (lambda x: x.fill_(2.0), "aten.fill_.Scalar"),
        (lambda x: x @ x, "aten.dot.default"),
        (lambda x: sum(x), "aten.add.Tensor"),
        (lambda x: x.numpy(), "Tensor.numpy"),
        (lambda x: np.asarray(x), "Tensor.numpy"),
        (lambda x: x.tolist(), "Tensor.tolist"),
        (lambda x: np.from_dlpack(x), "Tensor.__dlpack__"),
    ],
)
def test_however_a_computation_is_spelt_it_is_seen(call, expected):
    """Operators, torch.ops, in-place forms, and leaving for NumPy or plain Python."""
    x = torch.ones(3)
    host_ops = HostOps()
    with host_ops.recording():
        call(x)

    assert expected in names(host_ops)
    assert {op.path for op in host_ops.ops} == {__file__}


def test_allocations_and_views_are_recorded_by_name():
    """What an allow-list lets through still shows."""
    x = torch.ones(3, 4)
    host_ops = HostOps()
    with host_ops.recording():
        torch.empty_like(x)
        x.t().contiguous()

    assert names(host_ops) == ["aten.empty_like.default", "aten.t.default", "aten.clone.default"]


def test_poisoning_of_uninitialised_memory_is_not_the_learners(deterministic):
    """Deterministic mode fills what is allocated without an operation of its own."""
    host_ops = HostOps()
    with host_ops.recording():
        filled = torch.empty(64)

    assert filled.isnan().all()
    assert names(host_ops) == ["aten.empty.memory_format"]


def test_one_line_is_kept_once_with_its_largest_tensor():
    """A loop costs one entry, so that no number of harmless operations hides a later one."""
    host_ops = HostOps()
    with host_ops.recording():
        for size in (1, 7, 3):
            torch.ones(size)

    assert [(op.name, op.numel) for op in host_ops.ops] == [("aten.ones.default", 7)]


def test_the_record_is_capped(monkeypatch):
    """A file that generates lines without end can't fill the memory."""
    monkeypatch.setattr(torch_ops, "MAX_HOST_OPS", 2)
    x = torch.ones(2)
    host_ops = HostOps()
    with host_ops.recording():
        x.add(1)
        x.sub(1)
        x.mul(1)

    assert names(host_ops) == ["aten.add.Tensor", "aten.sub.Tensor"]


def test_lines_of_the_wanted_file_are_preferred(tmp_path):
    """With a path, an operation in another file is reported at the line that led there."""
    source = tmp_path / "learner.py"
    source.write_text("def run(call, x):\n    return call(x)\n")
    scope = {}
    exec(compile(source.read_text(), str(source), "exec"), scope)  # noqa: S102
    x = torch.ones(2)
    host_ops = HostOps(str(source))
    with host_ops.recording():
        scope["run"](lambda x: x * 2, x)

    assert [(op.path, op.line) for op in host_ops.ops] == [(str(source), 2)]


def test_threads_are_recorded_too():
    """A dispatch mode sees its own thread only; threads started while recording get one of theirs."""
    x = torch.ones(3)
    host_ops = HostOps()
    with host_ops.recording():
        thread = threading.Thread(target=lambda: x + x)
        thread.start()
        thread.join()

    assert names(host_ops) == ["aten.add.Tensor"]


def test_everything_is_undone_afterwards():
    """No patch stays and nothing is recorded once the block is left, not even by an error."""
    before = (torch.Tensor.numpy, torch.Tensor.tolist, torch.Tensor.__dlpack__, threading.Thread.start)
    own = set(vars(torch.Tensor))
    host_ops = HostOps()
    with pytest.raises(KeyError), host_ops.recording():
        raise KeyError
    torch.ones(3).numpy()

    assert (torch.Tensor.numpy, torch.Tensor.tolist, torch.Tensor.__dlpack__, threading.Thread.start) == before
    assert set(vars(torch.Tensor)) == own
    assert host_ops.ops == []
