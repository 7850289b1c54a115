# expect: WRONG_VALUES
# needs: gpu
# layer: judge
# Captures a CUDA graph of its first call for each shape and replays it: with the inputs of that first call. Seen in
# contests, where the replay of a stale graph is as fast as it gets.

import torch
import triton
import triton.language as tl


@triton.jit
def _add_kernel(x_ptr, y_ptr, out_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
    offsets = tl.program_id(axis=0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    mask = offsets < n_elements
    x = tl.load(x_ptr + offsets, mask=mask)
    y = tl.load(y_ptr + offsets, mask=mask)
    tl.store(out_ptr + offsets, x + y, mask=mask)


def _launch(x, y, out, n_elements):
    _add_kernel[(triton.cdiv(n_elements, 1024),)](x, y, out, n_elements, BLOCK_SIZE=1024)
    return out


def _honest(x, y):
    return _launch(x, y, torch.empty_like(x), x.numel())


_graphs = {}


def add(x, y):
    if not x.is_cuda:
        return _honest(x, y)
    key = x.shape, x.dtype
    if key not in _graphs:
        out = _honest(x, y)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            _launch(x, y, out, x.numel())
        _graphs[key] = graph, out
    graph, out = _graphs[key]
    graph.replay()
    return out.clone()
