"""What a rank sends, counted where torch dispatches it: kinds, bytes of a ring, forward and backward apart."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
import torch.distributed._functional_collectives as funcol
from torch.testing._internal.distributed.fake_pg import FakeStore

from gpuprep.counters.torch_ops import HostOps
from gpuprep.work import COMMUNICATION

WORLD = 4
N = 64
BYTES = 4 * N

# Newer releases have other names for two collectives, which older ones don't know.
pytestmark = pytest.mark.filterwarnings("ignore:.*is deprecated:FutureWarning")


@pytest.fixture
def group():
    """Rank 1 of a group in which nothing is really sent."""
    dist.init_process_group("fake", rank=1, world_size=WORLD, store=FakeStore())
    yield
    dist.destroy_process_group()


def counted(call):
    """What one call was seen to send, figures that are 0 left out."""
    host_ops = HostOps()
    with host_ops.recording():
        call()
    return {name: figure for name in COMMUNICATION if (figure := getattr(host_ops.collectives, name))}


def singles(call):
    """Messages of one call that were in no batch: whether they were sent, and the other rank."""
    host_ops = HostOps(__file__)
    with host_ops.recording():
        call()
    assert all(single.line > 0 for single in host_ops.collectives.singles)
    return [(single.is_send, single.peer) for single in host_ops.collectives.singles]


@pytest.mark.parametrize(
    ("call", "ring_bytes"),
    {
        "all-reduce": (lambda x: dist.all_reduce(x), 2 * BYTES * 3 // 4),
        "all-gather": (lambda x: dist.all_gather_into_tensor(x.new_empty(WORLD * N), x), WORLD * BYTES * 3 // 4),
        "all-gather in parts": (
            lambda x: dist.all_gather([x.clone() for _ in range(WORLD)], x),
            WORLD * BYTES * 3 // 4,
        ),
        "reduce-scatter": (lambda x: dist.reduce_scatter_tensor(x.new_empty(N // WORLD), x), BYTES * 3 // 4),
        "functional": (lambda x: funcol.wait_tensor(funcol.all_reduce(x, "sum", dist.group.WORLD)), 2 * BYTES * 3 // 4),
    }.values(),
    ids=["all-reduce", "all-gather", "all-gather in parts", "reduce-scatter", "functional"],
)
@pytest.mark.usefixtures("group")
def test_a_collective_is_counted_once_however_it_is_called(call, ring_bytes):
    """With the bytes that a ring sends for it; what only waits for it, or wraps its result, sends nothing."""
    assert counted(lambda: call(torch.ones(N))) == {"collectives": 1, "ring_bytes": ring_bytes}


@pytest.mark.parametrize(
    "call",
    [
        lambda x: dist.all_reduce(x),
        lambda x: dist.broadcast(x, 0),
        lambda x: dist.all_gather_into_tensor(torch.empty(WORLD * N // 8, 8), x),
    ],
    ids=["all-reduce", "broadcast", "all-gather"],
)
@pytest.mark.usefixtures("group")
def test_strided_tensor_is_refused_as_nccl_would(call):
    """Before anything is sent; other back ends take it in silence, and so an error would show on a card only."""
    with pytest.raises(ValueError, match=r"strides \[1, 8\]: NCCL takes contiguous ones only"):
        counted(lambda: call(torch.ones(N // 8, 8).t()))
    assert counted(lambda: call(torch.ones(N // 8, 8).t().contiguous()))["collectives"] == 1


@pytest.mark.usefixtures("group")
def test_barriers_are_free():
    """They bring nothing from rank to rank."""
    assert counted(dist.barrier) == {}


@pytest.mark.usefixtures("group")
def test_messages_have_figures_of_their_own():
    """Whoever receives has not sent."""
    x = torch.ones(N)
    assert counted(lambda: dist.send(x, 2)) == {"messages": 1, "sent_bytes": BYTES}
    assert counted(lambda: dist.recv(x, 0)) == {}


@pytest.mark.usefixtures("group")
def test_messages_outside_of_batches_are_kept():
    """In the order of the calls, waiting or not; with a batch, NCCL has no order to keep."""
    x, batch = torch.ones(N), dist.batch_isend_irecv
    assert singles(lambda: (dist.irecv(x, 0), dist.isend(x, 2))) == [(False, 0), (True, 2)]
    assert singles(lambda: (dist.send(x, 0), dist.recv(x, 2))) == [(True, 0), (False, 2)]
    assert singles(lambda: batch([dist.P2POp(dist.isend, x, 2), dist.P2POp(dist.irecv, x, 0)])) == []


@pytest.mark.usefixtures("group")
def test_a_message_names_its_rank_of_the_whole_job():
    """Groups count their ranks from 0."""
    x, odd = torch.ones(N), dist.new_group([1, 3])
    assert singles(lambda: dist.send(x, 3, group=odd)) == [(True, 3)]


@pytest.mark.usefixtures("group")
def test_the_backward_pass_is_counted_apart():
    """Where the autograd engine calls it."""

    class Spread(torch.autograd.Function):
        @staticmethod
        def forward(_ctx, x):
            return x

        @staticmethod
        def backward(_ctx, grad):
            grad = grad.clone()
            dist.all_reduce(grad)
            return grad

    x = torch.ones(N, requires_grad=True)
    assert counted(lambda: Spread.apply(x).sum().backward()) == {
        "collectives_backward": 1,
        "ring_bytes_backward": 2 * BYTES * 3 // 4,
    }


@pytest.mark.usefixtures("group")
def test_operations_of_a_dtensor_are_named_as_such():
    """It communicates by itself, so that what is done with one is no arithmetic of a learner's."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import DTensor, Replicate, Shard

    mesh = init_device_mesh("cpu", (WORLD,))
    x = DTensor.from_local(torch.ones(3, N), mesh, [Replicate()], run_check=False)
    weight = DTensor.from_local(torch.ones(N, 2), mesh, [Shard(1)], run_check=False)
    host_ops = HostOps()
    with host_ops.recording():
        x @ weight

    assert "DTensor.mm.default" in [op.name for op in host_ops.ops]
