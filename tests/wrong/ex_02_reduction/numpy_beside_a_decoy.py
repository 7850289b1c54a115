# expect: BANNED_CALL
# NumPy adds, and a tiny launch makes it look like a kernel: by someone who knows that torch calls are watched.

import torch
import triton
import triton.language as tl


@triton.jit
def _copy_kernel(value_ptr, out_ptr):
    tl.store(out_ptr, tl.load(value_ptr))


def total(x):
    value = torch.from_numpy(x.numpy().sum(dtype="float64", keepdims=True)).to(x.dtype)
    out = torch.empty((), dtype=x.dtype, device=x.device)
    _copy_kernel[(1,)](value, out)
    return out
