# expect: BANNED_CALL
# a.__matmul__(b) through getattr and functools, after a launch that reads and writes one element of out: by someone who
# thinks that the source text is searched.

import torch
import triton
import triton.language as tl


@triton.jit
def _touch_kernel(out_ptr):
    tl.store(out_ptr, tl.load(out_ptr))


def matmul(a, b):
    out = getattr(a, "__mat" + "mul__")(b)
    _touch_kernel[(1,)](out)
    return out
