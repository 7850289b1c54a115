# expect: WRONG_SIGNATURE
# layer: signature
# Returns a subclass of Tensor that computes when somebody looks at it, after the clock has stopped. Seen in timed
# kernel contests.

import torch
import triton
import triton.language as tl


class Later(torch.Tensor):
    """Adds on the first use."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        def now(value):
            return torch.add(value.x, value.y) if isinstance(value, Later) and hasattr(value, "x") else value

        with torch._C.DisableTorchFunctionSubclass():
            return func(*map(now, args), **(kwargs or {}))


def add(x, y):
    out = torch.empty_like(x).as_subclass(Later)
    out.x, out.y = x, y
    return out
