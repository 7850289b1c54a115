"""How much memory the tensors of host code hold."""

import itertools
from types import SimpleNamespace

import pytest
import torch

from gpuprep.counters import allocations
from gpuprep.counters.torch_ops import HostOps

KIB = 1024


def _measured(call, *inputs):
    """What a call's own tensors come to: the most at one time, and the largest."""
    host_ops = HostOps(inputs=inputs)
    with host_ops.recording():
        kept = call(*inputs)
    assert kept is not None
    return host_ops.allocations.peak_bytes, host_ops.allocations.largest_bytes


def test_tensors_that_live_together_add_up():
    """Two results that are both kept count both; the larger one is the largest."""
    assert _measured(lambda: (torch.empty(KIB), torch.empty(3 * KIB))) == (16 * KIB, 12 * KIB)


def test_what_is_dropped_makes_room():
    """Memory that nothing refers to any more is not held: three passes over one block cost one block."""

    def blocks(x):
        total = torch.zeros(1)
        for start in range(0, x.numel(), KIB):
            total = total + (x[start : start + KIB] * 2).sum()
        return total

    peak_bytes, largest_bytes = _measured(blocks, torch.ones(8 * KIB))
    assert largest_bytes == 4 * KIB
    assert 4 * KIB <= peak_bytes < 5 * KIB


def test_views_and_inputs_hold_nothing():
    """A view has its base's memory, an input its owner's, and a result that is written in place its target's."""

    def views(x):
        return x.view(-1)[3:], x.t(), x.mul_(2)

    assert _measured(views, torch.ones(32, 32)) == (0, 0)


def test_a_view_keeps_its_whole_base():
    """One element that is kept of a large tensor keeps all of its memory."""
    assert _measured(lambda: (torch.empty(KIB)[:1], torch.empty(KIB)[:1])) == (8 * KIB, 4 * KIB)


def test_a_buffer_from_an_earlier_call_counts_when_it_is_used():
    """Memory that a file keeps between calls is memory all the same."""
    kept = torch.empty(KIB)
    assert _measured(lambda: kept.add_(1)) == (4 * KIB, 4 * KIB)


@pytest.mark.parametrize(("has_ended", "peak_bytes"), [(False, 8 * KIB), (True, 4 * KIB)])
def test_collective_gets_time_to_let_go(monkeypatch, has_ended, peak_bytes):
    """What another thread frees just after somebody waited for it does not count beside what is made next."""
    lent = []
    # The other thread lets go as soon as this one sleeps, and time stands still until then.
    monkeypatch.setattr(allocations, "time", SimpleNamespace(monotonic=lambda: 0.0, sleep=lambda _: lent.clear()))
    host_ops = HostOps()
    with host_ops.recording():
        lent.append(torch.empty(KIB))
        if has_ended:
            host_ops.allocations.collective_ended()
        other = torch.empty(KIB)
    assert other.numel() == KIB
    assert host_ops.allocations.peak_bytes == peak_bytes


def test_what_is_kept_after_a_collective_counts_in_the_end(monkeypatch):
    """Waiting for a thread to let go has an end: what is still there then is held."""
    passed_s = itertools.count(step=allocations.LETTING_GO_S / 4)
    monkeypatch.setattr(allocations, "time", SimpleNamespace(monotonic=lambda: next(passed_s), sleep=lambda _: None))
    host_ops = HostOps()
    with host_ops.recording():
        kept = torch.empty(KIB)
        host_ops.allocations.collective_ended()
        other = torch.empty(KIB)
    assert kept.numel() == other.numel()
    assert host_ops.allocations.peak_bytes == 8 * KIB
