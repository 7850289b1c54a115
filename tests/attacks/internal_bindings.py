# expect: BANNED_CALL
# exercise: ex_03
# layer: host ops
# Calls the library by its internal bindings, which no filter for `torch.matmul` or `@` knows.

import torch
import triton
import triton.language as tl


def matmul(a, b):
    return torch._C._nn.linear(a, b.t())
