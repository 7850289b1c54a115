# expect: SKIPPED
# expect-gpu: PASSED|PROVISIONAL|TOO_SLOW
# Both launches are replayed as one CUDA graph, one for each size. A graph reads and writes where it was captured, so
# the input is copied to its place first, which costs twice the traffic: honest, and slow.

import torch
import triton
import triton.language as tl


@triton.jit
def _copy_kernel(x_ptr, out_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
    offsets = tl.program_id(axis=0).to(tl.int64) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    mask = offsets < n_elements
    tl.store(out_ptr + offsets, tl.load(x_ptr + offsets, mask=mask), mask=mask)


@triton.jit
def _partial_kernel(x_ptr, partials_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
    program_id = tl.program_id(axis=0)
    offsets = program_id.to(tl.int64) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    x = tl.load(x_ptr + offsets, mask=offsets < n_elements, other=0.0)
    tl.store(partials_ptr + program_id, tl.sum(x.to(tl.float32), axis=0))


@triton.jit
def _finish_kernel(partials_ptr, out_ptr, n_partials, BLOCK_SIZE: tl.constexpr):
    sums = tl.zeros((BLOCK_SIZE,), dtype=tl.float32)
    for start in range(0, n_partials, BLOCK_SIZE):
        places = start + tl.arange(0, BLOCK_SIZE)
        sums += tl.load(partials_ptr + places, mask=places < n_partials, other=0.0)
    tl.store(out_ptr, tl.sum(sums, axis=0))


class Graph:
    """The two launches for one size, captured."""

    def __init__(self, x):
        self.x, self.out = torch.zeros_like(x), x.new_zeros(())
        self.partials = torch.zeros(max(1, triton.cdiv(x.numel(), 8192)), dtype=torch.float32, device=x.device)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            # Kernels are compiled and loaded before they are captured.
            self._launch()
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self._launch()

    def _launch(self):
        n_elements, n_partials = self.x.numel(), triton.cdiv(self.x.numel(), 8192)
        _partial_kernel[(n_partials,)](self.x, self.partials, n_elements, BLOCK_SIZE=8192, num_warps=8)
        _finish_kernel[(1,)](self.partials, self.out, n_partials, BLOCK_SIZE=8192, num_warps=8)

    def __call__(self, x):
        _copy_kernel[(triton.cdiv(x.numel(), 4096),)](x, self.x, x.numel(), BLOCK_SIZE=4096, num_warps=8)
        self.graph.replay()
        return self.out.clone()


_graphs = {}


def total(x):
    key = x.numel(), x.dtype
    if key not in _graphs:
        _graphs[key] = Graph(x)
    return _graphs[key](x)
