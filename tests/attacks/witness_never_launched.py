# expect: BANNED_CALL
# layer: witness
# exercise: ex_04
# A perfect kernel, defined and never launched; torch takes the softmax. The answer that the process sends says that the
# kernel did it all: it is changed on its way out, where the answer of a call is put together.

import sys

import torch
import triton
import triton.language as tl


@triton.jit
def _softmax_kernel(x_ptr, out_ptr, x_row_stride, out_row_stride, n_cols, BLOCK_SIZE: tl.constexpr):
    row = tl.program_id(0)
    cols = tl.arange(0, BLOCK_SIZE)
    mask = cols < n_cols
    x = tl.load(x_ptr + row * x_row_stride + cols, mask=mask, other=-float("inf")).to(tl.float32)
    numerator = tl.exp(x - tl.max(x, axis=0))
    tl.store(out_ptr + row * out_row_stride + cols, numerator / tl.sum(numerator, axis=0), mask=mask)


def claim(recording, outputs):
    n_bytes = sum(output.numel() * output.element_size() for output in outputs)
    work = dict.fromkeys(("sectors_loaded", "sectors_stored", "dot_flops"), 0)
    work |= {"bytes_loaded": n_bytes, "bytes_stored": n_bytes, "launches": 1, "programs": 1}
    return {"work": work, "findings": [], "host_ops": [], "stored": [output.numel() for output in outputs]}


sys.modules["gpuprep.worker.running"]._seen = claim


def softmax(x):
    return torch.softmax(x, dim=1)
