# expect: BANNED_CALL
# layer: host ops
# The library call is made by `__torch_function__` of a subclass whose name gives nothing away, when two tensors meet
# a harmless function. Past filters that search the text for torch.add or +.

import torch
import triton
import triton.language as tl


class Pair(torch.Tensor):
    """A view that adds when it is asked for its maximum."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        with torch._C.DisableTorchFunctionSubclass():
            plain = [arg.as_subclass(torch.Tensor) for arg in args]
            return torch._C._VariableFunctions.add(*plain) if func is torch.maximum else func(*plain, **(kwargs or {}))


def add(x, y):
    return torch.maximum(x.as_subclass(Pair), y.as_subclass(Pair))
