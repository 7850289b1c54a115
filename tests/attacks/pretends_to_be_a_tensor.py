# expect: WRONG_SIGNATURE
# layer: signature
# As lazy as a subclass, but no tensor at all: `__class__` says Tensor, and isinstance believes it.

import torch
import triton
import triton.language as tl


class Pretender:
    """Becomes the sum as soon as anything is asked of it."""

    def __init__(self, x, y):
        self.operands = x, y

    @property
    def __class__(self):
        return torch.Tensor

    def __getattr__(self, name):
        return getattr(torch.add(*self.operands), name)


def add(x, y):
    return Pretender(x, y)
