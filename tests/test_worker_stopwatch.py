"""The worker's half of the speed tier."""

from __future__ import annotations

import torch

from gpuprep.counters.torch_ops import HostOps
from gpuprep.worker.running import Runner
from gpuprep.worker.stopwatch import Stopwatch


def test_a_function_that_was_recorded_is_compiled_when_it_is_timed() -> None:
    """What torch.compile left alone while operations were recorded, it compiles once times are taken."""
    n_graphs = 0

    def counting(graph: torch.fx.GraphModule, _: list[torch.Tensor]) -> torch.fx.GraphModule:
        nonlocal n_graphs
        n_graphs += 1
        return graph

    double = torch.compile(lambda x: x + x, backend=counting)
    with HostOps().recording():
        double(torch.ones(3))
    assert n_graphs == 0
    fills = torch.utils.deterministic.fill_uninitialized_memory
    try:
        Stopwatch(Runner.__new__(Runner))
    finally:
        torch.utils.deterministic.fill_uninitialized_memory = fills
    double(torch.ones(3))
    assert n_graphs == 1
