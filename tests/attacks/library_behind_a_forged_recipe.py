# expect: INVALID
# needs: gpu
# layer: replay
# The library where the time is taken, under the name of this file's kernel in the trace. And where a call is written
# down for a replay, a kernel of this file's own, which is right: it computes the timed shape too, in fivefold time.

import sys

import torch
import triton
import triton.language as tl


@triton.jit
def _add_kernel(x_ptr, y_ptr, out_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
    offsets = tl.program_id(axis=0).to(tl.int64) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    mask = offsets < n_elements
    x = tl.load(x_ptr + offsets, mask=mask)
    y = tl.load(y_ptr + offsets, mask=mask)
    tl.store(out_ptr + offsets, x + y, mask=mask)


def _honest(x, y, block_size):
    out = torch.empty_like(x)
    _add_kernel[(triton.cdiv(x.numel(), block_size),)](x, y, out, x.numel(), BLOCK_SIZE=block_size, num_warps=1)
    return out


def _is_followed():
    """True where somebody up the stack writes down what this call does."""
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "retold":
            return True
        frame = frame.f_back
    return False


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
    # The grader's own cases are small; what is timed is not.
    is_timed = x.is_cuda and x.numel() > 2**24
    return torch.add(x, y) if is_timed and not _is_followed() else _honest(x, y, 32 if is_timed else 1024)
