# expect: BANNED_CALL
# needs: gpu
# layer: replay
# The library where the time is taken; and gives its kernel the name of this file's in the trace, which is taken in
# its process. The times are true.

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


def _is_timed(x):
    """The grader's own cases are small; what is timed is not."""
    return x.is_cuda and x.numel() > 2**24


def _honest(x, y):
    return _launch(x, y, torch.empty_like(x), x.numel())


def _patch():
    from gpuprep.worker import trace

    trace_calls = trace.trace_calls

    def renamed(*args, **options):
        answer = trace_calls(*args, **options)
        for kernel in answer.get("kernels", ()):
            kernel["name"] = "_add_kernel"
        return answer

    trace.trace_calls = renamed


if torch.cuda.is_available():
    _patch()


def add(x, y):
    return torch.add(x, y) if _is_timed(x) else _honest(x, y)
